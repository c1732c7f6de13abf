"""Contents that prove themselves: who made them, which of theirs they are, and that no byte of them is another's.

Everything that a player of a load publishes or says begins with one word made of its life (the row of its player in
the crowd) and a counter, scrambled so that every byte changes with every counter. The bytes behind it follow from that
word. So a receiver can tell from the bytes alone whether they are what their owner once published, and the generator
needs to remember none of them.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from relay.columns import Bools, Bytes, Ints

Words = npt.NDArray[np.uint64]

CLAIM_BYTES = 8
"""The word; content is this long at least."""
COUNTER_BITS = 32
_COUNTER_MASK = np.uint64((1 << COUNTER_BITS) - 1)
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""2**64 / golden ratio: a multiplier that spreads low bits over all others (Knuth 6.4)."""
_INVERSE = np.uint64(pow(int(_ODD), -1, 1 << 64))
_HALF = np.uint64(32)


class Use(IntEnum):
    """What content is for: a message must not pass for a state."""

    STATE = 1
    MESSAGE = 2
    SIGNAL = 3


def scrambled(keys: Words) -> Words:
    """Map 64-bit words one to one onto words that look random. Undone by `unscrambled`."""
    words = (keys ^ keys >> _HALF) * _ODD
    words = (words ^ words >> _HALF) * _ODD
    return words ^ words >> _HALF


def unscrambled(words: Words) -> Words:
    """Undo `scrambled`."""
    words = (words ^ words >> _HALF) * _INVERSE
    words = (words ^ words >> _HALF) * _INVERSE
    return words ^ words >> _HALF


def keys_of(life: Ints, counter: Ints) -> Words:
    """Join life and counter, (n,), into one word each."""
    return life.astype(np.uint64) << np.uint64(COUNTER_BITS) | counter.astype(np.uint64)


def write(use: Use, life: Ints, counter: Ints, size: int) -> Bytes:
    """Write contents of `size` bytes, CLAIM_BYTES or more: uint8, (n, size)."""
    return _expand(scrambled(keys_of(life, counter)), use, size)


def read(use: Use, contents: Bytes) -> tuple[Ints, Ints, Bools]:
    """Read contents, uint8 (n, size) and C-contiguous.

    Returns: life (n,), counter (n,), and whether all bytes are what that life wrote at that counter (n,). Whether
        there is such a life, and whether it has come to that counter, the caller knows.
    """
    size = contents.shape[1]
    if size < CLAIM_BYTES:
        nothing = np.zeros(len(contents), np.int64)
        return nothing, nothing, np.zeros(len(contents), np.bool_)
    words = contents[:, :CLAIM_BYTES].copy().view("<u8")[:, 0]
    key = unscrambled(words)
    good = np.ones(len(contents), np.bool_)
    if size > CLAIM_BYTES:
        good = (_expand(words, use, size)[:, CLAIM_BYTES:] == contents[:, CLAIM_BYTES:]).all(axis=1)
    life = (key >> np.uint64(COUNTER_BITS)).astype(np.int64)
    return life, (key & _COUNTER_MASK).astype(np.int64), good


def _expand(words: Words, use: Use, size: int) -> Bytes:
    """Write each word and the bytes that follow from it: word k is word 0 times an odd number of its own."""
    num_words = -(-size // CLAIM_BYTES)
    factor = np.arange(num_words, dtype=np.uint64) * np.uint64(2 * len(Use)) * _ODD + np.uint64(2 * use + 1)
    factor[0] = 1
    filler = words[:, None] * factor
    filler[:, 1:] ^= filler[:, 1:] >> _HALF
    return filler.astype("<u8", copy=False).view(np.uint8)[:, :size]
