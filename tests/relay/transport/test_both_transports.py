"""What every transport does alike, on every loop and address family."""

import asyncio

import pytest

from relay.addresses import pack_address
from relay.transport.base import Transport
from relay.transport.libc import find_mmsg_calls
from relay.transport.selection import open_transport
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

TRANSPORTS = ["asyncio", "batch"] if find_mmsg_calls() is not None else ["asyncio"]
pytestmark = [pytest.mark.parametrize("name", TRANSPORTS), pytest.mark.parametrize("loop_name", LOOPS)]


async def open_on(name: str, host: str | None, receiver: RecordingReceiver) -> Transport:
    transport = await open_transport(name, open_udp_socket(host, 0), receiver)
    receiver.transport = transport
    return transport


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("bound", ["alone", "all"])
def test_datagrams_arrive_with_their_address_and_answers_go_back(
    name: str, loop_name: str, host: str, bound: str
) -> None:
    async def main() -> None:
        receiver = RecordingReceiver(echo=True)
        transport = await open_on(name, host if bound == "alone" else None, receiver)
        port = transport.local_address[1]
        with client_socket(host) as client:
            for number, payload in enumerate((b"hello" * 3, b"x", bytes(range(200)) * 6)):
                client.sendto(payload, (host, port))
                await until(lambda number=number: len(receiver.datagrams) > number)  # type: ignore[misc]
                answer, source = client.recvfrom(2000)
                assert (answer, source[:2]) == (payload, (host, port))
                assert receiver.batches[-1] == [(address_of(client), payload)]
        assert transport.counters["datagrams_sent"] == 3
        transport.close()

    run_on(loop_name, main)


def test_a_datagram_that_is_too_long_is_seen_to_be(name: str, loop_name: str) -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = await open_on(name, "127.0.0.1", receiver)
        with client_socket("127.0.0.1") as client:
            for size in (1200, 1201, 9000):
                client.sendto(bytes(size), transport.local_address)
            await until(lambda: len(receiver.lengths) == 3)
        assert [length > 1200 for length in receiver.lengths] == [False, True, True]
        transport.close()

    run_on(loop_name, main)


def test_a_destination_that_cannot_be_reached_is_counted_and_the_rest_is_sent(name: str, loop_name: str) -> None:
    async def main() -> None:
        transport = await open_on(name, "127.0.0.1", RecordingReceiver())
        with client_socket("127.0.0.1") as client:
            good = address_of(client)
            bad = pack_address("127.0.0.1", 0)  # nobody can be sent to at port 0
            transport.send(outgoing_of([(good, b"one"), (bad, b"two"), (good, b"three")]))
            await asyncio.sleep(0.01)
            assert [client.recv(100), client.recv(100)] == [b"one", b"three"]
        assert transport.counters["send_errors"] == 1
        assert transport.counters["receive_errors"] == 0
        assert transport.counters["datagrams_sent"] == 2
        transport.close()
        transport.send(outgoing_of([(good, b"after the end")]))
        assert transport.counters["datagrams_sent"] == 2

    run_on(loop_name, main)


def test_the_port_is_free_once_it_is_closed(name: str, loop_name: str) -> None:
    async def main() -> None:
        transport = await open_on(name, None, RecordingReceiver())
        port = transport.local_address[1]
        transport.close()
        transport.close()
        await transport.wait_closed()
        with open_udp_socket(None, port) as again:
            assert again.getsockname()[1] == port

    run_on(loop_name, main)
