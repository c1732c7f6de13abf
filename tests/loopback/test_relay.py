"""A relay and its clients over real sockets: every transport, loop and address family."""

import asyncio
import socket

import pytest

from protocol.client import (
    ByeReason,
    Disconnected,
    HostChanged,
    Joined,
    JoinMode,
    Message,
    PlayerJoined,
    PlayerLeft,
    Refusal,
    Signal,
    StateChanged,
    Target,
)
from relay.client import JoinRefused, RelayClient
from relay.server import RelayServer
from tests.loopback.relays import (
    LOOPS,
    SECRET,
    TRANSPORTS,
    hear,
    hear_all,
    player,
    run,
    running_relay,
    until,
)
from tests.relay.transport.doubles import HOSTS

pytestmark = pytest.mark.slow
everywhere = pytest.mark.parametrize(
    ("transport", "loop_name", "host"), [(t, loop, host) for t in TRANSPORTS for loop in LOOPS for host in HOSTS]
)
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@everywhere
def test_a_room_lives_from_join_to_shutdown(transport: str, loop_name: str, host: str) -> None:
    async def main() -> None:
        async with running_relay(transport) as server, player(server, "Ada", host) as ada:
            assert server.transport.name == transport
            assert (await hear(ada, Joined)).code == "LOBBY"
            async with player(server, "Bo", host) as bo:
                await hear(ada, PlayerJoined, lambda event: event.name == "Bo")
                assert (await hear(bo, HostChanged)).player_id == ada.connection.player_id
                await exchange_states(ada, bo)
                await exchange_messages(ada, bo)
                await exchange_signals(ada, bo)
            left = await hear(ada, PlayerLeft)
            assert left.reason is ByeReason.LEFT
            assert server.engine.num_sessions == 1
            await server.stop()
            end = await hear(ada, Disconnected)
            assert end.reason is ByeReason.SHUTDOWN
            assert server.counters.total() == 0

    run(main, loop_name)


async def exchange_states(ada: RelayClient, bo: RelayClient) -> None:
    """Each publishes and sees the other's; a removal arrives too."""
    for client, other, state in ((ada, bo, b"ada is here"), (bo, ada, b"bo is there")):
        entity_id = client.connection.player_id
        client.publish(0, state)
        seen = await hear(other, StateChanged, lambda event, i=entity_id: i in [entry[0] for entry in event.changed])  # type: ignore[misc]
        assert (entity_id, state) in [entry[:2] for entry in seen.changed]
        assert other.connection.table[entity_id] == state
    ada.remove(0)
    await hear(bo, StateChanged, lambda event: ada.connection.player_id in event.removed)
    assert ada.connection.player_id not in bo.connection.table


async def exchange_messages(ada: RelayClient, bo: RelayClient) -> None:
    """Both talk at once, one of them at length; both hear the same in the same order."""
    long = bytes(range(256)) * 40
    for number in range(20):
        ada.send_message(b"ada %d" % number)
        bo.send_message(b"bo %d" % number, channel=number % 3)
    ada.send_message(long, kind=7)
    heard = []
    for client in (ada, bo):
        messages = [await hear(client, Message) for _ in range(41)]
        heard.append([(message.index, message.sender, message.payload) for message in messages])
    assert heard[0] == heard[1]
    of_ada = [payload for _, sender, payload in heard[0] if sender == ada.connection.player_id]
    assert of_ada == [b"ada %d" % number for number in range(20)] + [long]


async def exchange_signals(ada: RelayClient, bo: RelayClient) -> None:
    """A signal to one arrives, with its sender, and after the message that was sent before it."""
    ada.send_message(b"look", target=Target.ONE, players=[bo.connection.player_id])
    ada.send_signal(b"there!", kind=3, channel=2, target=Target.ONE, players=[bo.connection.player_id])
    assert (await hear(bo, Message)).payload == b"look"
    signal = await hear(bo, Signal)
    assert (signal.sender, signal.kind, signal.channel, signal.payload) == (ada.connection.player_id, 3, 2, b"there!")


@each_transport
def test_a_client_that_vanished_does_not_stop_the_others(transport: str) -> None:
    async def main() -> None:
        async with running_relay(transport, timeout_s=2.0, grace_s=0.0) as server, player(server, "Ada") as ada:
            bo = player(server, "Bo")
            await bo.connect()
            bo._close_links()  # as if killed: no BYE, and the relay's datagrams are answered by ICMP from now on
            ada.publish(0, b"still here")
            left = await hear(ada, PlayerLeft)
            assert left.reason is ByeReason.TIMEOUT
            ada.send_message(b"and on we go")
            assert (await hear(ada, Message)).payload == b"and on we go"

    run(main)


@each_transport
def test_an_idle_relay_answers_a_join_without_waiting_for_a_tick(transport: str) -> None:
    async def main() -> None:
        async with running_relay(transport, tick_rate=1) as server:
            began = asyncio.get_running_loop().time()
            async with player(server, "Ada"):
                assert asyncio.get_running_loop().time() - began < 0.5

    run(main)


@each_transport
def test_messages_do_not_wait_for_slow_ticks(transport: str) -> None:
    async def main() -> None:
        async with (
            running_relay(transport, tick_rate=1) as server,
            player(server, "Ada") as ada,
            player(server, "Bo") as bo,
        ):
            began = asyncio.get_running_loop().time()
            ada.send_message(b"quick")
            await hear(bo, Message)
            bo.send_message(b"answer")
            await hear(ada, Message, lambda message: message.payload == b"answer")
            assert asyncio.get_running_loop().time() - began < 0.5

    run(main)


@each_transport
def test_a_restarted_relay_with_the_same_secret_tells_clients_at_once(transport: str) -> None:
    async def main() -> None:
        async with running_relay(transport) as first:
            ada = player(first, "Ada")
            await ada.connect()
            port = first.address[1]
            first.transport.close()  # as if killed: no BYE
            await first.transport.wait_closed()
            second = RelayServer(first.config, secret=SECRET, port=port, transport=transport)
            await second.start()
            assert (await hear(ada, Disconnected)).reason is ByeReason.RESET
            await ada.close()
            await second.stop()

    run(main)


def test_refusals_are_exceptions_with_reason_and_text() -> None:
    async def main() -> None:
        async with running_relay() as server:
            with pytest.raises(JoinRefused) as caught:
                await player(server, "Ada", code="NOWHERE", mode=JoinMode.JOIN).connect()
            assert caught.value.reason is Refusal.NO_SUCH_ROOM
            assert "no such room" in str(caught.value)
            async with player(server, "Ada", password="key"):
                with pytest.raises(JoinRefused) as caught:
                    await player(server, "Bo", password="wrong").connect()
                assert caught.value.reason is Refusal.WRONG_PASSWORD
                async with player(server, "Cleo", password="key"):
                    assert server.engine.num_sessions == 2

    run(main)


def test_a_room_without_a_code_gets_one() -> None:
    async def main() -> None:
        async with running_relay() as server, player(server, "Ada", code="") as ada:
            assert len(ada.connection.code) == 6
            async with player(server, "Bo", code=ada.connection.code.lower(), mode=JoinMode.JOIN) as bo:
                assert bo.connection.code == ada.connection.code

    run(main)


@each_transport
def test_garbage_does_not_hurt(transport: str) -> None:
    async def main() -> None:
        async with running_relay(transport) as server, player(server, "Ada") as ada:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for size in (0, 1, 2, 25, 300, 1200, 1201, 5000):
                    for first in (0, 1, 3, 16, 255):
                        stranger.sendto(bytes([first]) * size, ("127.0.0.1", server.address[1]))
            await until(lambda: server.engine.stats.dropped.total() >= 35)
            ada.send_message(b"fine")
            await hear(ada, Message)
            assert server.counters.total() == 0

    run(main)


def test_everybody_hears_everything_to_the_end_when_the_room_is_left() -> None:
    async def main() -> None:
        async with running_relay() as server, player(server, "Ada") as ada:
            async with player(server, "Bo") as bo:
                for number in range(50):
                    bo.send_message(b"%d" % number)
            messages = [await hear(ada, Message) for _ in range(50)]
            assert [message.payload for message in messages] == [b"%d" % number for number in range(50)]
            assert isinstance((await hear_all(bo))[-1], Disconnected)

    run(main)
