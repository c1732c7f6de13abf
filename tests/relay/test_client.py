"""The asyncio client: joining, leaving, waiting, and what happens when nobody answers."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from protocol.client import (
    ByeReason,
    ClientConnection,
    ClientState,
    ConnectionLost,
    Disconnected,
    EntityOwnerChanged,
    HostChanged,
    Joined,
    Message,
    PlayerJoined,
    PropertyChanged,
    RequestRefusal,
    RequestRefused,
    Resumed,
    ResumeToken,
    RoomLocked,
    StateChanged,
)
from relay import client as client_module
from relay import eventqueue
from relay.client import ConnectTimeout, JoinMode, JoinRefused, RelayClient
from relay.server import RelayServer
from relay.transport.link import Link
from tests.loopback.relays import hear, player, run, running_relay, until
from tests.relay.transport.doubles import client_socket


def with_two_players(body: Callable[[RelayServer, RelayClient, RelayClient], Coroutine[Any, Any, None]]) -> None:
    """Run `body` with a relay and two players in one room."""

    async def main() -> None:
        async with running_relay() as server, player(server, "Ada") as ada, player(server, "Bo") as bo:
            await body(server, ada, bo)

    run(main)


def test_wrong_arguments_are_told_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="name is ''"):
        RelayClient(name="")
    with pytest.raises(ValueError, match="code is"):
        RelayClient(name="Ada", code="no spaces")
    with pytest.raises(ValueError, match="code is ''"):
        RelayClient(name="Ada", mode=JoinMode.JOIN)


def test_nothing_can_be_done_before_joining() -> None:
    client = RelayClient(name="Ada")
    assert not client.is_joined
    with pytest.raises(RuntimeError, match="not connected"):
        client.publish(0, b"x")
    with pytest.raises(RuntimeError, match="not connected"):
        client.send_message(b"x")


def test_nobody_there_is_told_with_what_to_check() -> None:
    async def main() -> None:
        with client_socket("127.0.0.1") as nobody:
            port = nobody.getsockname()[1]
        client = RelayClient("127.0.0.1", port, name="Ada", deadline_s=0.3)
        began = time.monotonic()
        with pytest.raises(ConnectTimeout, match=f"UDP port {port}: .*relay running.*firewall"):
            await client.connect()
        assert 0.25 < time.monotonic() - began < 2.0
        # The port's ICMP answer is counted; the relay might have come up meanwhile, so it is no reason to give up.
        assert client.num_socket_errors >= 1
        assert not client.is_joined
        await client.close()

    run(main)


def test_an_unknown_name_raises() -> None:
    async def main() -> None:
        with pytest.raises(OSError):
            await RelayClient("no-such-host.invalid", name="Ada").connect()

    run(main)


def test_no_way_to_any_address_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_way(on_datagram: Any, on_error: Any, family: int, address: Any) -> None:
        raise OSError(101, "network is unreachable")

    async def main() -> None:
        with pytest.raises(OSError, match="unreachable"):
            await RelayClient("127.0.0.1", name="Ada").connect()

    monkeypatch.setattr(client_module.Link, "open", no_way)
    run(main)


def test_a_host_with_several_addresses_is_asked_on_all_until_one_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with running_relay(host="127.0.0.1") as server:
            port = server.address[1]
            real = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_DGRAM)
            silent = socket.getaddrinfo("::1", port, type=socket.SOCK_DGRAM)

            async def both(*_: Any, **__: Any) -> Any:
                return silent + real

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
            client = RelayClient("both", port, name="Ada")
            await client.connect()
            assert len(client._links) == 1
            assert client._links[0]._endpoint.get_extra_info("socket").family == socket.AF_INET
            await client.close()

    run(main)


def test_a_client_joins_once() -> None:
    async def main() -> None:
        async with running_relay() as server:
            client = player(server, "Ada")
            await client.connect()
            with pytest.raises(RuntimeError, match="make a new one"):
                await client.connect()
            await client.close()
            await client.close()
            assert not client.is_joined

    run(main)


def test_a_refused_client_has_no_socket_left() -> None:
    async def main() -> None:
        async with running_relay() as server:
            client = player(server, "Ada", code="NOWHERE", mode=JoinMode.JOIN)
            with pytest.raises(JoinRefused):
                await client.connect()
            assert client._links == []

    run(main)


def test_a_refusal_of_a_later_revision_has_its_number() -> None:
    assert str(JoinRefused(99, "come back later")) == "reason 99: come back later"
    assert JoinRefused(99, "").reason == 99


def test_a_session_that_ends_while_joining_is_told() -> None:
    client = RelayClient(name="Ada")
    client._last_event = Disconnected(7, "gone")
    with pytest.raises(ConnectTimeout, match="while we joined"):
        client._raise_failure()


def test_a_room_of_which_not_all_is_told_is_given_up_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that lets somebody in and then tells nothing kept `connect` waiting for good."""

    async def main() -> None:
        async with running_relay() as server:
            client = player(server, "Ada", deadline_s=0.3)
            monkeypatch.setattr(ClientConnection, "is_whole", property(lambda self: False))
            began = time.monotonic()
            with pytest.raises(ConnectTimeout, match=r"UDP port \d+: .*let us in.*all of the room within 0.3 s"):
                await client.connect()
            assert 0.25 < time.monotonic() - began < 2.0
            assert not client._links and not client.is_joined
            await until(lambda: server.engine.num_sessions == 0)

    run(main)


def test_iteration_begins_with_what_came_before_joined_and_ends_after_disconnected() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        await bo.close()
        events = [event async for event in bo]
        assert [type(event) for event in events[:4]] == [PlayerJoined, HostChanged, PlayerJoined, Joined]
        assert isinstance(events[-1], Disconnected)
        assert [event async for event in bo] == []

    with_two_players(body)


def test_a_game_with_its_own_loop_takes_what_waits() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        ada.take_events()
        assert ada.take_events() == []
        bo.send_message(b"hello")
        await until(lambda: len(ada._events) > 0)
        assert [event.payload for event in ada.take_events() if isinstance(event, Message)] == [b"hello"]

    with_two_players(body)


def test_snapshots_show_the_table_whenever_it_changed() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        async def publish() -> None:
            for number in range(100):
                bo.publish(0, b"%d" % number)
                await asyncio.sleep(0.01)

        publishing = asyncio.create_task(publish())
        seen = []
        async with asyncio.timeout(5.0):
            async for snapshot in ada.snapshots():
                seen.append((snapshot.tick, snapshot.states[bo.connection.player_id]))
                if len(seen) == 5:
                    break
        assert seen == sorted(seen, key=lambda entry: entry[0])
        assert len({state for _, state in seen}) == 5
        publishing.cancel()

    with_two_players(body)


def test_snapshots_end_with_the_session() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        async def read() -> int:
            return len([snapshot async for snapshot in ada.snapshots()])

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        await server.stop()
        async with asyncio.timeout(2.0):
            assert await reading <= 1

    with_two_players(body)


def test_leaving_waits_for_what_was_said_last() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        bo.send_message(b"x" * 20_000)
        await bo.close()
        assert len((await hear(ada, Message)).payload) == 20_000

    with_two_players(body)


def test_leaving_after_an_exception_does_not_wait() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        client = player(server, "Cleo")
        with pytest.raises(KeyError):
            async with client:
                client.send_message(bytes(1 << 20))
                raise KeyError
        assert client.connection.state is ClientState.CLOSED

    with_two_players(body)


def test_flush_tells_whether_everything_arrived() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        bo.send_message(b"x")
        assert await bo.flush()
        server.transport.close()
        bo.send_message(b"nobody hears this")
        assert not await bo.flush(0.1)
        await bo.close(0.0)
        await ada.close(0.0)

    with_two_players(body)


def test_messages_go_out_at_once_but_at_most_once_early_each_tick() -> None:
    async def main() -> None:
        async with running_relay(tick_rate=2) as server, player(server, "Ada") as ada:
            sent: list[bytes] = []
            real = ada._send
            ada._send = lambda datagrams: (sent.extend(datagrams), real(datagrams))[1]  # type: ignore[method-assign,func-returns-value]
            await hear(ada, Joined)
            ada._may_tick_early = True
            ada.send_message(b"one")
            ada.send_message(b"two")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(sent) == 1 and b"one" in sent[0] and b"two" in sent[0]
            ada.send_message(b"three")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not any(b"three" in datagram for datagram in sent)

    run(main)


def test_a_game_that_does_not_read_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        for number in range(60):
            bo.send_message(b"%d" % number)
            await asyncio.sleep(0.002)
        await until(lambda: bo.connection.is_idle())
        assert len(ada._events) < 60
        payloads = [(await hear(ada, Message)).payload for _ in range(60)]
        assert payloads == [b"%d" % number for number in range(60)]

    monkeypatch.setattr(eventqueue, "MAX_EVENTS", 10)
    with_two_players(body)


def test_pictures_of_a_game_that_does_not_read_are_merged() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        for number in range(120):
            bo.publish(0, b"%d" % number)
            await asyncio.sleep(0.01)
        await until(lambda: ada.connection.table.get(bo.connection.player_id) == b"119")
        pictures = [event for event in ada.take_events() if isinstance(event, StateChanged)]
        assert len(pictures) <= eventqueue.MERGE_FROM
        assert pictures[-1].changed[-1][1] == b"119"

    with_two_players(body)


def test_an_error_of_the_socket_is_counted_and_reading_goes_on() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        ada._links[0].error_received(ConnectionResetError(10054, "reset"))
        assert ada.num_socket_errors == 1
        bo.send_message(b"still there?")
        assert (await hear(ada, Message)).payload == b"still there?"

    with_two_players(body)


def make_deaf(client: RelayClient) -> Link:
    """Let nothing arrive on the socket that a client has now."""
    (link,) = client._links
    link.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
    return link


def test_a_lost_connection_comes_back_by_itself_on_a_fresh_socket() -> None:
    async def main() -> None:
        async with running_relay(timeout_s=2.0, keepalive_s=0.5) as server, player(server, "Ada") as ada:
            await hear(ada, Joined)
            former = make_deaf(ada)
            await hear(ada, ConnectionLost)
            assert not ada.is_joined and ada.connection.state is ClientState.RESUMING
            ada.send_message(b"said meanwhile")
            await hear(ada, Resumed)
            assert ada.is_joined and former not in ada._links and len(ada._links) == 1
            assert await ada.flush()

    run(main)


def test_while_there_is_no_network_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    real = client_module.Link.open

    async def sometimes(*arguments: Any) -> Link:
        tries.append(arguments)
        if len(tries) == 2:
            raise OSError(101, "network is unreachable")
        return await real(*arguments)

    async def main() -> None:
        async with running_relay(timeout_s=2.0, keepalive_s=0.5) as server, player(server, "Ada") as ada:
            await hear(ada, Joined)
            make_deaf(ada)
            await hear(ada, Resumed)
            assert len(tries) >= 3

    monkeypatch.setattr(client_module.Link, "open", sometimes)
    monkeypatch.setattr(client_module, "REOPEN_S", 0.1)
    run(main)


def test_a_client_that_is_closed_while_the_connection_is_lost_leaves_no_socket() -> None:
    async def main() -> None:
        async with running_relay(timeout_s=2.0, keepalive_s=0.5) as server, player(server, "Ada") as ada:
            make_deaf(ada)
            await hear(ada, ConnectionLost)
            await ada.close(0.0)
            assert ada._links == [] and ada._reopening is None
            assert ada.connection.state is ClientState.CLOSED

    run(main)


def test_without_reconnect_a_lost_connection_is_over() -> None:
    async def main() -> None:
        async with (
            running_relay(timeout_s=2.0, keepalive_s=0.5) as server,
            player(server, "Ada", reconnect=False) as ada,
        ):
            make_deaf(ada)
            assert (await hear(ada, Disconnected)).reason is ByeReason.TIMEOUT

    run(main)


def test_another_process_takes_the_place_with_the_token() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        token = bo.connection.resume_token()
        player_id = bo.connection.player_id
        async with RelayClient("127.0.0.1", server.address[1], resume=token) as again:
            assert again.connection.player_id == player_id
            assert (await hear(again, Resumed)).is_afresh
            assert (await hear(bo, Disconnected)).reason is ByeReason.REPLACED

    with_two_players(body)


def test_a_token_that_is_good_no_longer_is_refused() -> None:
    async def main() -> None:
        async with running_relay() as server:
            token = ResumeToken(1, b"s" * 16, "LOBBY")
            with pytest.raises(JoinRefused, match="cannot resume"):
                await RelayClient("127.0.0.1", server.address[1], resume=token).connect()

    run(main)


def test_what_the_room_keeps_is_asked_for_and_heard() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        ada.set_property("map", "cave")
        changed = await hear(bo, PropertyChanged)
        assert (changed.key, changed.value, changed.by) == ("map", "cave", ada.connection.player_id)
        assert dict(bo.connection.room_properties) == {"map": "cave"}
        entity_id = ada.connection.player_id
        ada.publish(0, b"mine")
        ada.give_entity(entity_id, bo.connection.player_id)
        assert (await hear(bo, EntityOwnerChanged)).entity_id == entity_id
        assert bo.publish_entity(entity_id, b"yours") and bo.remove_entity(entity_id)
        await hear(ada, EntityOwnerChanged)
        assert not ada.publish(0, b"late") and not ada.remove_entity(entity_id)
        ada.lock()
        assert (await hear(bo, RoomLocked)).is_locked
        ada.hand_over_host(bo.connection.player_id)
        await hear(bo, HostChanged)

    with_two_players(body)


def test_what_the_host_alone_may_is_refused_to_others_by_its_id() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        message_id = bo.send_message(b"rules", keep=True)
        asked = [bo.kick(0), bo.ban(0), bo.lock(), bo.hand_over_host(0), bo.clear_kept(1), bo.set_property("a", 1)]
        assert asked == list(range(message_id + 1, message_id + 7))
        refused = [(await hear(bo, RequestRefused)).request_id for _ in asked]
        assert refused == asked

    with_two_players(body)


def test_a_comparison_that_fails_here_is_told_at_once() -> None:
    async def body(server: RelayServer, ada: RelayClient, bo: RelayClient) -> None:
        ada.take_events()
        assert ada.set_property("turn", 2, expected=1) == 0
        (event,) = [event for event in ada.take_events() if isinstance(event, RequestRefused)]
        assert event.request_id == 0 and event.reason is RequestRefusal.CHANGED

    with_two_players(body)
