"""Games that crash, lose the connection, or get another address, and are the same players afterwards."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from protocol import codec
from protocol.constants import ByeReason, Kind, Refusal
from relay import presence
from relay.handshake import Refused, build_refuse
from tests.godot.engine import FULL, PROJECT, Godot, complaints
from tests.godot.puppets import PATIENCE_S, Puppet, stage, until
from tests.loopback.relays import run, running_relay
from tools.lag.conditions import Conditions
from tools.lag.conditions import Path as LagPath
from tools.lag.proxy import LagProxy

TIMEOUT_S = 2.0
"""The shortest that a relay can have."""
SLACK_S = 3.0
"""How much later than promised something may come on a busy machine, where a frame may take long."""
ENDED = 262
"""RelayClient.Problem.ENDED"""
CUT = Conditions(loss_percent=100.0)
LATENCY_MS = 40
REBINDS = 20 if FULL else 3
NUM_PLAYERS = 8


@pytest.mark.parametrize(
    "is_missed", [False, True] if FULL else [True], ids=lambda value: "missed" if value else "at once"
)
def test_one_of_eight_is_killed_and_comes_back_as_the_same_player(
    godot: str, project: Path, tmp_path: Path, is_missed: bool
) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, keepalive_s=0.5) as scene:
            puppets = await scene.add_all(NUM_PLAYERS)
            victim, others = puppets[3], [*puppets[:3], *puppets[4:]]
            for number, puppet in enumerate(puppets):
                await puppet.ask("play", number)
            await victim.ask("room.set_player_property", "gold", 7)
            await others[0].hear("property_changed", owner=3, key="gold")
            await seen(others[0], 3)
            victim.kill()
            if is_missed:
                for puppet in others:
                    await puppet.hear("player_away", player_id=3, seconds=TIMEOUT_S + SLACK_S)
            again = await scene.add("--name=another")
            assert again.told("started")[0]["can_resume"] is True
            again.order("resume")
            joined = await again.hear("joined")
            assert joined["player_id"] == 3
            assert "3" in joined["states"]  # its last state, to go on from
            assert (await again.hear("resumed"))["afresh"] is True
            assert again.told("player_joined", player_id=3)[0]["player_name"] == "P3"
            assert len(again.told("player_joined")) == NUM_PLAYERS
            assert await again.ask("room.get_player_property", 3, "gold") == 7
            await again.ask("play", 3)
            for puppet in others:
                await puppet.hear("player_back" if is_missed else "player_joined", player_id=3)
                assert {"player_left", "connection_lost", "disconnected"}.isdisjoint(puppet.events())
            before = await seen(others[0], 3)
            while await seen(others[0], 3) == before:
                await asyncio.sleep(0.02)

    run(main)


async def seen(puppet: Puppet, entity_id: int) -> str:
    """Wait until a puppet has been shown an entity. Returns: its newest state."""
    for _ in range(200):
        state = (await puppet.ask("states")).get(str(entity_id))
        if state is not None:
            return str(state)
    raise AssertionError(puppet.log())


def test_a_host_is_killed_and_another_goes_on_with_what_is_the_hosts(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, keepalive_s=0.5) as scene:
            puppets = await scene.add_all(4)
            host, heir, *others = puppets
            monster = await host.ask("entity_id_of", 0, 1)
            await host.ask("give_entity", monster, 65535)
            await host.ask("play", monster)
            await seen(heir, monster)
            host.kill()
            for puppet in (heir, *others):
                await puppet.hear("host_changed", player_id=1, seconds=TIMEOUT_S + SLACK_S)
            assert await heir.ask("is_published", monster) is False
            await heir.ask("play", monster)
            for puppet in others:
                before = await seen(puppet, monster)
                while await seen(puppet, monster) == before:
                    await asyncio.sleep(0.02)
            again = await scene.add()
            again.order("resume")
            assert (await again.hear("joined"))["player_id"] == 0
            assert await again.ask("host_id") == 1
            for puppet in (heir, *others):
                assert {"player_left", "connection_lost", "disconnected"}.isdisjoint(puppet.events())

    run(main)


def test_a_game_whose_address_changes_plays_on(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        path = LagPath(Conditions(latency_ms=LATENCY_MS), Conditions(latency_ms=LATENCY_MS))
        async with (
            stage(godot, project, tmp_path) as scene,
            LagProxy(("127.0.0.1", scene.port), path, seed=1) as proxy,
        ):
            (ada,) = await scene.add_all(1)
            bob = await scene.add(f"--port={proxy.address[1]}", "--name=Bob")
            await bob.enter()
            await ada.ask("play", 0)
            await bob.ask("play", 1)
            await asyncio.sleep(1.0)
            await ada.ask("gap"), await bob.ask("gap")
            await asyncio.sleep(0.5)
            usual_ms = max(await ada.ask("gap"), await bob.ask("gap"))
            gaps = []
            for _ in range(REBINDS):
                await proxy.rebind(proxy.clients[0])
                await asyncio.sleep(0.5)
                gaps.append((await ada.ask("gap"), await bob.ask("gap")))
            assert proxy.counters["rebinds"] == REBINDS
            assert {"connection_lost", "disconnected"}.isdisjoint(bob.events())
            worst_up, worst_down = (max(gap) for gap in zip(*gaps, strict=True))
            # Up nothing is lost. Down it takes one way for DATA, and a round trip for the proof.
            assert worst_up <= usual_ms + 60, (usual_ms, gaps)
            assert worst_down <= usual_ms + 3 * LATENCY_MS + 60, (usual_ms, gaps)

    run(main)


def test_two_games_on_one_machine_are_two_players_also_after_both_crashed(
    godot: str, project: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            both = [await scene.add(f"--name=P{number}") for number in range(2)]
            await asyncio.gather(*(puppet.enter() for puppet in both))
            tokens = [await puppet.ask("token") for puppet in both]
            assert tokens[0]["session"] != tokens[1]["session"] and tokens[0]["secret"] != tokens[1]["secret"]
            assert (await both[0].ask("identity")) != (await both[1].ask("identity"))
            profiles = [await puppet.ask("profile") for puppet in both]
            assert sorted(profiles) == [0, 1]
            ids = [puppet.told("joined")[0]["player_id"] for puppet in both]
            third = await scene.add("--name=third")  # while both play nothing is there to come back to
            assert third.told("started")[0]["can_resume"] is False
            third.order("resume")
            assert (await third.hear("join_refused"))["reason"] == Refusal.CANNOT_RESUME
            for puppet in both:
                puppet.kill()
            again = [await scene.add(f"--tickrelay-profile={number}") for number in profiles]
            for puppet in again:
                puppet.order("resume")
            assert [(await puppet.hear("joined"))["player_id"] for puppet in again] == ids
            for puppet in again:
                puppet.order("leave_room")
                await puppet.hear("disconnected")
                assert await puppet.ask("can_resume") is False

    run(main)


@pytest.mark.parametrize("is_guarded", [True, False], ids=["guarded", "without a guard"])
def test_eight_that_start_at_once_take_eight_profiles(
    godot: str, project: Path, tmp_path: Path, is_guarded: bool
) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            first = await scene.add()
            foreign = [] if is_guarded else [(await first.ask("ports"))[-1]]
            first.kill()
            with programs_at(foreign):
                puppets = await asyncio.gather(*(scene.add() for _ in range(NUM_PLAYERS)))
            profiles = sorted([await puppet.ask("profile") for puppet in puppets])
            # Who does not wait for the others may pass over a profile, but never takes that of another.
            assert profiles == list(range(NUM_PLAYERS)) if is_guarded else len(set(profiles)) == NUM_PLAYERS
            assert len({(await puppet.ask("identity"))["hex"] for puppet in puppets}) == NUM_PLAYERS

    run(main)


@contextmanager
def programs_at(ports: Sequence[int]) -> Iterator[None]:
    """Let other programs have some UDP ports of this machine."""
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
        yield


@pytest.mark.parametrize("number", range(3))
def test_a_foreign_program_at_a_port_of_a_profile_takes_nobodys_place(
    godot: str, project: Path, tmp_path: Path, number: int
) -> None:
    """The profile was the one port of its lock file once: who got it from the system kept the game out for good."""

    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            ada = (await scene.add_all(1))[0]
            foreign, identity = (await ada.ask("ports"))[number], await ada.ask("identity")
            ada.kill()
            with programs_at([foreign]):
                again = await scene.add()
                assert (await again.ask("profile"), await again.ask("identity")) == (0, identity)
                again.order("resume")
                assert (await again.hear("joined"))["player_id"] == 0
                second = await scene.add()
                assert (await second.ask("profile"), await second.ask("can_resume")) == (1, False)
            third = await scene.add("--tickrelay-profile=0")  # the program is gone; the first game plays on
            assert await third.ask("profile") == 2
            assert "profile 0 is in use by another game on this machine. This game takes profile 2" in third.log()
            assert "WARNING" not in again.log() + second.log()  # to be one of several is nothing special

    run(main)


@pytest.mark.parametrize("outage_s", [1.5, TIMEOUT_S + 2.0], ids=["not missed", "missed"])
def test_a_lost_connection_comes_back_and_nothing_is_lost(
    godot: str, project: Path, tmp_path: Path, outage_s: float
) -> None:
    async def main() -> None:
        async with (
            stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, keepalive_s=0.3) as scene,
            LagProxy(("127.0.0.1", scene.port), LagPath()) as proxy,
        ):
            (ada,) = await scene.add_all(1)
            bob = await scene.add(f"--port={proxy.address[1]}", "--name=Bob", "--silence=1")
            await bob.enter()
            await bob.ask("play", 1)
            proxy.set_path(LagPath(CUT, CUT))
            await bob.hear("connection_lost")
            assert (await bob.ask("status"), await bob.ask("is_joined")) == (3, True)
            for number in range(5):
                assert await bob.ask("send_message", {"hex": f"bob {number}".encode().hex()}) == 0
                await ada.ask("send_message", {"hex": f"ada {number}".encode().hex()})
            await asyncio.sleep(max(0.0, outage_s - 1.0))
            proxy.set_path(LagPath())
            assert (await bob.hear("resumed"))["afresh"] is False
            await bob.ask("send_message", {"hex": b"last".hex()})
            for puppet in (ada, bob):
                await puppet.hear("message", text="last")
                texts = [line["text"] for line in puppet.told("message")]
                for name in ("ada", "bob"):
                    assert [text for text in texts if text.startswith(name)] == [f"{name} {i}" for i in range(5)]
            assert [line["text"] for line in ada.told("message")] == [line["text"] for line in bob.told("message")]
            assert ("player_away" in ada.events()) == (outage_s > TIMEOUT_S)
            assert bob.told("player_joined", player_id=1)[1:] == []
            before = await seen(ada, 1)
            while await seen(ada, 1) == before:
                await asyncio.sleep(0.02)

    run(main)


def test_who_missed_too_much_is_told_the_room_anew(
    godot: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "AWAY_ENTRIES", 20)

    async def main() -> None:
        async with (
            stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, keepalive_s=0.3) as scene,
            LagProxy(("127.0.0.1", scene.port), LagPath()) as proxy,
        ):
            ada, eve = await scene.add_all(2)
            bob = await scene.add(f"--port={proxy.address[1]}", "--name=Bob", "--silence=1")
            await bob.enter()
            for puppet, entity_id in ((ada, 0), (eve, 1), (bob, 2)):
                await puppet.ask("play", entity_id)
            await ada.ask("room.set_property", "old", 1)
            await ada.ask("room.set_property", "same", 1)
            await bob.hear("property_changed", key="same")
            await seen(bob, 1)
            proxy.set_path(LagPath(CUT, CUT))
            await ada.hear("player_away", player_id=2)
            await eve.ask("leave_room")
            await ada.ask("room.set_property", "old", None)
            await ada.ask("room.set_property", "new", 1)
            for _ in range(40):  # more than is kept for one who is away
                ada.order("send_message", {"hex": b"noise".hex()})
            await ada.hear("message", 40)
            await asyncio.sleep(0.5)
            counters = scene.server.engine.stats.counters
            assert counters["away_logs_given_up"] == 1
            has_memory = iter((False, False))  # who is refused for now goes on asking
            monkeypatch.setattr(presence, "welcome_fits", lambda world, room: next(has_memory, True))
            proxy.set_path(LagPath())
            assert (await bob.hear("resumed"))["afresh"] is True
            assert counters["refused_server_full"] == 2
            told = bob.events()[bob.events().index("connection_lost") + 1 : bob.events().index("resumed")]
            assert sorted(told) == ["entities_removed", "player_left", "property_changed", "property_changed"]
            assert bob.told("player_left")[0]["player_id"] == 1
            assert await bob.ask("room.properties") == {"same": 1, "new": 1}
            before = await seen(ada, 2)
            while await seen(ada, 2) == before:
                await asyncio.sleep(0.02)

    run(main)


def test_a_game_that_stood_still_for_longer_than_its_log_is_kept_comes_back_at_once(
    godot: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "AWAY_ENTRIES", 20)

    async def main() -> None:
        async with stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, keepalive_s=0.3) as scene:
            ada, bob = await scene.add_all(2)
            bob.order("sleep", int((TIMEOUT_S + 2.0) * 1000))
            await ada.hear("player_away", player_id=1)
            for _ in range(40):  # more than is kept for one who is away
                ada.order("send_message", {"hex": b"noise".hex()})
            await ada.hear("message", 40)
            assert (await bob.hear("resumed"))["afresh"] is True
            await ada.hear("player_back", player_id=1)
            assert scene.server.engine.stats.counters["resumes"] == 1
            assert "disconnected" not in bob.events() and "player_left" not in ada.events()

    run(main)


@pytest.mark.parametrize("is_afresh", [False, True], ids=["continued", "afresh"])
def test_who_comes_back_does_not_undo_what_others_did_with_its_entity(
    godot: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_afresh: bool
) -> None:
    if is_afresh:
        monkeypatch.setattr(presence, "AWAY_ENTRIES", 0)

    async def main() -> None:
        async with (
            stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, keepalive_s=0.3) as scene,
            LagProxy(("127.0.0.1", scene.port), LagPath()) as proxy,
        ):
            ada, eve = await scene.add_all(2)
            bob = await scene.add(f"--port={proxy.address[1]}", "--name=Bob", "--silence=1")
            await bob.enter()
            ball = await bob.ask("entity_id_of", 2, 1)
            await bob.ask("publish_entity", ball, {"hex": "01"})
            while (await eve.ask("states")).get(str(ball)) != "01":
                await asyncio.sleep(0.02)
            proxy.set_path(LagPath(CUT, CUT))
            await ada.hear("player_away", player_id=2)
            await ada.ask("give_entity", ball, 0)
            await ada.hear("entity_owner_changed", owner=0)
            await ada.ask("publish_entity", ball, {"hex": "02"})
            while (await eve.ask("states")).get(str(ball)) != "02":
                await asyncio.sleep(0.02)
            await ada.ask("give_entity", ball, 2)
            await eve.hear("entity_owner_changed", owner=2)
            proxy.set_path(LagPath())
            assert (await bob.hear("resumed"))["afresh"] is is_afresh
            assert (await bob.ask("states")).get(str(ball)) == "02"
            await asyncio.sleep(0.5)
            assert (await eve.ask("states")).get(str(ball)) == "02"
            await bob.ask("publish_entity", ball, {"hex": "03"})
            while (await eve.ask("states")).get(str(ball)) != "03":
                await asyncio.sleep(0.02)

    run(main)


def test_who_is_replaced_stays_away_and_a_place_that_is_not_kept_is_refused(
    godot: str, project: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, grace_s=1.0) as scene:
            ada, bob = await scene.add_all(2)
            (token,) = (tmp_path / "data").rglob(f"{await bob.ask('profile')}.token")
            token.with_name("7.token").write_text(token.read_text())  # as if copied to another machine
            copy = await scene.add("--tickrelay-profile=7")
            copy.order("resume")
            assert (await copy.hear("joined"))["player_id"] == 1
            assert (await bob.hear("disconnected"))["reason"] == ByeReason.REPLACED
            copy.kill()
            await ada.hear("player_left", player_id=1)
            late = await scene.add("--tickrelay-profile=7", "--resume_when_joining")
            late.order("resume")
            assert (await late.hear("join_refused"))["reason"] == Refusal.CANNOT_RESUME
            assert await late.ask("can_resume") is False
            await late.enter()

    run(main)


def test_joining_may_mean_coming_back(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, grace_s=1.0) as scene:
            ada, bob = await scene.add_all(2)
            bob.kill()
            again = await scene.add("--resume_when_joining", "--name=P1")
            assert await again.enter() == 1
            await again.hear("resumed")
            again.kill()
            await ada.hear("player_left", player_id=1)
            anew = await scene.add("--resume_when_joining", "--name=P1")
            await anew.enter()
            assert "resumed" not in anew.events()

    run(main)


def test_a_way_back_is_none_once_the_relay_cannot_keep_the_place(godot: str, project: Path, tmp_path: Path) -> None:
    """A relay that was gone never said so: its token stood in the way at every start, for ever."""

    async def main() -> None:
        async with stage(godot, project, tmp_path, timeout_s=TIMEOUT_S, grace_s=10.0) as scene:
            (ada,) = await scene.add_all(1)
            (path,) = (tmp_path / "data").rglob("0.token")
            first = json.loads(path.read_text())["at"]
            await until(lambda: json.loads(path.read_text())["at"] > first, PATIENCE_S, ada.log)  # she plays on
            ada.kill()
            await scene.server.stop()
            soon = await scene.add()
            assert soon.told("started")[0]["can_resume"] is True
            soon.order("resume")
            assert (await soon.hear("join_refused"))["text"].startswith("Nothing listens at")
            assert await soon.ask("can_resume") is True  # it may have been the network
            soon.kill()
            token = json.loads(path.read_text())
            for seconds in (-3600, 3600):  # later, or with a clock that was set back
                path.write_text(json.dumps({**token, "at": token["at"] + seconds}))
                late = await scene.add()
                assert late.told("started")[0]["can_resume"] is False
                late.order("resume")
                assert (await late.hear("join_refused"))["reason"] == Refusal.CANNOT_RESUME
                late.kill()

    run(main)


GAME = """extends SceneTree

func _initialize() -> void:
	root.add_child.call_deferred(Game.new())


class Game:
	extends Node

	const RelayClient := preload("res://addons/tickrelay/relay_client.gd")

	var client := RelayClient.new()

	func _init() -> void:
		Engine.max_fps = 60
		client.port = int(OS.get_cmdline_user_args()[0])
		client.join_timeout_s = 1.0
		add_child(client)
		client.joined.connect(func() -> void: print('@{"event": "joined"}'))

	func go_on_from(state: PackedByteArray) -> void:
		print('@{"event": "went_on", "from": "%s"}' % state.hex_encode())

"""
"""A game around the lines of the README."""


def test_what_the_readme_says_of_coming_back_works_as_written(godot: str, project: Path, tmp_path: Path) -> None:
    blocks = (PROJECT / "addons/tickrelay/README.md").read_text(encoding="utf-8").split("```gdscript\n")[1:]
    (code,) = (block.partition("```")[0] for block in blocks if "client.resume()" in block)
    (project / "tests/readme.gd").write_text(
        GAME + "".join(f"\t{line}\n" if line else "\n" for line in code.split("\n"))
    )

    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene, running_relay() as another:
            for turn, (port, is_back) in enumerate(
                [(scene.port, False), (scene.port, True), (another.address[1], False)]
            ):
                if turn == 2:
                    await scene.server.stop()  # the game has another relay's address by now
                game = Godot.start(godot, project, "readme.gd", str(port), data=tmp_path / "data")
                last = "went_on" if is_back else "joined"
                try:
                    await until(lambda told=game.told, of=last: told(of) != [], PATIENCE_S, lambda of=game: of.log)
                finally:
                    game.kill()
                assert complaints(game.log) == []
            assert another.engine.num_sessions == 1

    run(main)


def test_a_relay_that_seldom_speaks_is_not_lost(godot: str, project: Path, tmp_path: Path) -> None:
    """A client that waits for 5 s lost one with a keepalive of 8 s over and over, and came back."""

    async def main() -> None:
        async with stage(godot, project, tmp_path, timeout_s=6.0, keepalive_s=3.0) as scene:
            (ada,) = await scene.add_all(1, "--silence=1")
            await asyncio.sleep(4.0)
            assert "connection_lost" not in ada.events()
            await scene.server.stop()  # which says so: that is no silence
            assert (await ada.hear("disconnected"))["reason"] == ByeReason.SHUTDOWN

    run(main)


@pytest.mark.parametrize("may_join", [False, True])
def test_a_refusal_for_now_leaves_the_way_back(godot: str, project: Path, tmp_path: Path, may_join: bool) -> None:
    """A relay that had no room for one more session took a crashed game's place away for good."""

    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene, switched(scene.port) as switch:
            bob = await scene.add(f"--port={switch.port}")
            await bob.enter()
            bob.kill()
            switch.change = refused_as(Refusal.SERVER_FULL)
            again = await scene.add(f"--port={switch.port}", *(["--resume_when_joining"] if may_join else []))
            again.order(*(["join_or_create_room", "LOBBY"] if may_join else ["resume"]))
            await again.hear("join_refused")
            assert await again.ask("can_resume") is True
            switch.change = bytes
            again.order("resume")
            assert (await again.hear("joined"))["player_id"] == 0

    run(main)


def refused_as(reason: Refusal) -> Callable[[bytes], bytes]:
    """Make a change that turns a WELCOME into a REFUSE."""

    def change(data: bytes) -> bytes:
        if data[0] != Kind.WELCOME:
            return data
        return build_refuse(codec.decode(data).fields.nonce, Refused(reason))

    return change


@pytest.mark.parametrize(
    ("deed", "reason"), [("kick", ENDED), ("ban", Refusal.BANNED), ("stop", Refusal.SHUTTING_DOWN)]
)
def test_who_is_removed_before_it_has_joined_hears_that_joining_failed(
    godot: str, project: Path, tmp_path: Path, deed: str, reason: int
) -> None:
    """It heard `disconnected`, and never `joined`: a game that waited for one of those promised waited on."""

    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene, switched(scene.port) as switch:
            (ada,) = await scene.add_all(1)
            switch.change = lambda data: b"" if data[0] == Kind.UPDATE else data
            bob = await scene.add(f"--port={switch.port}")
            bob.order("join_or_create_room", "LOBBY")
            await ada.hear("player_joined", player_id=1)
            await asyncio.sleep(0.2)  # WELCOME is there
            if deed == "stop":
                await scene.server.stop()
            else:
                await ada.ask(f"room.{deed}", 1, "No.")
            refused = await bob.hear("join_refused")
            assert (refused["reason"], refused["text"] != "") == (reason, True)
            assert bob.events() == ["join_refused"]
            assert (await bob.ask("status"), await bob.ask("can_resume")) == (0, False)

    run(main)


class Switch(asyncio.DatagramProtocol):
    """Passes the datagrams of one client on to one relay, or to another, and changes what comes down."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.change: Callable[[bytes], bytes] = bytes
        self._client: tuple[str, int] | None = None

    @property
    def port(self) -> int:
        """Where a client finds it."""
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if address == self.upstream:
            if changed := self.change(data):
                self._transport.sendto(changed, self._client)
        elif address[1] != self.upstream[1]:
            self._client = address
            self._transport.sendto(data, self.upstream)


@asynccontextmanager
async def switched(port: int) -> AsyncIterator[Switch]:
    """Run a switch before a relay of this machine."""
    switch = Switch(("127.0.0.1", port))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: switch, local_addr=("127.0.0.1", 0))
    try:
        yield switch
    finally:
        transport.close()


def test_a_relay_that_was_restarted_ends_the_session_at_once(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            stage(godot, project, tmp_path) as scene,
            running_relay() as restarted,
            switched(scene.port) as switch,
        ):
            ada = await scene.add(f"--port={switch.port}")
            await ada.enter()
            await ada.ask("play", 0)
            switch.upstream = ("127.0.0.1", restarted.address[1])  # it has the same secret, and knows nobody
            told = await ada.hear("disconnected", seconds=SLACK_S)
            assert (told["reason"], "restarted" in told["text"]) == (ByeReason.RESET, True)
            assert "connection_lost" not in ada.events()
            assert await ada.ask("can_resume") is False

    run(main)
