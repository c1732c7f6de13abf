"""Rooms that are found, in real engines: list and join, show and hide, quick matches, games apart."""

import asyncio
from pathlib import Path
from typing import Any

from protocol.constants import Refusal
from protocol.texts import REFUSAL_TEXTS
from relay.client_lists import list_rooms
from tests.godot.puppets import Puppet, Stage, stage

KART = ("--game=org.example.kart", "--version=2.3")
NO_ANSWER = 256


def run(body: Any, godot: str, project: Path, folder: Path, **config: Any) -> None:
    async def main() -> None:
        async with stage(godot, project, folder, **config) as scene:
            await body(scene)

    asyncio.run(main())


async def listed(puppet: Puppet, **members: Any) -> dict[str, Any]:
    """Let a player list rooms. Returns: what it is told."""
    already = len(puppet.told("listed"))
    puppet.order("list", members)
    return await puppet.hear("listed", already + 1)


def test_a_room_is_listed_joined_hidden_and_shown(godot: str, project: Path, tmp_path: Path) -> None:
    async def body(scene: Stage) -> None:
        host, guest = await scene.add("--name=Ada", *KART, "--max_players=3"), await scene.add("--name=Bo", *KART)
        for member, value in (
            ("listed", True),
            ("room_name", "Adas Ω"),
            ("room_tags", ["duo", "ranked"]),
            ("room_properties", {"map": "Görlitz", "laps": "3"}),
            ("shown_properties", ["map"]),
        ):
            host.order("set", member, value)
        await host.enter("create_room")
        found = await listed(guest, tags=["duo"], properties={"laps": "3"})
        [room] = found["rooms"]
        assert (found["num_listed"], found["region"]) == (1, "eu-west")
        assert (room["name"], room["version"], room["players"]) == ("Adas Ω", "2.3", [1, 3])
        assert (room["tags"], room["properties"]) == (["duo", "ranked"], {"map": "Görlitz"})
        assert (room["is_open"], room["flags"]) == (True, [False, False])
        assert (await listed(guest, tags=["solo"]))["rooms"] == []

        await guest.enter("join_room", room["code"])
        assert await guest.ask("room.properties") == {"map": "Görlitz", "laps": "3"}
        assert await guest.ask("room.is_listed") and guest.told("room_shown", is_listed=True)
        guest.order("room.show", False)
        assert (await guest.hear("request_refused"))["reason"] == 3  # not the host
        host.order("room.show", False)
        await guest.hear("room_shown", is_listed=False)
        assert (await listed(guest, tags=["duo"]))["rooms"] == [] and not await guest.ask("room.is_listed")
        host.order("room.show", True, ["laps", "map"])
        await guest.hear("room_shown", 2, is_listed=True)
        [room] = (await listed(guest))["rooms"]
        assert list(room["properties"].items()) == [("laps", "3"), ("map", "Görlitz")]
        host.order("room.lock")
        await guest.hear("room_locked")
        assert (await listed(guest))["rooms"] == []
        [room] = (await listed(guest, only_open=False))["rooms"]
        assert room["players"] == [2, 3] and room["flags"] == [True, False] and not room["is_open"]
        already = len(guest.told("listed"))
        guest.order("list", {"refresh_every_s": {"float": 0.1}})
        await guest.hear("listed", already + 3)

    run(body, godot, project, tmp_path, region="eu-west")


def test_eight_players_who_want_a_quick_match_meet_in_rooms_of_four(godot: str, project: Path, tmp_path: Path) -> None:
    async def body(scene: Stage) -> None:
        players = [await scene.add(f"--name=P{n}", *KART, "--max_players=4") for n in range(8)]
        for player in players:
            player.order("quick_match", ["ranked"], {"map": "sea"})
        for player in players:
            await player.hear("joined")
        codes = [await player.ask("room_code") for player in players]
        assert sorted(map(codes.count, set(codes))) == [4, 4]
        for player in players:
            assert len(await player.ask("players")) == 4 and await player.ask("room.properties") == {"map": "sea"}
        found = await list_rooms("127.0.0.1", scene.port, game="org.example.kart", tags=["ranked"])
        assert sorted(room.code for room in found.rooms) == sorted(set(codes))
        assert (await list_rooms("127.0.0.1", scene.port, game="org.example.kart", only_open=True)).rooms == ()

    run(body, godot, project, tmp_path)


def test_games_and_versions_are_apart(godot: str, project: Path, tmp_path: Path) -> None:
    async def body(scene: Stage) -> None:
        kart = await scene.add(*KART)
        old = await scene.add("--game=org.example.kart", "--version=1")
        chess = await scene.add("--game=chess")
        kart.order("set", "listed", True)
        await kart.enter()
        old.order("join_room", "LOBBY")
        refused = await old.hear("join_refused")
        assert (refused["reason"], refused["text"]) == (
            Refusal.OTHER_VERSION, REFUSAL_TEXTS[Refusal.OTHER_VERSION],
        )  # fmt: skip
        chess.order("join_room", "LOBBY")
        assert (await chess.hear("join_refused"))["reason"] == Refusal.NO_SUCH_ROOM
        assert (await listed(chess))["rooms"] == [] == (await listed(old))["rooms"]
        [room] = (await listed(old, any_version=True))["rooms"]
        assert (room["code"], room["version"]) == ("LOBBY", "2.3")
        await chess.enter()
        assert await chess.ask("players") == {"0": "Puppet"}

    run(body, godot, project, tmp_path)


def test_what_cannot_be_asked_for_is_told(godot: str, project: Path, tmp_path: Path) -> None:
    async def body(scene: Stage) -> None:
        player = await scene.add(*KART)
        player.order("list", {"tags": ["x" * 17]})
        assert (await player.hear("failed"))["reason"] == Refusal.BAD_OPTIONS
        player.order("set", "port", 9)
        player.order("list", {"tags": ["x"], "timeout_s": {"float": 0.5}})
        told = await player.hear("failed", 2)
        assert told["reason"] == NO_ANSWER and "UDP port 9" in told["text"]
        player.order("quick_match", ["x" * 17])
        assert (await player.hear("join_refused"))["reason"] == Refusal.BAD_OPTIONS

    run(body, godot, project, tmp_path)


def test_a_ping_tells_where_the_relay_is(godot: str, project: Path, tmp_path: Path) -> None:
    async def body(scene: Stage) -> None:
        player = await scene.add()
        player.order("connect_to_relay")
        info = (await player.hear("relay_answered"))["info"]
        assert (info["region"], info["rooms"]) == ("eu-west", 0)

    run(body, godot, project, tmp_path, region="eu-west")
