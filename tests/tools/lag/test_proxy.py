"""The proxy over real sockets, before an echo server and before a relay."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from protocol.client import Message
from relay.client import RelayClient
from tests.loopback.relays import LOOPS, PATIENCE_S, hear, run, running_relay, until
from tests.relay.transport.doubles import HOSTS
from tests.tools.lag.peers import Peer, client_of, closed_port, echo_server
from tools.lag import proxy as module
from tools.lag.conditions import Conditions, Path, parse_conditions
from tools.lag.proxy import IDLE_S, LagProxy

pytestmark = pytest.mark.slow
each_loop = pytest.mark.parametrize("loop_name", LOOPS)
NUMBERS = [b"%d" % number for number in range(20)]


def with_echo(
    main: Callable[[Peer, LagProxy, Peer], Coroutine[Any, Any, None]],
    text: str = "none",
    loop_name: str = "stock",
    **options: Any,
) -> None:
    """Run a test with an echo server, a proxy before it, and a client of that."""

    async def arranged() -> None:
        async with (
            echo_server() as server,
            LagProxy(("127.0.0.1", server.port), parse_conditions(text), seed=1, **options) as proxy,
            client_of(proxy.address) as client,
        ):
            await main(server, proxy, client)

    run(arranged, loop_name)


# --- forwarding


@each_loop
@pytest.mark.parametrize("host", HOSTS)
def test_datagrams_go_there_and_back_unchanged_and_in_order(loop_name: str, host: str) -> None:
    async def main() -> None:
        async with (
            echo_server(host) as server,
            LagProxy((host, server.port), Path(), listen=(host, 0)) as proxy,
            client_of(proxy.address) as client,
        ):
            wanted = [*NUMBERS, bytes(1200), bytes(range(256)) * 30]
            client.send(*wanted)
            assert await client.hears(len(wanted)) == wanted
            assert server.datagrams == wanted
            assert proxy.address[0] == host and proxy.upstream == (host, server.port)
            wanted_counts = dict.fromkeys(("up_received", "up_sent", "down_received", "down_sent"), len(wanted))
            assert {name: num for name, num in proxy.counters.items() if num} == wanted_counts

    run(main, loop_name)


def test_the_server_sees_one_address_per_client_and_clients_hear_only_their_own() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        async with client_of(proxy.address) as other:
            client.send(b"a")
            other.send(b"b")
            client.send(b"c")
            assert sorted(await client.hears(2)) == [b"a", b"c"] and await other.hears(1) == [b"b"]
            assert len(server.ports) == 2 and proxy.address[1] not in server.ports
            assert [address[1] for address in proxy.clients] == [client.port, other.port]

    with_echo(main)


def test_the_start_and_end_are_clean() -> None:
    async def main() -> None:
        async with echo_server() as server:
            proxy = LagProxy(("127.0.0.1", server.port), Path())
            with pytest.raises(RuntimeError, match="not listening"):
                _ = proxy.address
            await proxy.start()
            host, port = proxy.address
            await proxy.close()
            await proxy.close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                again.bind((host, port))

    run(main)


def test_closing_while_datagrams_are_under_way_drops_them() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        client.send(*NUMBERS)
        await until(lambda: proxy.counters["up_received"] == len(NUMBERS))
        await proxy.close()
        await asyncio.sleep(0.4)
        assert server.received == []

    with_echo(main, "latency=300")


def test_a_wrong_argument_is_named() -> None:
    for options, words in [
        (dict(max_clients=0), "max_clients is 0; permitted: 1 or more"),
        (dict(idle_s=0.0), "idle_s is 0.0; permitted: above 0"),
        (dict(rebind_every_s=-1.0), "rebind_every_s is -1.0; permitted: above 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            LagProxy(("127.0.0.1", 1), Path(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("listen_host", ["127.0.0.1", "0.0.0.0"])
def test_a_proxy_before_itself_is_refused(listen_host: str) -> None:
    # It would send every datagram to itself, as from another client, for ever.
    async def main() -> None:
        port = closed_port()
        with pytest.raises(ValueError, match="another address than our own"):
            await LagProxy(("127.0.0.1", port), Path(), listen=(listen_host, port)).start()

    run(main)


def test_a_port_in_use_and_an_unknown_name_raise() -> None:
    async def main() -> None:
        async with echo_server() as server:
            with pytest.raises(OSError):
                await LagProxy(("127.0.0.1", 9), Path(), listen=("127.0.0.1", server.port)).start()
        with pytest.raises(socket.gaierror):
            await LagProxy(("no-such-host.invalid", 9), Path()).start()

    run(main)


# --- conditions


def test_what_is_lost_on_the_way_up_is_never_seen() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        client.send(*NUMBERS)
        await until(lambda: proxy.up["lost"] == len(NUMBERS))
        proxy.set_path(Path())
        client.send(b"after")
        assert await client.hears(1) == [b"after"]
        assert server.datagrams == [b"after"] and proxy.down["lost"] == 0

    with_echo(main, "up.loss=100")


def test_what_is_lost_on_the_way_down_was_seen_by_the_server() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        client.send(*NUMBERS)
        await until(lambda: proxy.down["lost"] == len(NUMBERS))
        assert server.datagrams == NUMBERS and client.received == [] and proxy.up["lost"] == 0

    with_echo(main, "down.loss=100")


@each_loop
def test_latency_counts_in_both_directions(loop_name: str) -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        began = time.monotonic()
        client.send(b"ping")
        await client.hears(1)
        # No more than the milliseconds that timers may be early; late without bound on a busy machine.
        assert time.monotonic() - began > 0.140

    with_echo(main, "up.latency=50,down.latency=100", loop_name)


def test_jitter_keeps_the_order_and_duplicates_are_twice() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        client.send(*NUMBERS)
        heard = await client.hears(2 * len(NUMBERS))
        assert heard == [data for data in NUMBERS for _ in range(2)]

    with_echo(main, "jitter=5,up.duplicate=100")


def test_reordering_reorders() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        for data in NUMBERS * 2:
            client.send(data)
            await asyncio.sleep(0.002)
        heard = await client.hears(2 * len(NUMBERS))
        assert heard != NUMBERS * 2 and sorted(heard) == sorted(NUMBERS * 2)
        assert 0 < proxy.up["reordered"] < 2 * len(NUMBERS) and proxy.down["reordered"] == 0

    with_echo(main, "up.reorder=30")


def test_the_queue_is_bounded_and_what_finds_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED", 5)

    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        client.send(*NUMBERS[:7])
        await until(lambda: proxy.up["queue_full"] == 2)
        assert proxy.counters["up_received"] == 7 and server.received == []

    with_echo(main, "up.latency=10000")


# --- clients come, go and change


@each_loop
def test_a_rebind_changes_the_port_that_the_server_sees_and_traffic_goes_on(loop_name: str) -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        client.send(b"before")
        await client.hears(1)
        new_port = await proxy.rebind(proxy.clients[0])
        client.send(b"after")
        assert await client.hears(2) == [b"before", b"after"]
        assert len(server.ports) == 2 and server.ports[1] == new_port
        # What the server still sends to the old port is lost, as at a NAT that has forgotten it.
        server.endpoint.sendto(b"old", ("127.0.0.1", server.ports[0]))
        server.endpoint.sendto(b"new", ("127.0.0.1", new_port))
        assert (await client.hears(3))[2:] == [b"new"]
        assert proxy.counters["rebinds"] == 1

    with_echo(main, loop_name=loop_name)


def test_rebinding_what_is_no_client_is_refused() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        with pytest.raises(ValueError, match="permitted: one of 0 in clients"):
            await proxy.rebind(("127.0.0.1", 9))

    with_echo(main)


def test_every_client_gets_a_new_port_every_so_often() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        async with client_of(proxy.address) as other, asyncio.timeout(PATIENCE_S):
            while len(server.ports) < 8:
                client.send(b"a")
                other.send(b"b")
                await asyncio.sleep(0.01)
            assert set(client.datagrams) == {b"a"} and set(other.datagrams) == {b"b"}
        assert proxy.counters["rebinds"] >= 6

    with_echo(main, rebind_every_s=0.05)


def test_beyond_the_cap_newcomers_get_nothing_until_somebody_was_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HOUSEKEEPING_S", 0.01)
    now = 0.0

    async def main(server: Peer, proxy: LagProxy, first: Peer) -> None:
        nonlocal now
        first.send(b"first")
        await first.hears(1)
        async with client_of(proxy.address) as second, client_of(proxy.address) as third:
            second.send(b"second")
            await second.hears(1)
            third.send(b"third", b"third")
            await until(lambda: proxy.counters["refused"] == 2)
            assert len(proxy.clients) == 2 and third.received == []
            now = IDLE_S - 1.0
            second.send(b"second")
            await second.hears(2)
            now = IDLE_S + 1.0
            await until(lambda: proxy.counters["forgotten"] == 1)
            third.send(b"again")
            assert await third.hears(1) == [b"again"]
            assert [address[1] for address in proxy.clients] == [second.port, third.port]

    with_echo(main, max_clients=2, clock=lambda: now)


def test_what_is_under_way_to_a_client_that_was_forgotten_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HOUSEKEEPING_S", 0.01)
    now = 0.0

    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        nonlocal now
        client.send(b"late")
        await until(lambda: proxy.counters["down_received"] == 1)
        now = 6.0  # idle, but nothing is due
        await until(lambda: proxy.clients == [])
        now = 9.0
        async with client_of(proxy.address) as other:
            other.send(b"next")  # whatever comes makes it look for what is due
            await until(lambda: proxy.counters["gone"] == 1)
        assert client.received == [] and proxy.counters["down_sent"] == 0

    with_echo(main, "down.latency=8000", idle_s=5.0, clock=lambda: now)


def test_without_a_socket_to_be_had_the_next_datagram_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        with monkeypatch.context() as patch:

            def refuse(*_: Any) -> None:
                raise OSError("too many open files")

            patch.setattr(module, "set_buffers", refuse)
            client.send(b"lost")
            await until(lambda: proxy.counters["upstream_failed"] == 1)
            assert proxy.clients == []
        client.send(b"tried again")
        assert await client.hears(1) == [b"tried again"]

    with_echo(main)


# --- trouble


def test_tampering_comes_first_and_knows_the_direction() -> None:
    seen: list[tuple[bytes, bool]] = []

    def tamper(data: bytes, is_upward: bool) -> list[bytes]:
        seen.append((data, is_upward))
        if data == b"swallow":
            return []
        return [data, data + b"!"] if is_upward else [data.upper()]

    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        client.send(b"swallow", b"hey")
        assert await client.hears(2) == [b"HEY", b"HEY!"]
        assert server.datagrams == [b"hey", b"hey!"]
        assert seen == [(b"swallow", True), (b"hey", True), (b"hey", False), (b"hey!", False)]

    with_echo(main, tamper=tamper)


@each_loop
def test_an_upstream_that_is_not_there_does_not_end_it(loop_name: str) -> None:
    async def main() -> None:
        port = closed_port()
        async with (
            asyncio.timeout(PATIENCE_S),
            LagProxy(("127.0.0.1", port), Path()) as proxy,
            client_of(proxy.address) as client,
        ):
            while proxy.counters["icmp_errors"] < 3:
                client.send(b"anybody?")
                await asyncio.sleep(0.01)
            async with echo_server(port=port) as server:
                client.send(b"now")
                assert b"now" in await client.hears(1)
                assert server.datagrams[0] == b"now"

    run(main, loop_name)


def test_reading_goes_on_where_the_loop_stops_at_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Windows: the Proactor loop reads no more after an ICMP answer, see resume_reading.
    resumed: list[Any] = []
    monkeypatch.setattr(module, "resume_reading", lambda endpoint, loop: resumed.append(loop))

    async def main() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            LagProxy(("127.0.0.1", closed_port()), Path()) as proxy,
            client_of(proxy.address) as client,
        ):
            while proxy.counters["icmp_errors"] < 2:
                client.send(b"anybody?")
                await asyncio.sleep(0.01)
            assert resumed and set(resumed) == {asyncio.get_running_loop()}

    run(main)


def test_a_client_that_has_gone_does_not_hurt_the_others() -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        async with client_of(proxy.address) as leaver:
            leaver.send(*NUMBERS)
            await until(lambda: proxy.counters["up_received"] == len(NUMBERS))
        client.send(b"still here")
        assert await client.hears(1) == [b"still here"]

    with_echo(main, "down.latency=50")


@pytest.mark.parametrize("size_bytes", [0, 1, 9000, 65_507])
def test_sizes_of_every_kind_do_not_hurt(size_bytes: int) -> None:
    async def main(server: Peer, proxy: LagProxy, client: Peer) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(size_bytes), proxy.address)
        client.send(b"after")
        assert await client.hears(1) == [b"after"]

    with_echo(main)


# --- before a relay


@each_loop
def test_players_stay_joined_and_hear_each_other_through_loss_and_rebinding(loop_name: str) -> None:
    conditions = Conditions(latency_ms=5, jitter_ms=3, loss_percent=10, burst=2, duplicate_percent=3, reorder_percent=3)

    async def main() -> None:
        async with (
            running_relay("asyncio") as server,
            LagProxy(server.address, Path(conditions, conditions), seed=7, rebind_every_s=0.3) as proxy,
            RelayClient(*proxy.address, name="Ada", code="LOBBY") as ada,
            RelayClient(*proxy.address, name="Bo", code="LOBBY") as bo,
        ):
            payloads = [b"word %d" % number for number in range(30)]
            for payload in payloads:
                ada.send_message(payload)
                bo.publish(0, payload)
                await asyncio.sleep(0.05)
            assert [(await hear(bo, Message)).payload for _ in payloads] == payloads
            await until(lambda: ada.connection.table.get(bo.connection.player_id) == payloads[-1])
            assert ada.is_joined and bo.is_joined and server.engine.num_sessions == 2
            assert proxy.counters["rebinds"] >= 4
            assert proxy.up["lost"] > 0 and proxy.down["lost"] > 0

    run(main, loop_name)
