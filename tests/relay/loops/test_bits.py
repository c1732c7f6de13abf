"""The small things that loops share, compiled, against `protocol.sequence` and plain Python."""

from random import Random

import numpy as np
import pytest

pytest.importorskip("numba")

from protocol import sequence
from relay.loops.bits import copy_bytes, count_bits, extend, has_bit, lowest_bit, shifted_up

ALL = (1 << 64) - 1
MASKS = (0, 1, 2, 3, 1 << 31, 1 << 32, 1 << 62, 1 << 63, ALL, ALL - 1, 0x5555_5555_5555_5555, 0xDEAD_BEEF_0000_0001)
SHIFTS = (*range(66), 100, 127, 128, 129, 1000, 32_767, 1 << 32, (1 << 32) + 1, 1 << 62)


def test_numbers_are_extended_as_the_protocol_says() -> None:
    rng = Random(1)
    nears = [0, 1, 63, 32_767, 32_768, 65_535, 65_536, 1 << 40, *(rng.getrandbits(45) for _ in range(50))]
    lows = [0, 1, 32_767, 32_768, 65_534, 65_535, *(rng.getrandbits(16) for _ in range(50))]
    for near in nears:
        for low in [*lows, near & 0xFFFF, (near + 32_767) & 0xFFFF, (near + 32_768) & 0xFFFF]:
            assert extend(np.uint16(low), near) == sequence.extend(low, near)


@pytest.mark.parametrize("mask", MASKS)
def test_shifts_leave_nothing_beyond_64_bits(mask: int) -> None:
    for by in SHIFTS:
        expected = mask << by & ALL if by < 64 else 0
        assert int(shifted_up(np.uint64(mask), by)) == expected
        assert bool(has_bit(np.uint64(mask), by)) == bool(mask >> min(by, 64) & 1)


def test_bits_are_counted_and_found() -> None:
    rng = Random(2)
    for mask in [*MASKS, *(rng.getrandbits(rng.randint(1, 64)) for _ in range(200))]:
        assert count_bits(np.uint64(mask)) == mask.bit_count()
        if mask:
            assert lowest_bit(np.uint64(mask)) == (mask & -mask).bit_length() - 1


def test_bits_of_a_narrow_number_are_counted() -> None:
    assert [count_bits(np.uint32(value)) for value in (0, 1, 0xFFFF_FFFF)] == [0, 1, 32]


@pytest.mark.parametrize(("to", "at", "count"), [(0, 0, 0), (0, 0, 16), (3, 5, 7), (15, 15, 1), (16, 16, 0)])
def test_bytes_are_copied_and_no_others_touched(to: int, at: int, count: int) -> None:
    source, target = np.arange(16, dtype=np.uint8), np.full(16, 255, np.uint8)
    copy_bytes(target, to, source, at, count)
    expected = [255] * 16
    expected[to : to + count] = range(at, at + count)
    assert target.tolist() == expected
