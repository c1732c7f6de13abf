"""Godot players and Python players in one room: the same messages in the same order, each other's states."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from protocol.client import Message, PlayerJoined, Target
from relay.client import RelayClient
from tests.godot.engine import FULL, Godot, complaints
from tests.loopback.relays import hear, player, run, running_relay
from tools.lag.conditions import Conditions
from tools.lag.conditions import Path as LagPath
from tools.lag.proxy import LagProxy

LOSSY = Conditions(latency_ms=20, jitter_ms=25, loss_percent=10, duplicate_percent=2, reorder_percent=5)
"""One way. Jitter has no fixed bound, but 98 % of the delays are within 20 to 120 ms; an eighth is its largest part."""
GO, DONE, REPORT, LEAVE = 2, 3, 4, 6
TEXT, LARGE, WHISPER = 0, 7, 9
"""Channels of the bot's messages."""
STEPS = 30
LARGE_BYTES = 100_000
PATIENCE_S = 60.0


def described(event: Message) -> str:
    """A message as the bot's report writes it."""
    text = event.payload.decode() if len(event.payload) < 1000 else ""
    digest = f"{len(event.payload)} bytes {hashlib.sha256(event.payload).hexdigest()}"
    return f"{event.sender} {event.channel} {text or digest}"


class Conductor:
    """A Python player who tells the bots what to do and remembers what it heard."""

    def __init__(self, client: RelayClient) -> None:
        self.client = client
        self.heard: list[str] = []
        self.num_done = 0

    async def listen(self) -> None:
        async for event in self.client:
            if not isinstance(event, Message):
                continue
            self.num_done += event.kind == DONE
            if event.kind == 1 and event.channel != WHISPER:
                self.heard.append(described(event))

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.02)


async def play(
    godot: str, project: Path, num_godots: int, num_pythons: int, conditions: Conditions, bot: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[Conductor]]:
    """Let all of them play one game. Returns: the Godots' reports, and the Python players."""
    path = LagPath(conditions, conditions)
    is_bad = conditions.loss_percent > 0
    async with running_relay() as server, LagProxy(("127.0.0.1", server.address[1]), path, seed=1) as proxy:
        port = proxy.address[1]
        pythons = [
            Conductor(RelayClient("127.0.0.1", port, name=f"python{i}", code="LOBBY", max_players=16, deadline_s=20))
            for i in range(num_pythons)
        ]
        for conductor in pythons:
            await conductor.client.connect()
        tasks = [asyncio.create_task(conductor.listen()) for conductor in pythons]
        common = ["--code=LOBBY", f"--port={port}", f"--steps={STEPS}", "--deadline=20", *bot]
        bots = [
            Godot.start(godot, project, "bot.gd", f"--name=godot{i}", *common, seconds=PATIENCE_S)
            for i in range(num_godots)
        ]
        try:
            await conduct(pythons, bots)
            told = [await asyncio.to_thread(bot_process.finish, PATIENCE_S) for bot_process in bots]
        finally:
            for bot_process in bots:
                bot_process.stop()
            for task in tasks:
                task.cancel()
            for conductor in pythons:
                await conductor.client.close(0.0)
        for fates in (proxy.up, proxy.down):
            assert (fates["lost"] > 0) == is_bad, fates
    return [next(line for line in lines if line["event"] == "report") for lines in told], pythons


async def conduct(pythons: list[Conductor], bots: list[Godot]) -> None:
    """Wait until all are there, let them play, and ask for reports when all have finished."""
    first = pythons[0].client
    everybody = len(pythons) + len(bots)
    await pythons[0].until(lambda: len(first.connection.members) == everybody)
    for conductor in pythons:
        conductor.client.publish(0, f"state of {conductor.client.connection.player_id}".encode())
    first.send_message(b"", kind=GO)
    for number in range(STEPS):
        for conductor in pythons:
            conductor.client.send_message(f"python:{number}".encode())
        await asyncio.sleep(1 / 60)
    one = next(id_ for id_, name in first.connection.members.items() if name == "godot0")
    first.send_message(b"psst", channel=WHISPER, target=Target.ONE, players=[one])
    await pythons[0].until(lambda: pythons[0].num_done == len(bots))
    first.send_message(b"", kind=REPORT)
    for bot in bots:
        while bot.process.poll() is None and not bot.told("report"):
            await asyncio.sleep(0.05)
        assert bot.told("report"), (complaints(bot.log), bot.log[-2000:])
    first.send_message(b"", kind=LEAVE)


def check(reports: list[dict[str, Any]], pythons: list[Conductor]) -> None:
    """All heard the same in the same order, nothing is missing, and all see what each shows of itself."""
    heard = pythons[0].heard
    for conductor in pythons:
        assert conductor.heard == heard
    own = {str(report["player_id"]): report["own"] for report in reports}
    own |= {
        str(conductor.client.connection.player_id): f"state of {conductor.client.connection.player_id}".encode().hex()
        for conductor in pythons
    }
    for report in reports:
        me = str(report["player_id"])
        assert report["heard"] == heard
        assert report["own"] == report["published"]
        texts = [line for line in heard if line.startswith(f"{me} {TEXT} ")]
        assert texts == [f"{me} {TEXT} {report['name']}:{i}" for i in range(1, STEPS + 1)]
        assert report["whispers"] == (report["name"] == "godot0")
        seen = {key.removesuffix("/0"): state for key, state in report["states"].items()}
        assert seen == {id_: state for id_, state in own.items() if id_ != me}
        assert report["late_signals"] == 0
        for other in reports:
            if other is not report:
                assert report["signals"].get(str(other["player_id"]), 0) <= STEPS
    assert len(heard) == len(set(heard))


@pytest.mark.parametrize("num_godots", [2, 8])
def test_godots_and_pythons_in_one_room_hear_and_see_the_same(godot: str, project: Path, num_godots: int) -> None:
    async def main() -> None:
        reports, pythons = await play(godot, project, num_godots, 2, Conditions())
        check(reports, pythons)
        assert all(report["signals"] for report in reports)

    run(main)


@pytest.mark.parametrize("num_godots", [2, 8])
def test_they_do_so_over_a_bad_network(godot: str, project: Path, num_godots: int) -> None:
    async def main() -> None:
        reports, pythons = await play(godot, project, num_godots, 2, LOSSY)
        check(reports, pythons)
        assert all(0.02 < report["round_trip_s"] < 5.0 for report in reports), reports

    run(main)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_player_is_told_how_much_gets_lost_in_which_direction(godot: str, project: Path, direction: str) -> None:
    steps = 240  # four seconds: some 120 datagrams each way

    async def main() -> None:
        async with (
            running_relay() as server,
            LagProxy(
                ("127.0.0.1", server.address[1]),
                LagPath(**{direction: Conditions(loss_percent=20)}),
                seed=1,
            ) as proxy,
            player(server, "Zoe") as zoe,
        ):
            arguments = (f"--port={proxy.address[1]}", "--code=LOBBY", f"--steps={steps}")
            bot = Godot.start(godot, project, "bot.gd", *arguments)
            await hear(zoe, PlayerJoined, lambda event: event.name == "Bot")
            zoe.send_message(b"", kind=GO)
            await hear(zoe, Message, lambda event: event.kind == DONE, seconds=PATIENCE_S)
            zoe.send_message(b"", kind=REPORT)
            zoe.send_message(b"", kind=LEAVE)
            told = await asyncio.to_thread(bot.finish, PATIENCE_S)
        report = next(line for line in told if line["event"] == "report")
        loss = {"up": report["loss_up"], "down": report["loss_down"]}
        assert 0.06 < loss.pop(direction) < 0.4, report  # five deviations of 120
        assert loss.popitem()[1] < 0.02, report  # one that is late counts until it comes

    run(main)


@pytest.mark.parametrize("conditions", [Conditions(), LOSSY], ids=["good", "bad"])
@pytest.mark.parametrize("thread", [(), ("--thread",)], ids=["frames", "thread"])
def test_large_messages_arrive_whole(
    godot: str, project: Path, conditions: Conditions, thread: tuple[str, ...]
) -> None:
    if thread and conditions == LOSSY and not FULL:
        pytest.skip("the long form of the thread option: set TICKRELAY_FULL=1")

    async def main() -> None:
        reports, pythons = await play(godot, project, 2, 1, conditions, [f"--large={LARGE_BYTES}", *thread])
        check(reports, pythons)
        for report in reports:
            payload = bytes([report["player_id"]]) * LARGE_BYTES
            digest = f"{LARGE_BYTES} bytes {hashlib.sha256(payload).hexdigest()}"
            assert f"{report['player_id']} {LARGE} {digest}" in pythons[0].heard

    run(main)
