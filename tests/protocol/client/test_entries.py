"""Entries: payloads of the server's entries, and who may own something."""

import pytest

from protocol.client.entries import is_owner, parse_payload
from protocol.constants import NO_PLAYER, EntryKind
from protocol.records import Entry


def test_a_payload_is_parsed_by_its_kind() -> None:
    value = parse_payload(Entry(1, EntryKind.PLAYER_BACK, NO_PLAYER, 0, 0, b"\x02\x00\x01"))
    assert (value.player_id, value.is_afresh) == (2, 1)


@pytest.mark.parametrize("payload", [b"", b"\x02\x00\x01\x00"])
def test_one_that_is_too_short_or_too_long_is_none(payload: bytes) -> None:
    assert parse_payload(Entry(1, EntryKind.PLAYER_BACK, NO_PLAYER, 0, 0, payload)) is None


def test_owners_are_players_of_the_room_or_nobody() -> None:
    assert [is_owner(number, 8) for number in (0, 7, 8, NO_PLAYER)] == [True, True, False, True]
