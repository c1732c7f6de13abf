"""The Linux transport: whole batches through recvmmsg and sendmmsg."""

import asyncio
import errno
import socket
from collections.abc import Callable

import pytest

from relay.addresses import pack_address
from relay.transport import base, batch_transport, libc
from relay.transport.batch_transport import MAX_RECEIVE_ERRORS, BatchTransport
from relay.transport.sockets import open_udp_socket
from tests.relay.transport.doubles import (
    HOSTS,
    LOOPS,
    RecordingReceiver,
    address_of,
    client_socket,
    outgoing_of,
    run_on,
    until,
)

pytestmark = pytest.mark.skipif(libc.find_mmsg_calls() is None, reason="needs recvmmsg and sendmmsg")
IP_RECVERR = 11


async def open_on(host: str | None, receiver: RecordingReceiver) -> BatchTransport:
    transport = await BatchTransport.open(open_udp_socket(host, 0), receiver)
    receiver.transport = transport
    return transport


def script(transport: BatchTransport, answers: list[int], which: str = "send") -> list[tuple[int, int]]:
    """Replace one call by a script of results; returns the list of (first header, count) it was called with."""
    asked: list[tuple[int, int]] = []
    start = transport._send_slots.header_pointer(0)

    def answer(fd: int, headers: int, count: int) -> int:
        asked.append(((headers - start) // libc.MMSGHDR.itemsize, count))
        return answers.pop(0) if answers else count

    calls = transport._calls
    scripted = {"recv": calls.recv, "send": calls.send} | {which: answer}
    transport._calls = libc.MmsgCalls(**scripted)
    return asked


def on_transport(body: Callable[[BatchTransport, RecordingReceiver], None]) -> None:
    """Run a plain function on an open transport of a stock loop."""

    async def main() -> None:
        receiver = RecordingReceiver()
        transport = await open_on("127.0.0.1", receiver)
        body(transport, receiver)
        transport.close()

    run_on("asyncio", main)


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("host", HOSTS)
def test_thousands_are_sent_in_chunks_and_none_is_lost(loop_name: str, host: str) -> None:
    async def main() -> None:
        transport = await open_on(None, RecordingReceiver())
        with client_socket(host) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            count = 2 * libc.MAX_CALL + 5
            transport.send(outgoing_of([(address_of(client), b"number %d" % n) for n in range(count)]))
            assert [client.recv(100) for _ in range(count)] == [b"number %d" % n for n in range(count)]
        assert transport.counters["datagrams_sent"] == count
        transport.close()

    run_on(loop_name, main)


def test_what_arrives_between_chunks_is_staged_and_handed_over_after_the_send() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = await open_on("127.0.0.1", receiver)
        with client_socket("127.0.0.1") as client:
            client.sendto(b"in between", transport.local_address)
            transport.send(outgoing_of([(address_of(client), b"x")] * (libc.MAX_CALL + 1)))
            assert transport._batch.count == 1
            assert receiver.batches == []
            await until(lambda: receiver.datagrams == [b"in between"])
        transport.close()

    run_on("asyncio", main)


def test_a_long_send_that_fills_the_batch_leaves_the_rest_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        receiver = RecordingReceiver(quick=False)
        transport = await open_on("127.0.0.1", receiver)
        with client_socket("127.0.0.1") as client:
            for number in range(10):
                client.sendto(b"%d" % number, transport.local_address)
            transport.send(outgoing_of([(address_of(client), b"x")] * (3 * libc.MAX_CALL)))
            assert transport._batch.count == 4
            await until(lambda: len(receiver.datagrams) == 10)
        assert [len(rows) for rows in receiver.batches] == [4, 4, 2]
        transport.close()

    monkeypatch.setattr(base, "BATCH_ROWS", 4)
    monkeypatch.setattr(batch_transport, "_EARLY_ROWS", 1)
    run_on("asyncio", main)


@pytest.mark.parametrize("loop_name", LOOPS)
def test_while_only_state_flows_the_socket_does_not_wake_the_loop(loop_name: str) -> None:
    async def main() -> None:
        receiver = RecordingReceiver(quick=False)
        transport = await open_on("127.0.0.1", receiver)
        with client_socket("127.0.0.1") as client:
            await asyncio.sleep(0.01)
            client.sendto(b"first", transport.local_address)
            await until(lambda: len(receiver.batches) == 1)
            receiver.next_beat = transport._clock() + 0.05
            for number in range(20):
                client.sendto(b"%d" % number, transport.local_address)
                await asyncio.sleep(0.001)
            assert len(receiver.batches) == 1
            transport.drain()  # the beat
            assert len(receiver.batches) == 2 and len(receiver.batches[1]) == 20
        transport.close()

    run_on(loop_name, main)


def test_a_full_send_buffer_drops_counts_and_goes_on() -> None:
    def body(transport: BatchTransport, receiver: RecordingReceiver) -> None:
        asked = script(transport, [3, -errno.EAGAIN, -errno.ENOBUFS, 1])
        transport.send(outgoing_of([(pack_address("127.0.0.1", 9), b"x")] * 10))
        assert asked == [(0, 10), (3, 7), (4, 6), (6, 4), (7, 3)]
        assert transport.counters["send_overflow"] == 1 + 2
        assert transport.counters["datagrams_sent"] == 3 + 1 + 3

    on_transport(body)


def test_a_buffer_that_stays_full_costs_few_calls() -> None:
    def body(transport: BatchTransport, receiver: RecordingReceiver) -> None:
        asked = script(transport, [-errno.EAGAIN] * 1000)
        transport.send(outgoing_of([(pack_address("127.0.0.1", 9), b"x")] * 1000))
        assert len(asked) == 10
        assert transport.counters["send_overflow"] == 1000

    on_transport(body)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENETUNREACH, errno.EINVAL])
def test_an_error_of_one_destination_skips_that_datagram_only(code: int) -> None:
    def body(transport: BatchTransport, receiver: RecordingReceiver) -> None:
        asked = script(transport, [2, -code, -errno.EINTR])
        transport.send(outgoing_of([(pack_address("127.0.0.1", 9), b"x")] * 5))
        assert asked == [(0, 5), (2, 3), (3, 2), (3, 2)]
        assert transport.counters["send_errors"] == 1
        assert transport.counters["datagrams_sent"] == 4

    on_transport(body)


def test_an_icmp_error_is_counted_and_reading_goes_on() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = await open_on("127.0.0.1", receiver)
        # Linux tells an unconnected socket of the ICMP answer only if asked to; Windows tells without.
        transport._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        with client_socket("127.0.0.1") as gone:
            vanished = address_of(gone)
        transport.send(outgoing_of([(vanished, b"anybody there?")]))
        await asyncio.sleep(0.02)
        with client_socket("127.0.0.1") as client:
            client.sendto(b"still here?", transport.local_address)
            await until(lambda: receiver.datagrams == [b"still here?"])
        assert transport.counters["receive_errors"] == 1
        transport.close()

    run_on("asyncio", main)


def test_errors_without_end_do_not_hold_the_loop() -> None:
    def body(transport: BatchTransport, receiver: RecordingReceiver) -> None:
        asked = script(transport, [-errno.ECONNREFUSED] * 1000, "recv")
        transport.drain()
        assert len(asked) == MAX_RECEIVE_ERRORS
        script(transport, [-errno.EINTR, -errno.EAGAIN], "recv")
        transport.drain()
        assert transport.counters["receive_errors"] == MAX_RECEIVE_ERRORS

    on_transport(body)


def test_what_the_kernel_dropped_is_counted() -> None:
    async def main() -> None:
        sock = open_udp_socket("127.0.0.1", 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        receiver = RecordingReceiver()
        transport = await BatchTransport.open(sock, receiver)
        with client_socket("127.0.0.1") as client:
            for _ in range(50):
                client.sendto(bytes(500), transport.local_address)
            await until(lambda: len(receiver.datagrams) > 0)
            transport.drain()
        assert transport.counters["receive_overflow"] + len(receiver.datagrams) == 50
        transport.close()

    run_on("asyncio", main)


def test_a_kernel_that_does_not_tell_its_fill_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    def body(transport: BatchTransport, receiver: RecordingReceiver) -> None:
        with client_socket("127.0.0.1") as client:
            client.sendto(b"x", transport.local_address)
            transport._stage()
        assert transport._fill == base_row_bytes
        transport.drain()

    base_row_bytes = batch_transport.ROW_BYTES
    monkeypatch.setattr(batch_transport, "_SO_MEMINFO", 0x7FFF)
    on_transport(body)


def test_open_says_where_the_calls_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with open_udp_socket("127.0.0.1", 0) as sock, pytest.raises(OSError, match="use the asyncio transport"):
            await BatchTransport.open(sock, RecordingReceiver())

    monkeypatch.setattr(libc, "find_mmsg_calls", lambda: None)
    run_on("asyncio", main)


def test_a_closed_transport_sends_and_reads_nothing() -> None:
    def body(transport: BatchTransport, receiver: RecordingReceiver) -> None:
        transport.close()
        transport.close()
        transport.send(outgoing_of([(pack_address("127.0.0.1", 9), b"x")]))
        transport.drain()
        assert transport.counters["datagrams_sent"] == 0

    on_transport(body)


def test_the_socket_is_watched_again_only_after_a_drain_that_found_nothing() -> None:
    """While events flow each drain finds something, and the timer of the next one is enough."""

    def body(transport: BatchTransport, receiver: RecordingReceiver) -> None:
        assert transport._has_reader
        with client_socket("127.0.0.1") as client:
            for number in range(3):
                client.sendto(bytes([number]), transport.local_address)
                transport.drain()
                assert len(receiver.datagrams) == number + 1
                assert not transport._has_reader and transport._timer is not None
        transport.drain()
        assert transport._has_reader and transport._timer is None

    on_transport(body)
