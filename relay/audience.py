"""Who of a room something is for: one bit per player id, so that every kind of target is asked the same way."""

import numpy as np
import numpy.typing as npt

from protocol.constants import MAX_SLOTS, Target
from relay.columns import Ints, expand, windows
from relay.ingress import Records, Sections

WORDS = MAX_SLOTS // 64
"""uint64 words of an audience: 8."""
Audience = npt.NDArray[np.uint64]
"""(n, WORDS) uint64: bit p % 64 of word p // 64 is player id p."""
EVERYBODY: Audience = np.full(WORDS, ~np.uint64(0), np.uint64)
"""The audience of Target.ALL, (WORDS,)."""
_ONE = np.uint64(1)


def only(player_id: int) -> Audience:
    """Build the audience of one player, (WORDS,)."""
    audience = np.zeros(WORDS, np.uint64)
    audience[player_id // 64] = _ONE << np.uint64(player_id % 64)
    return audience


def includes(audience: Audience, which: Ints, player_id: Ints) -> npt.NDArray[np.bool_]:
    """Tell for pairs whether the audience `which` (m,) holds the player id (m,)."""
    word = audience[which, player_id >> 6]
    return (word >> (player_id & 63).astype(np.uint64) & _ONE) != 0


def read_audiences(source: npt.NDArray[np.uint8], sections: Sections, header: Records) -> Audience:
    """Read the targets of checked MESSAGE or SIGNAL sections. Ids beyond MAX_SLOTS name nobody."""
    target = header["target"]
    audience = np.zeros((len(target), WORDS), np.uint64)
    which, k = expand(header["target_count"].astype(np.int64))
    ids = windows(source, "<u2")[sections.at[which] + header.dtype.itemsize + 2 * k].astype(np.int64)
    named = ids < MAX_SLOTS
    which, ids = which[named], ids[named]
    np.bitwise_or.at(audience, (which, ids >> 6), _ONE << (ids & 63).astype(np.uint64))
    inverted = (target == Target.ALL) | (target == Target.ALL_BUT)
    audience[inverted] = ~audience[inverted]
    return audience
