"""The transport on the loop's own datagram endpoint."""

import asyncio
from typing import Any

import pytest

from relay.addresses import pack_address
from relay.transport import asyncio_transport, base
from relay.transport.asyncio_transport import MAX_WRITE_BUFFER_BYTES, AsyncioTransport
from relay.transport.sockets import open_udp_socket
from tests.relay.transport.doubles import (
    LOOPS,
    RecordingReceiver,
    client_socket,
    outgoing_of,
    run_on,
    until,
)


async def open_on(host: str | None, receiver: RecordingReceiver) -> AsyncioTransport:
    transport = await AsyncioTransport.open(open_udp_socket(host, 0), receiver)
    receiver.transport = transport
    return transport


@pytest.mark.parametrize("loop_name", LOOPS)
def test_what_arrives_together_is_handed_over_together(loop_name: str) -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = await open_on("127.0.0.1", receiver)
        with client_socket("127.0.0.1") as client:
            for number in range(50):
                client.sendto(b"%d" % number, transport.local_address)
            await until(lambda: len(receiver.datagrams) == 50)
        assert receiver.datagrams == [b"%d" % number for number in range(50)]
        assert len(receiver.batches) <= 3
        transport.close()

    run_on(loop_name, main)


def test_a_full_batch_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        receiver = RecordingReceiver(quick=False)
        transport = await open_on("127.0.0.1", receiver)
        for _ in range(6):
            transport.datagram_received(b"x", ("192.0.2.1", 7))
        assert transport.counters["receive_overflow"] == 2
        transport.drain()
        assert len(receiver.datagrams) == 4
        transport.close()
        transport.datagram_received(b"late", ("192.0.2.1", 7))
        assert transport._batch.count == 0

    monkeypatch.setattr(base, "BATCH_ROWS", 4)
    run_on("asyncio", main)


def test_a_quarter_full_batch_is_handed_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        receiver = RecordingReceiver(quick=False)
        transport = await open_on("127.0.0.1", receiver)
        transport._moderation.on_drained(transport._clock() + 1.0, 1)
        receiver.next_beat = transport._clock() + 60.0
        for _ in range(3):
            transport.datagram_received(b"x", ("192.0.2.1", 7))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(receiver.datagrams) == 3
        transport.close()

    monkeypatch.setattr(asyncio_transport, "_EARLY_ROWS", 3)
    run_on("asyncio", main)


@pytest.mark.parametrize("loop_name", LOOPS)
def test_a_reset_by_a_client_that_vanished_is_counted_and_reading_goes_on(loop_name: str) -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = await open_on("127.0.0.1", receiver)
        transport.error_received(ConnectionResetError(10054, "the client has gone"))
        assert transport.counters["receive_errors"] == 1
        with client_socket("127.0.0.1") as client:
            client.sendto(b"still here?", transport.local_address)
            await until(lambda: receiver.datagrams == [b"still here?"])
        transport.close()

    run_on(loop_name, main)


def test_a_full_write_buffer_drops_and_counts() -> None:
    class FullEndpoint:
        """The loop's transport while the socket takes nothing."""

        held = 0

        def is_closing(self) -> bool:
            return False

        def get_write_buffer_size(self) -> int:
            return self.held

        def sendto(self, data: bytes, addr: Any) -> None:
            self.held += len(data)

    async def main() -> None:
        transport = await open_on("127.0.0.1", RecordingReceiver())
        real, transport._endpoint = transport._endpoint, FullEndpoint()  # type: ignore[assignment]
        datagram = (pack_address("127.0.0.1", 9), bytes(1000))
        fits = MAX_WRITE_BUFFER_BYTES // 1000 + 1
        transport.send(outgoing_of([datagram] * (fits + 2)))
        assert transport.counters["send_overflow"] == 2
        assert transport.counters["datagrams_sent"] == fits
        real.close()

    run_on("asyncio", main)


def test_link_local_addresses_keep_their_scope() -> None:
    packed = asyncio_transport._packed(("fe80::1%3", 7, 0, 3))
    assert asyncio_transport._tuple_maker(10)(packed) == ("fe80::1", 7, 0, 3)


def test_closing_does_not_wait_for_ever_for_a_full_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        transport = await open_on("127.0.0.1", RecordingReceiver())
        monkeypatch.setattr(transport._endpoint, "close", lambda: None)  # as if the buffer were never sent
        transport.close()
        await transport.wait_closed()
        await asyncio.sleep(0)
        assert transport._is_gone.is_set()

    monkeypatch.setattr(asyncio_transport, "CLOSE_WITHIN_S", 0.01)
    run_on("asyncio", main)
