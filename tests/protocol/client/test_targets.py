"""Targets: numbers of messages and signals are checked before anything is queued."""

import pytest

from protocol.client.targets import encode_targets, split
from protocol.constants import Target


@pytest.mark.parametrize(
    ("target", "players", "encoded"),
    [
        (Target.ALL, (), b""),
        (Target.ALL_BUT, (3,), b"\x03\x00"),
        (Target.ONE, (0x0102,), b"\x02\x01"),
        (Target.LIST, (1, 2), b"\x01\x00\x02\x00"),
        (Target.LIST, tuple(range(255)), b"".join(i.to_bytes(2, "little") for i in range(255))),
    ],
)
def test_player_ids_are_encoded_little_endian(target: Target, players: tuple[int, ...], encoded: bytes) -> None:
    assert encode_targets(1, 0, target, players) == encoded


@pytest.mark.parametrize(
    ("kind", "channel", "target", "players", "what"),
    [
        (0, 0, Target.ALL, (), "kind"),
        (128, 0, Target.ALL, (), "kind"),
        (1, -1, Target.ALL, (), "channel"),
        (1, 256, Target.ALL, (), "channel"),
        (1, 0, 4, (), "target"),
        (1, 0, Target.ALL, (1,), "number of players for ALL"),
        (1, 0, Target.ALL_BUT, (), "number of players for ALL_BUT"),
        (1, 0, Target.ONE, (1, 2), "number of players for ONE"),
        (1, 0, Target.LIST, (), "number of players for LIST"),
        (1, 0, Target.LIST, (1,) * 256, "number of players for LIST"),
        (1, 0, Target.ONE, (65536,), "player id"),
        (1, 0, Target.ONE, (-1,), "player id"),
    ],
)
def test_a_number_out_of_range_is_named(
    kind: int, channel: int, target: Target, players: tuple[int, ...], what: str
) -> None:
    with pytest.raises(ValueError, match=f"{what} is .*; permitted"):
        encode_targets(kind, channel, target, players)


def test_a_payload_is_cut_into_pieces_and_an_empty_one_is_one_empty_piece() -> None:
    assert split(b"abcde", 2) == [b"ab", b"cd", b"e"]
    assert split(b"abcd", 2) == [b"ab", b"cd"]
    assert split(b"", 2) == [b""]
