"""Games that crash, lose the connection, or get another address, and are the same players afterwards."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from protocol.constants import ByeReason, Refusal
from relay import presence
from tests.godot.engine import FULL
from tests.godot.puppets import Puppet, stage
from tests.loopback.relays import run, running_relay
from tools.lag.conditions import Conditions
from tools.lag.conditions import Path as LagPath
from tools.lag.proxy import LagProxy

TIMEOUT_S = 2.0
"""The shortest that a relay can have."""
SLACK_S = 3.0
"""How much later than promised something may come on a busy machine, where a frame may take long."""
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
            assert scene.server.engine.stats.counters["away_logs_given_up"] == 1
            proxy.set_path(LagPath())
            assert (await bob.hear("resumed"))["afresh"] is True
            told = bob.events()[bob.events().index("connection_lost") + 1 : bob.events().index("resumed")]
            assert sorted(told) == ["entities_removed", "player_left", "property_changed", "property_changed"]
            assert bob.told("player_left")[0]["player_id"] == 1
            assert await bob.ask("room.properties") == {"same": 1, "new": 1}
            before = await seen(ada, 2)
            while await seen(ada, 2) == before:
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


class Switch(asyncio.DatagramProtocol):
    """Passes the datagrams of one client on to one relay, or to another."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self._client: tuple[str, int] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if address == self.upstream:
            self._transport.sendto(data, self._client)
        elif address[1] != self.upstream[1]:
            self._client = address
            self._transport.sendto(data, self.upstream)


def test_a_relay_that_was_restarted_ends_the_session_at_once(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene, running_relay() as restarted:
            switch = Switch(("127.0.0.1", scene.port))
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: switch, local_addr=("127.0.0.1", 0)
            )
            ada = await scene.add(f"--port={transport.get_extra_info('sockname')[1]}")
            await ada.enter()
            await ada.ask("play", 0)
            switch.upstream = ("127.0.0.1", restarted.address[1])  # it has the same secret, and knows nobody
            told = await ada.hear("disconnected", seconds=SLACK_S)
            assert (told["reason"], "restarted" in told["text"]) == (ByeReason.RESET, True)
            assert "connection_lost" not in ada.events()
            assert await ada.ask("can_resume") is False
            transport.close()

    run(main)
