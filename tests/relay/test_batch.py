"""The engine's two ends: what a batch keeps of a datagram, and what an outgoing one is made of."""

import numpy as np
import pytest

from relay.addresses import ADDRESS_BYTES, pack_address
from relay.batch import ROW_BYTES, Batch, Outgoing

HERE = pack_address("192.0.2.1", 1)
THERE = pack_address("2001:db8::1", 2, 3)


def outgoing_of(memory: np.ndarray, runs: list[list[tuple[int, int]]], addresses: list[bytes]) -> Outgoing:
    """Build an Outgoing whose datagrams are runs of (offset, length) in `memory`."""
    base = memory.ctypes.data
    pieces = np.array([(base + at, length) for run in runs for at, length in run], np.uint64).reshape(-1, 2)
    first = np.cumsum([0] + [len(run) for run in runs]).astype(np.int64)
    address = np.frombuffer(b"".join(addresses), np.uint32).reshape(-1, 7)
    return Outgoing(pieces, first, address, (memory,))


def test_a_batch_keeps_payload_length_and_address_of_each_row() -> None:
    batch = Batch(3)
    batch.append(b"one", HERE)
    batch.append(b"", THERE)
    batch.append(bytes(range(200)) * 6, HERE)
    assert (batch.count, batch.capacity) == (3, 3)
    assert batch.length.tolist() == [3, 0, 1200]
    assert batch.data[0, :3].tobytes() == b"one"
    assert batch.data[2, :1200].tobytes() == bytes(range(200)) * 6
    assert [row.tobytes() for row in batch.address] == [HERE, THERE, HERE]


@pytest.mark.parametrize("size", [1200, 1201, 1202, 65_507])
def test_a_datagram_that_is_too_long_is_seen_to_be_and_stays_in_its_row(size: int) -> None:
    batch = Batch(2)
    batch.append(b"x" * size, HERE)
    assert batch.length[0] == min(size, 1201) < ROW_BYTES
    assert not batch.data[1].any()


def test_a_batch_is_used_again_row_by_row() -> None:
    batch = Batch(1)
    batch.append(b"a long one", HERE)
    batch.clear()
    assert batch.count == 0
    batch.append(b"short", THERE)
    assert batch.count == 1
    assert batch.data[0, : batch.length[0]].tobytes() == b"short"
    assert batch.address[0].tobytes() == THERE


def test_a_row_lies_apart_from_the_next_and_begins_where_a_cache_line_does() -> None:
    assert ROW_BYTES % 64 == 0 and ROW_BYTES > 1201
    assert Batch(2).data.strides == (ROW_BYTES, 1)


def test_a_datagram_to_send_is_the_run_of_its_pieces() -> None:
    memory = np.frombuffer(b"headAheadBshared", np.uint8).copy()
    outgoing = outgoing_of(memory, [[(0, 5), (10, 6)], [(5, 5)], [(5, 5), (10, 2), (14, 2)]], [HERE, THERE, HERE])
    assert len(outgoing) == 3
    assert outgoing.num_bytes() == 11 + 5 + 9
    assert list(outgoing.datagrams()) == [(HERE, b"headAshared"), (THERE, b"headB"), (HERE, b"headBshed")]


def test_an_outgoing_without_datagrams_yields_none() -> None:
    outgoing = outgoing_of(np.zeros(1, np.uint8), [], [])
    assert len(outgoing) == outgoing.num_bytes() == 0
    assert list(outgoing.datagrams()) == []


def test_addresses_are_as_long_as_a_kernel_takes_them() -> None:
    outgoing = outgoing_of(np.zeros(4, np.uint8), [[(0, 4)]] * 2, [HERE, THERE])
    assert outgoing.address.nbytes == 2 * ADDRESS_BYTES
