"""Requests: payloads that the server can read, and mistakes told by name."""

import pytest

from protocol import schemas
from protocol.client import room_requests
from protocol.constants import NO_PLAYER, PropertyType


def test_a_property_may_be_set_only_at_a_version() -> None:
    for version, fields in ((None, (0, 0)), (0, (1, 0)), (70000, (1, 70000))):
        payload = room_requests.encode_set_property(3, "ä", True, version)
        value = schemas.SET_PROPERTY_PAYLOAD.parse(payload)
        assert (value.is_conditional, value.version) == fields
        assert (value.owner, value.key, value.type, value.value) == (3, "ä".encode(), PropertyType.BOOL, b"\x01")


@pytest.mark.parametrize("key", ["", "x" * 33, "a\nb", "\ud800"])
def test_a_key_that_cannot_be_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"key is .*; permitted: 1 to 32 bytes"):
        room_requests.encode_key(key)


def test_a_text_is_cut_at_200_bytes_between_letters() -> None:
    text = "x" + "ä" * 150
    assert schemas.KICK_PAYLOAD.parse(room_requests.encode_kick(1, text)).text.decode() == "x" + "ä" * 99
    assert schemas.BAN_PAYLOAD.parse(room_requests.encode_ban(1, text, True)).text.decode() == "x" + "ä" * 99


@pytest.mark.parametrize("index", [0, -1, 1 << 32])
def test_a_kept_message_has_a_log_index(index: int) -> None:
    with pytest.raises(ValueError, match=r"index is .*; permitted: 1 to 4294967295, or None"):
        room_requests.encode_clear_kept(index)


def test_no_player_stands_for_room_and_host() -> None:
    assert room_requests.owner_number("owner", None, 8) == NO_PLAYER
    assert room_requests.owner_number("owner", 7, 8) == 7
    with pytest.raises(ValueError, match="owner is 8; permitted: 0 to 7"):
        room_requests.owner_number("owner", 8, 8)
