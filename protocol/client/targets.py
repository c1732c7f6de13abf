"""What messages and signals have in common: their numbers and whom they are for, checked before they are queued."""

import struct
from collections.abc import Sequence

from protocol.constants import MAX_PLAYER_KIND, NO_PLAYER, Target

MAX_CHANNEL = 255
MAX_TARGETS = 255
"""`target_count` is a u8."""

_NUM_PLAYERS = {Target.ALL: (0, 0), Target.ALL_BUT: (1, 1), Target.ONE: (1, 1), Target.LIST: (1, MAX_TARGETS)}


def encode_targets(
    kind: int, channel: int, target: Target, players: Sequence[int], max_kind: int = MAX_PLAYER_KIND
) -> bytes:
    """Check the caller's numbers and encode the player ids.

    Raises: ValueError naming field, value and permitted range.
    """
    _require_range("kind", kind, 1, max_kind)
    _require_range("channel", channel, 0, MAX_CHANNEL)
    if target not in _NUM_PLAYERS:
        raise ValueError(f"target is {target!r}; permitted: ALL, ALL_BUT, ONE, LIST")
    _require_range(f"number of players for {Target(target).name}", len(players), *_NUM_PLAYERS[target])
    for player_id in players:
        _require_range("player id", player_id, 0, NO_PLAYER)
    return struct.pack(f"<{len(players)}H", *players)


def split(payload: bytes, size: int) -> list[bytes]:
    """Cut a payload into pieces of `size` bytes; an empty one is one empty piece."""
    return [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]


def _require_range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{field} is {value}; permitted: {low} to {high}")
