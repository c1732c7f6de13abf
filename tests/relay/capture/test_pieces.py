"""Datagrams are seen as they lie, whole or in pieces."""

import numpy as np
import pytest

from relay.addresses import pack_address
from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.capture.pieces import BatchRows, Pieces, pieces_of_bytes, pieces_of_outgoing

V4 = pack_address("192.0.2.7", 50_001)
MEMORY = np.arange(100, dtype=np.uint8)
TEXT = MEMORY.tobytes()


def scattered() -> Pieces:
    """Three datagrams: bytes 0 ... 9 and 50 ... 54, then 20 ... 29, then 90 ... 99 and 0 and 1."""
    runs = np.array([(0, 10), (50, 5), (20, 10), (90, 10), (0, 1), (1, 1)], np.uint64)
    runs[:, 0] += np.uint64(MEMORY.ctypes.data)
    addresses = np.zeros((3, 7), np.uint32)
    return pieces_of_outgoing(Outgoing(runs, np.array([0, 2, 3, 6]), addresses, (MEMORY,)))


EXPECTED = [TEXT[:10] + TEXT[50:55], TEXT[20:30], TEXT[90:] + TEXT[:2]]


def test_what_was_sent_is_put_together() -> None:
    pieces = scattered()
    assert [pieces.payload(i) for i in range(3)] == EXPECTED
    assert pieces.lengths().tolist() == [15, 10, 12]
    assert (pieces.begins() - MEMORY.ctypes.data).tolist() == [0, 20, 90]


@pytest.mark.parametrize("which", [[0], [1, 2], [2, 0], []])
def test_some_of_them_are_those(which: list[int]) -> None:
    some = scattered().of(np.array(which, np.int64))
    assert [some.payload(i) for i in range(len(which))] == [EXPECTED[i] for i in which]


def test_they_are_copied_each_to_its_place() -> None:
    target = np.full(60, 0xEE, np.uint8)
    scattered().copy_to(target, np.array([20, 1, 40]))
    expected = bytearray(b"\xee" * 60)
    for at, payload in zip((20, 1, 40), EXPECTED, strict=True):
        expected[at : at + len(payload)] = payload
    assert target.tobytes() == expected


def test_rows_of_a_batch_are_one_piece_each_and_are_seen_anew_each_time() -> None:
    rows, batch = BatchRows(), Batch(4)
    for payloads in ([b"one", b"", b"three"], [b"other"]):
        batch.clear()
        for payload in payloads:
            batch.append(payload, V4)
        pieces = rows.of(batch)
        assert pieces.lengths().tolist() == [len(payload) for payload in payloads]
        assert [pieces.payload(i) for i in range(len(payloads)) if payloads[i]] == [data for data in payloads if data]


def test_no_row_is_longer_than_a_row() -> None:
    batch = Batch(1)
    batch.append(b"x", V4)
    batch.length[0] = 9_000
    assert BatchRows().of(batch).lengths().tolist() == [ROW_BYTES]


def test_one_datagram_is_one_piece() -> None:
    assert pieces_of_bytes(TEXT).payload(0) == TEXT
