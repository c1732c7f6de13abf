"""Whom each message and signal of a load is for: a function of who said it and which one it was.

Sender, receivers and the ledger compute it alike, so nobody has to write down who should have heard what.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from protocol.constants import Target
from relay.columns import Bools, Ints
from tools.load.claims import keys_of, scrambled

_ROLLS = np.array([Target.ALL] * 3 + [Target.ALL_BUT, Target.ONE, Target.ONE, Target.LIST, Target.LIST], np.int64)
"""One of eight, so many times each: games mostly call everybody (chosen)."""
NUM_IDS = np.array([0, 1, 1, 2], np.int64)
"""Player ids that go with each target."""


class Aim(Enum):
    """Whom a load's players speak to."""

    MIXED = "mixed"
    """All, all but one, one, two: rolled anew for each."""
    OTHERS = "others"
    """All but the sender: what Godot's drop-in peer sends."""
    ALL = "all"


@dataclass
class Audience:
    """Targets. Axis: n messages or signals."""

    target: Ints
    first: Ints
    """First player id, where the target has one."""
    second: Ints

    def hears(self, player_id: Ints) -> Bools:
        """Tell whether a player with that id, (n,), is meant."""
        is_first, is_second = player_id == self.first, player_id == self.second
        return np.select(
            [self.target == Target.ALL, self.target == Target.ALL_BUT, self.target == Target.ONE],
            [np.ones(len(self.target), np.bool_), ~is_first, is_first],
            is_first | is_second,
        )


def choose(aim: Aim, life: Ints, counter: Ints, sender_id: Ints, per_room: int) -> Audience:
    """Tell whom what `life` said as number `counter` is for; (n,) each.

    Args:
        sender_id: The senders' player ids.
        per_room: Ids from 0 up to it are aimed at, whether or not somebody has them.
    """
    if aim is not Aim.MIXED:
        always = Target.ALL if aim is Aim.ALL else Target.ALL_BUT
        return Audience(np.full(len(life), int(always)), sender_id, sender_id)
    roll = scrambled(scrambled(keys_of(life, counter))) >> np.uint64(8)
    target = _ROLLS[(roll & np.uint64(7)).astype(np.int64)]
    first = (roll >> np.uint64(8) & np.uint64(0xFFFF)).astype(np.int64) % per_room
    second = (
        first + 1 + (roll >> np.uint64(24) & np.uint64(0xFFFF)).astype(np.int64) % max(1, per_room - 1)
    ) % per_room
    return Audience(target, first, second)
