"""Room: entries in order, the moment when it is whole, and what outlives a session."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.client import (
    ClientConnection,
    EntityOwnerChanged,
    Event,
    HostChanged,
    Joined,
    KeptCleared,
    Message,
    PlayerAway,
    PlayerBack,
    PlayerJoined,
    PlayerLeft,
    PropertyChanged,
    RequestKind,
    RequestRefusal,
    RequestRefused,
    RoomLocked,
    RoomShown,
    Signal,
    StateChanged,
)
from protocol.client.room import refused
from protocol.constants import NO_PLAYER, DataSection, EntryKind, MessageFlag, PropertyType, SignalFlag
from protocol.drops import DropReason

Hear = Callable[..., list[Event]]


@pytest.fixture
def hear(server: Any, connection: ClientConnection) -> Hear:
    """Receive an UPDATE of the given sections; returns the events."""

    def received(*sections: Any) -> list[Event]:
        connection.receive(server.update(*sections), 10.0)
        return connection.take_events()

    return received


def set_property(server: Any, index: int, key: bytes, value: bytes, owner: int = NO_PLAYER) -> Any:
    fields = {"player_id": 2, "owner": owner, "key": key, "type": PropertyType.TEXT, "value": value}
    return server.written(index, EntryKind.PROPERTY_CHANGED, **fields)


def test_a_joiner_hears_everything_before_joined(server: Any, hear: Hear) -> None:
    roster = server.written(1, EntryKind.ROSTER, host=2, members=[{"player_id": 2, "is_away": 1, "name": b"bob"}])
    fields = {"version": 5, "owner": NO_PLAYER, "key": b"map", "type": PropertyType.TEXT, "value": b"cave"}
    entries = [
        roster,
        server.written(2, EntryKind.PROPERTIES, properties=[fields]),
        server.written(3, EntryKind.OWNERS, owners=[{"entity_id": 11, "owner": 2}]),
        server.entry(4, b"\x07\x00\x01\x00rules", sender=NO_PLAYER, flags=MessageFlag.KEEP | MessageFlag.KEPT),
        server.joined(5, 1, b"ann"),
        server.ready(6, b"\x01", is_locked=1),
    ]
    assert hear(server.log(1, 6, *entries)) == [
        PlayerJoined(2, "bob"),
        PlayerAway(2),
        HostChanged(2),
        PropertyChanged(NO_PLAYER, "map", "cave", NO_PLAYER),
        EntityOwnerChanged(11, 2),
        Message(NO_PLAYER, 1, 0, b"rules", 65_543, kept=True, flags=MessageFlag.KEEP),
        PlayerJoined(1, "ann"),
        RoomLocked(True),
    ]
    assert [type(event) for event in hear(server.page(0, {2: b"state"}))] == [StateChanged, Joined]


def test_joined_waits_for_each_page_that_is_listed_and_for_no_other(
    server: Any, connection: ClientConnection, hear: Hear
) -> None:
    assert hear(server.page(0)) == []
    assert hear(server.log(1, 1, server.ready(1, b"\x03"))) == [] and not connection.is_whole
    assert hear(server.page(1)) == [Joined(1, "ROOM-1")]
    assert connection.is_whole and hear(server.log(2, 2, server.ready(2))) == []


def test_a_room_that_names_pages_it_cannot_have_is_not_believed(
    server: Any, connection: ClientConnection, hear: Hear
) -> None:
    assert hear(server.log(1, 1, server.ready(1, b"\x04"))) == []
    assert connection.dropped == {DropReason.MALFORMED: 1} and not connection.is_whole


def test_requests_are_no_entries(server: Any, connection: ClientConnection, hear: Hear) -> None:
    entries = [server.entry(index, kind=kind) for index, kind in enumerate((111, 112, 127, 200), start=1)]
    assert [event.kind for event in hear(server.log(1, 4, *entries)) if isinstance(event, Message)] == [111]
    assert connection.dropped == {}


def test_a_malformed_notice_is_counted(server: Any, connection: ClientConnection, hear: Hear) -> None:
    assert hear(server.log(1, 1, server.entry(1, b"", EntryKind.ROOM_LOCKED, NO_PLAYER))) == []
    assert connection.dropped == {DropReason.MALFORMED: 1}


def test_locking_is_told_once(server: Any, connection: ClientConnection, hear: Hear) -> None:
    entries = [server.written(index, EntryKind.ROOM_LOCKED, is_locked=index < 3) for index in (1, 2, 3)]
    assert hear(server.log(1, 3, *entries)) == [RoomLocked(True), RoomLocked(False)]
    assert not connection.is_locked


def test_it_is_told_whether_all_find_the_room(server: Any, connection: ClientConnection, hear: Hear) -> None:
    assert not connection.is_listed
    entries = [server.written(index, EntryKind.ROOM_SHOWN, is_listed=index < 3) for index in (1, 2)]
    assert hear(server.log(1, 2, *entries)) == [RoomShown(True)]
    assert connection.is_listed
    assert hear(server.log(3, 3, server.written(3, EntryKind.ROOM_SHOWN, is_listed=0))) == [RoomShown(False)]
    assert not connection.is_listed


def test_kept_messages_are_known_by_the_index_that_they_were_written_at(server: Any, hear: Hear) -> None:
    flags = MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER
    [heard] = hear(server.log(1, 1, server.entry(1, b"door", flags=flags | 0xF8)))
    assert isinstance(heard, Message) and (heard.index, heard.kept, heard.flags) == (1, False, flags)
    cleared = server.written(2, EntryKind.KEPT_CLEARED, player_id=2, cleared=[{"log_index": 1}, {"log_index": 70_000}])
    assert hear(server.log(2, 2, cleared)) == [KeptCleared((1, 70_000), 2)]


@pytest.mark.parametrize("size", range(4))
def test_a_copy_too_short_for_its_index_is_malformed(
    server: Any, connection: ClientConnection, hear: Hear, size: int
) -> None:
    assert hear(server.log(1, 1, server.entry(1, bytes(size), flags=MessageFlag.KEPT))) == []
    assert connection.dropped == {DropReason.MALFORMED: 1}


def test_nobody_can_have_cleared_who_cannot_be_in_the_room(
    server: Any, connection: ClientConnection, hear: Hear
) -> None:
    assert hear(server.log(1, 1, server.written(1, EntryKind.KEPT_CLEARED, player_id=8, cleared=[]))) == []
    assert connection.dropped == {DropReason.MALFORMED: 1}


def test_a_refused_request_is_told_by_its_whole_id(server: Any, hear: Hear) -> None:
    entry = server.written(1, EntryKind.REQUEST_REFUSED, message_id=3, request=RequestKind.LOCK, reason=3)
    assert hear(server.log(1, 1, entry)) == [
        RequestRefused(3, RequestKind.LOCK, RequestRefusal.NOT_HOST, "Only the host of the room may do that.")
    ]


def test_numbers_of_a_later_revision_stay_numbers() -> None:
    assert refused(1, 1, 99) == RequestRefused(1, 1, 99, "")
    assert refused(1, 127, 1).kind == 127 and refused(1, 127, 1).reason is RequestRefusal.UNKNOWN


def test_what_a_player_had_goes_with_it(server: Any, connection: ClientConnection, hear: Hear) -> None:
    give = server.written(3, EntryKind.ENTITY_OWNER, entity_id=3, owner=2)
    hear(server.log(1, 3, server.joined(1, 2), set_property(server, 2, b"team", b"red", owner=2), give))
    assert (connection.player_properties(2), connection.owner_of(3)) == ({"team": "red"}, 2)
    assert hear(server.log(4, 4, server.left(4, 2))) == [PlayerLeft(2, 1), EntityOwnerChanged(3, 3)]
    assert (connection.player_properties(2), connection.owner_of(3)) == ({}, 3)


def test_who_joins_takes_its_entities_back(server: Any, connection: ClientConnection, hear: Hear) -> None:
    hear(server.log(1, 1, server.written(1, EntryKind.ENTITY_OWNER, entity_id=10, owner=NO_PLAYER)))
    assert hear(server.log(2, 2, server.joined(2, 2))) == [PlayerJoined(2, "bob"), EntityOwnerChanged(10, 2)]
    assert connection.owner_of(10) == 2


def test_signals_of_who_came_back_afresh_count_anew(server: Any, hear: Hear) -> None:
    newest = SignalFlag.NEWEST_FIRST
    hear(server.log(1, 1, server.joined(1, 2)))
    hear(server.signal(flags=newest, sequence=500))
    for index, is_afresh, expected in ((2, 0, [PlayerBack]), (3, 1, [PlayerBack, Signal])):
        back = server.written(index, EntryKind.PLAYER_BACK, player_id=2, is_afresh=is_afresh)
        heard = hear(server.log(index, index, back)) + hear(server.signal(flags=newest, sequence=1))
        assert [type(event) for event in heard] == expected


def test_what_was_given_to_us_is_sent_when_our_cursor_says_that_we_know(
    server: Any, connection: ClientConnection, hear: Hear
) -> None:
    """The server would not take it before, and not tell: behind a lost fragment it was never sent again."""
    given = server.written(3, EntryKind.ENTITY_OWNER, entity_id=3, owner=1)
    assert hear(server.log(3, 3, given, after=0)) == [EntityOwnerChanged(3, 1)]
    assert connection.publish_entity(3, b"mine", 10.0)
    sent = [data for data in connection.tick(10.0) if server.sections(data, DataSection.STATE)]
    assert sent == [] and not connection.is_idle()
    hear(server.log(1, 2, server.entry(1, part=0x8000), server.entry(2, part=1)))
    [data] = connection.tick(10.1)
    assert server.read(data).header.log_cursor == 3 and server.sections(data, DataSection.STATE)


def test_the_hosts_entities_are_shown_whoever_is_host(server: Any, hear: Hear) -> None:
    hear(server.log(1, 1, server.written(1, EntryKind.ENTITY_OWNER, entity_id=2, owner=NO_PLAYER)))
    (event,) = hear(server.page(0, {2: b"state", 3: b"wait."}))
    assert isinstance(event, StateChanged) and [change[0] for change in event.changed] == [2]


def test_a_state_is_shown_when_its_new_owner_is_known(server: Any, hear: Hear) -> None:
    assert hear(server.log(1, 1, server.joined(1, 2)), server.page(0, {3: b"state"})) == [PlayerJoined(2, "bob")]
    events = hear(server.log(2, 2, server.written(2, EntryKind.ENTITY_OWNER, entity_id=3, owner=2)))
    assert [type(event) for event in events] == [EntityOwnerChanged, StateChanged]
