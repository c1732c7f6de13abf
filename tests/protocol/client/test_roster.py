"""Roster: members and host as the log tells them."""

import pytest

from protocol.client.events import HostChanged, PlayerAway, PlayerBack, PlayerJoined, PlayerLeft
from protocol.client.roster import Roster, reason_of
from protocol.constants import NO_PLAYER, ByeReason, EntryKind
from protocol.records import Entry


def entry(kind: int, payload: bytes) -> Entry:
    return Entry(1, kind, NO_PLAYER, 0, 0, payload)


def roster_entry(host: int, *members: tuple[int, bytes], away: tuple[int, ...] = ()) -> Entry:
    payload = host.to_bytes(2, "little")
    for player_id, name in members:
        payload += player_id.to_bytes(2, "little") + bytes([player_id in away, len(name)]) + name
    return entry(EntryKind.ROSTER, payload)


@pytest.fixture
def roster() -> Roster:
    return Roster(player_slots=8)


def test_a_player_joins_and_leaves(roster: Roster) -> None:
    assert roster.apply(entry(EntryKind.PLAYER_JOINED, b"\x02\x00bob")) == [PlayerJoined(2, "bob")]
    assert roster.members == {2: "bob"}
    assert roster.apply(entry(EntryKind.PLAYER_LEFT, b"\x02\x00\x05")) == [PlayerLeft(2, ByeReason.KICKED)]
    assert roster.members == {}


def test_who_was_there_before_us_comes_with_the_roster(roster: Roster) -> None:
    events = roster.apply(roster_entry(3, (3, b"cat"), (4, "dög".encode())))
    assert events == [PlayerJoined(3, "cat"), PlayerJoined(4, "dög"), HostChanged(3)]
    assert (roster.members, roster.host) == ({3: "cat", 4: "dög"}, 3)


def test_who_is_away_is_told_with_the_roster(roster: Roster) -> None:
    events = roster.apply(roster_entry(3, (3, b"cat"), (4, b"dog"), away=(4,)))
    assert events == [PlayerJoined(3, "cat"), PlayerJoined(4, "dog"), PlayerAway(4), HostChanged(3)]
    assert roster.away == {4}


def test_a_player_goes_away_and_comes_back(roster: Roster) -> None:
    roster.apply(entry(EntryKind.PLAYER_JOINED, b"\x02\x00bob"))
    assert roster.apply(entry(EntryKind.PLAYER_AWAY, b"\x02\x00")) == [PlayerAway(2)]
    assert (roster.members, roster.away) == ({2: "bob"}, {2})
    assert roster.apply(entry(EntryKind.PLAYER_BACK, b"\x02\x00\x00")) == [PlayerBack(2, False)]
    assert roster.apply(entry(EntryKind.PLAYER_BACK, b"\x02\x00\x01")) == [PlayerBack(2, True)]
    assert (roster.members, roster.away) == ({2: "bob"}, set())


def test_who_leaves_or_comes_new_is_not_away(roster: Roster) -> None:
    for kind, payload in ((EntryKind.PLAYER_LEFT, b"\x02\x00\x03"), (EntryKind.PLAYER_JOINED, b"\x02\x00new")):
        roster.apply(entry(EntryKind.PLAYER_JOINED, b"\x02\x00bob"))
        roster.apply(entry(EntryKind.PLAYER_AWAY, b"\x02\x00"))
        roster.apply(entry(kind, payload))
        assert roster.away == set()


def test_a_host_who_stands_in_a_later_roster_is_announced_after_it(roster: Roster) -> None:
    assert roster.apply(roster_entry(4, (3, b"cat"))) == [PlayerJoined(3, "cat")]
    assert roster.apply(roster_entry(4, (4, b"dog"))) == [PlayerJoined(4, "dog"), HostChanged(4)]
    assert roster.apply(roster_entry(4, (5, b"eel"))) == [PlayerJoined(5, "eel")]


def test_the_host_changes_and_may_be_nobody(roster: Roster) -> None:
    assert roster.apply(entry(EntryKind.HOST_CHANGED, b"\x03\x00")) == [HostChanged(3)]
    assert roster.apply(entry(EntryKind.HOST_CHANGED, b"\x03\x00")) == []
    assert roster.apply(entry(EntryKind.HOST_CHANGED, b"\xff\xff")) == [HostChanged(NO_PLAYER)]
    assert roster.host is None


def test_an_entry_of_unknown_kind_is_passed_over(roster: Roster) -> None:
    assert roster.apply(entry(200, b"anything")) == []


def test_leaving_going_and_coming_back_without_having_joined_says_nothing(roster: Roster) -> None:
    assert roster.apply(entry(EntryKind.PLAYER_LEFT, b"\x02\x00\x01")) == []
    assert roster.apply(entry(EntryKind.PLAYER_AWAY, b"\x02\x00")) == []
    assert roster.apply(entry(EntryKind.PLAYER_BACK, b"\x02\x00\x00")) == []
    assert roster.away == set()


def test_a_name_that_is_not_utf8_is_shown_as_far_as_it_is(roster: Roster) -> None:
    assert roster.apply(entry(EntryKind.PLAYER_JOINED, b"\x02\x00b\xffb")) == [PlayerJoined(2, "b\ufffdb")]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (EntryKind.PLAYER_JOINED, b"\x02"),
        (EntryKind.PLAYER_JOINED, b"\x08\x00bob"),
        (EntryKind.PLAYER_JOINED, b"\xff\xffbob"),
        (EntryKind.PLAYER_LEFT, b"\x02\x00"),
        (EntryKind.PLAYER_LEFT, b"\x02\x00\x01\x01"),
        (EntryKind.HOST_CHANGED, b"\x08\x00"),
        (EntryKind.ROSTER, b"\x00"),
        (EntryKind.ROSTER, b"\x00\x00\x01\x00\x00\x05ann"),
        (EntryKind.ROSTER, b"\x00\x00\x08\x00\x00\x03ann"),
        (EntryKind.PLAYER_AWAY, b"\x08\x00"),
        (EntryKind.PLAYER_BACK, b"\x02\x00"),
    ],
)
def test_a_malformed_entry_or_a_player_that_cannot_be_changes_nothing(
    roster: Roster, kind: int, payload: bytes
) -> None:
    assert roster.apply(entry(kind, payload)) is None
    assert (roster.members, roster.host) == ({}, None)


def test_a_reason_of_a_later_revision_stays_a_number() -> None:
    assert reason_of(2) is ByeReason.SHUTDOWN
    assert reason_of(99) == 99
