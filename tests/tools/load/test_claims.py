"""Contents that prove themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.load import claims
from tools.load.claims import CLAIM_BYTES, COUNTER_BITS, Use

LIVES = st.integers(0, 2**31 - 1)
COUNTERS = st.integers(0, 2**COUNTER_BITS - 1)
SIZES = st.integers(CLAIM_BYTES, 200)


def written(use: Use, life: int, counter: int, size: int) -> bytes:
    return claims.write(use, np.array([life]), np.array([counter]), size).tobytes()


def read(use: Use, content: bytes) -> tuple[int, int, bool]:
    life, counter, proven = claims.read(use, np.frombuffer(content, np.uint8).reshape(1, -1))
    return int(life[0]), int(counter[0]), bool(proven[0])


@given(st.sampled_from(Use), LIVES, COUNTERS, SIZES)
def test_what_is_written_is_read(use: Use, life: int, counter: int, size: int) -> None:
    content = written(use, life, counter, size)
    assert len(content) == size
    assert read(use, content) == (life, counter, True)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_scrambling_is_undone_and_one_to_one(words: list[int]) -> None:
    keys = np.array(words, np.uint64)
    scrambled = claims.scrambled(keys)
    assert claims.unscrambled(scrambled).tolist() == words
    assert len(set(scrambled.tolist())) == len(set(words))


@given(st.sampled_from(Use), LIVES, COUNTERS, st.integers(2 * CLAIM_BYTES, 100), st.data())
def test_a_content_with_a_changed_bit_proves_nothing(
    use: Use, life: int, counter: int, size: int, data: st.DataObject
) -> None:
    content = bytearray(written(use, life, counter, size))
    bit = data.draw(st.integers(0, 8 * size - 1))
    content[bit // 8] ^= 1 << bit % 8
    found_life, found_counter, proven = read(use, bytes(content))
    assert not proven or (found_life, found_counter) != (life, counter)
    if bit >= 8 * CLAIM_BYTES:
        assert not proven


@pytest.mark.parametrize("use", Use)
def test_a_content_passes_for_no_other_use(use: Use) -> None:
    content = written(use, 3, 17, 24)
    assert [other for other in Use if read(other, content)[2]] == [use]


def test_two_contents_in_one_prove_nothing() -> None:
    one, other = written(Use.STATE, 3, 17, 24), written(Use.STATE, 4, 17, 24)
    assert not read(Use.STATE, one[:12] + other[12:])[2]
    assert not read(Use.STATE, one[:16] + other[16:])[2]


def test_every_byte_of_a_content_changes_with_every_counter() -> None:
    contents = claims.write(Use.STATE, np.full(2000, 5), np.arange(2000), 24)
    same = (contents[1:] == contents[:-1]).mean(axis=0)
    assert same.max() < 0.02  # 1 in 256 by chance


def test_what_is_too_short_for_a_claim_proves_nothing() -> None:
    life, counter, proven = claims.read(Use.STATE, np.zeros((3, CLAIM_BYTES - 1), np.uint8))
    assert not proven.any() and len(life) == len(counter) == 3


def test_keys_grow_with_the_counter_and_with_the_life() -> None:
    keys = claims.keys_of(np.array([0, 0, 1, 1, 2]), np.array([1, 2**32 - 1, 0, 7, 1]))
    assert (np.diff(keys.astype(object)) > 0).all()
