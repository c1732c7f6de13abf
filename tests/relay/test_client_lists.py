"""Lists of rooms over real sockets: what hosts show is found, page by page; quick matches."""

import asyncio
import contextlib
from typing import Any

import pytest

from protocol.client import PropertyChanged, Refusal, RoomList, RoomShown
from relay.client import ConnectTimeout, JoinMode, JoinRefused, RelayClient
from relay.client_lists import list_rooms
from relay.server import RelayServer
from tests.loopback.relays import hear, run, running_relay
from tests.relay.transport.doubles import client_socket

CHESS: dict[str, Any] = {"game": "chess", "game_version": "1"}


def client(server: RelayServer, name: str = "Ada", **join: Any) -> RelayClient:
    return RelayClient("127.0.0.1", server.address[1], name=name, **(CHESS | join))


async def listed(server: RelayServer, **wish: Any) -> RoomList:
    return await list_rooms("127.0.0.1", server.address[1], **({"game": "chess"} | wish))


def test_a_room_is_listed_with_what_its_host_shows_joined_hidden_and_shown() -> None:
    async def main() -> None:
        async with running_relay(region="eu-west") as server:
            options = {"room_name": "Zur Linde", "tags": ["duo"], "listed": True, "properties": {"map": "sea", "n": 3}}
            async with client(server, shown=["map"], max_players=3, **options) as host:
                found = await listed(server, version="1", tags=["duo"], properties={"n": 3}, only_open=True)
                [room] = found.rooms
                assert (found.num_listed, found.region) == (1, "eu-west")
                assert (room.name, room.version, room.players, room.max_players) == ("Zur Linde", "1", 1, 3)
                assert (room.tags, room.properties, room.is_locked, room.has_password) == (
                    ("duo",), {"map": "sea"}, False, False,
                )  # fmt: skip
                assert host.connection.is_listed
                assert [e.key for e in host.take_events() if isinstance(e, PropertyChanged)] == ["map", "n"]
                async with client(server, "Bo", code=room.code, mode=JoinMode.JOIN) as guest:
                    assert guest.connection.is_listed and guest.connection.room_properties == {"map": "sea", "n": 3}
                    host.show(False)
                    assert not (await hear(guest, RoomShown, lambda event: not event.is_listed)).is_listed
                    assert (await listed(server)).rooms == () and not guest.connection.is_listed
                    host.show(True, ["n"])
                    await hear(guest, RoomShown)
                    [room] = (await listed(server)).rooms
                    assert (room.players, room.properties) == (2, {"n": 3})

    run(main)


def test_games_and_versions_are_apart() -> None:
    async def main() -> None:
        async with running_relay() as server, client(server, code="ROOM", listed=True):
            assert (await listed(server, game="go")).rooms == () == (await listed(server, version="2")).rooms
            with pytest.raises(JoinRefused, match="version") as told:
                await client(server, code="ROOM", game_version="2").connect()
            assert told.value.reason is Refusal.OTHER_VERSION
            with pytest.raises(JoinRefused, match="no room with this code"):
                await client(server, code="ROOM", mode=JoinMode.JOIN, game="go").connect()

    run(main)


def test_quick_matches_fill_rooms() -> None:
    async def main() -> None:
        async with running_relay() as server, contextlib.AsyncExitStack() as stack:
            players = [
                RelayClient.quick_match(
                    "127.0.0.1", server.address[1], name=f"P{n}", max_players=4, tags=["fun"], **CHESS
                )
                for n in range(10)
            ]
            await asyncio.gather(*(stack.enter_async_context(one) for one in players))
            codes = [one.connection.code for one in players]
            assert sorted(codes.count(code) for code in set(codes)) == [2, 4, 4]
            found = await listed(server, only_open=True, tags=["fun"])
            assert [(room.players, room.max_players) for room in found.rooms] == [(2, 4)] and found.num_listed == 3

    run(main)


def test_a_long_list_comes_in_pages() -> None:
    async def main() -> None:
        async with running_relay() as server, contextlib.AsyncExitStack() as stack:
            hosts = [
                client(server, code=f"ROOM{n}", listed=True, room_name="x" * 48, tags=["t" * 16] * 8) for n in range(30)
            ]
            for host in hosts:
                await stack.enter_async_context(host)
            found = await listed(server)
            assert sorted(room.code for room in found.rooms) == sorted(f"ROOM{n}" for n in range(30))
            assert len((await listed(server, max_rooms=7)).rooms) == 7

    run(main)


def test_nobody_there_is_told_and_wrong_arguments_too() -> None:
    async def main() -> None:
        with client_socket("127.0.0.1") as nobody:
            port = nobody.getsockname()[1]
        with pytest.raises(ConnectTimeout, match=f"UDP port {port}: no list within 0.3 s.*firewall"):
            await list_rooms("127.0.0.1", port, deadline_s=0.3)
        with pytest.raises(ValueError, match="max_rooms"):
            await list_rooms(max_rooms=0)

    run(main)


def test_a_list_that_the_relay_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with running_relay() as server:
            monkeypatch.setattr("protocol.client.listing.label_options", lambda *labels: [(9, b"\n")])
            with pytest.raises(JoinRefused, match="bad options"):
                await listed(server)

    run(main)
