"""Pieces of memory end up where they belong, whatever their lengths."""

from random import Random
from typing import Any

import numpy as np
import pytest

from relay.batch import ROW_BYTES
from relay.capture.memory import copy_memory, read_heads

Array = np.ndarray[Any, np.dtype[Any]]


def pieces_of(arrays: list[Array]) -> tuple[Array, Array]:
    return np.array([array.ctypes.data for array in arrays]), np.array([len(array) for array in arrays])


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_all_lengths_are_copied_as_join_would(seed: int) -> None:
    rng = Random(seed)
    lengths = [*range(80), ROW_BYTES, ROW_BYTES - 1, *(rng.randint(0, ROW_BYTES) for _ in range(200))]
    rng.shuffle(lengths)
    arrays = [np.frombuffer(rng.randbytes(length), np.uint8) for length in lengths]
    target = np.full(sum(lengths) + 64, 0xEE, np.uint8)
    at = np.cumsum([0, *lengths[:-1]])
    copy_memory(target, at, *pieces_of(arrays))
    assert target[: sum(lengths)].tobytes() == b"".join(array.tobytes() for array in arrays)
    assert (target[sum(lengths) :] == 0xEE).all()


def test_nothing_beside_the_targets_is_written() -> None:
    rng = Random(9)
    arrays = [np.frombuffer(rng.randbytes(length), np.uint8) for length in (3, 17, 64, 65, 1)]
    target = np.full(400, 0xEE, np.uint8)
    at = np.array([10, 20, 100, 180, 300])
    copy_memory(target, at, *pieces_of(arrays))
    expected = np.full(400, 0xEE, np.uint8)
    for start, array in zip(at.tolist(), arrays, strict=True):
        expected[start : start + len(array)] = array
    assert (target == expected).all()


def test_pieces_of_no_bytes_are_copied_as_nothing() -> None:
    nothing = np.zeros(0, np.uint8)
    target = np.full(4, 0xEE, np.uint8)
    copy_memory(target, np.array([0, 2]), *pieces_of([nothing, nothing]))
    assert (target == 0xEE).all()


def test_heads_are_read_from_where_they_lie() -> None:
    record = np.dtype([("a", "u1"), ("b", "<u4")])
    data = np.frombuffer(bytes(range(64)), np.uint8)
    pointer = data.ctypes.data + np.array([30, 1, 59])
    heads = read_heads(pointer, record)
    assert heads["a"].tolist() == [30, 1, 59]
    assert heads["b"].tolist() == [int.from_bytes(bytes(range(n + 1, n + 5)), "little") for n in (30, 1, 59)]
    assert len(read_heads(np.zeros(0, np.int64), record)) == 0
