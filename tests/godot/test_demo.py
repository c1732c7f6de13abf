"""The demo: scenes load, bots play with each other, one press of Play needs no typing."""

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.godot.engine import FULL, PROJECT, SCRIPTS, complaints
from tests.godot.test_rooms import LOSSY
from tests.loopback.relays import player, run, running_relay
from tools.lag.conditions import Conditions
from tools.lag.conditions import Path as LagPath
from tools.lag.proxy import LagProxy

NAMES = ["Ada", "Bob", "Cy"]
SECONDS = 8


@contextmanager
def demo(godot: str, project: Path, *arguments: str, engine: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run the demo as a user runs it, headless. Its output is `process.stdout`."""
    command = ["timeout", "40", godot, "--headless", *engine, "--path", str(project), "--", *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=10)


def report(log: str) -> dict[str, Any]:
    """What a bot tells at its end."""
    found = re.search(r"^\w+: report (\{.*\})$", log, re.MULTILINE)
    assert found, log[-3000:]
    result: dict[str, Any] = json.loads(found[1])
    return result


def play(godot: str, project: Path, conditions: Conditions) -> list[str]:
    """Let three bots play. Returns: what each printed."""
    logs: list[str] = []

    async def main() -> None:
        path = LagPath(conditions, conditions)
        async with running_relay() as server, LagProxy(("127.0.0.1", server.address[1]), path, seed=3) as proxy:
            common = ["--bot", "--address=127.0.0.1", f"--port={proxy.address[1]}", "--code=DEN"]

            async def one(name: str) -> str:
                with demo(godot, project, *common, f"--name={name}", "--seconds", str(SECONDS)) as process:
                    log, _ = await asyncio.to_thread(process.communicate, timeout=40)
                assert process.returncode == 0, log[-3000:]
                return log

            logs.extend(await asyncio.gather(*(one(name) for name in NAMES)))

    run(main)
    return logs


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(),
        pytest.param(LOSSY, marks=pytest.mark.skipif(not FULL, reason="the long form: set TICKRELAY_FULL=1")),
    ],
    ids=["good", "bad"],
)
def test_three_bots_in_one_room_see_each_other_and_chat(godot: str, project: Path, conditions: Conditions) -> None:
    logs = play(godot, project, conditions)
    for name, log in zip(NAMES, logs):
        assert complaints(log) == [], log[-3000:]
        assert f"{name}: joined room DEN as player" in log
        for other in NAMES:
            assert re.search(rf"^{name}: player \d is {other}$", log, re.MULTILINE)
        told = report(log)
        # Who started last and who left first may be gone by now; each has seen somebody run about.
        assert told["saw_move"] or len(told["players"]) == 1
        assert all(way > 100 for way in told["saw_move"].values())
        assert {line.split(": ")[0] for line in told["heard"]} == set(NAMES)
    assert sum(len(report(log)["saw_move"]) for log in logs) >= 2
    heard = [report(log)["heard"] for log in logs]
    for mine in heard:
        for theirs in heard:
            assert are_stretches_of_one(mine, theirs) or are_stretches_of_one(theirs, mine), heard


def are_stretches_of_one(earlier: list[str], later: list[str]) -> bool:
    """Tell whether both can be pieces of one list that overlap, the second one beginning not before the first.

    Who came late or left early has not heard all; and a bot may say the same twice, so lines alone tell nothing.
    """
    starts = range(len(earlier) - 2)
    return any(all(mine == theirs for mine, theirs in zip(earlier[start:], later)) for start in starts)


def test_one_press_of_play_puts_all_into_the_room_of_the_settings(godot: str, project: Path) -> None:
    """The editor attaches its debugger to what it runs; `--debug` attaches the engine's own."""

    async def main() -> None:
        async with running_relay() as server:
            port = f"--port={server.address[1]}"
            async with player(server, "Zoe", code="ARENA") as zoe:
                with (
                    demo(godot, project, port, "--name=Ada", engine=("--debug",)) as ada,
                    demo(godot, project, port, "--name=Bob", engine=("--debug",)) as bob,
                ):
                    async with asyncio.timeout(20):
                        while set(zoe.connection.members.values()) != {"Zoe", "Ada", "Bob"}:
                            await asyncio.sleep(0.05)
                    assert (ada.poll(), bob.poll()) == (None, None)

    run(main)


def test_started_by_hand_it_shows_the_title_screen(godot: str, project: Path) -> None:
    async def main() -> None:
        async with running_relay() as server, player(server, "Zoe", code="ARENA") as zoe:
            with demo(godot, project, f"--port={server.address[1]}") as process:
                await asyncio.sleep(2.0)
                assert process.poll() is None
            assert set(zoe.connection.members.values()) == {"Zoe"}

    run(main)


def test_without_a_relay_the_bot_says_so_and_fails(godot: str, project: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with demo(godot, project, "--bot", "--port", str(port), "--name=Ada") as process:
        log, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Ada: Nothing listens at 127.0.0.1" in log
    assert complaints(log) == [], log


@pytest.mark.parametrize("scene", sorted(path.name for path in (PROJECT / "demo").glob("*.tscn")))
def test_a_scene_loads_and_runs_without_errors(godot: str, project: Path, scene: str) -> None:
    command = [
        godot,
        "--headless",
        "--path",
        str(project),
        f"res://demo/{scene}",
        "--quit-after",
        "30",
        "--",
        "--title",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    # Alone an avatar and the arena have no client, and say so. Nothing else is to be said.
    warnings = [line for line in log.splitlines() if "WARNING" in line and "there is no RelayClient" not in line]
    assert (complaints(log), warnings) == ([], []), log


def own_scripts() -> list[Path]:
    """Those of RelaySync, RelaySpawner, the monitors and the demo."""
    add_on = PROJECT / "addons/tickrelay"
    parts = ("finder", "monitors", "property", "spawner", "state_layout", "sync", "timeline")
    return [
        *sorted((PROJECT / "demo").rglob("*.gd")),
        *(add_on / f"relay_{part}.gd" for part in parts),
        *(SCRIPTS / f"{name}.gd" for name in ("avatar", "sync", "sync_units")),
    ]


def test_the_scripts_parse_alone(godot: str, project: Path) -> None:
    """Without the editor's list of classes, as in a fresh clone."""
    paths = own_scripts() if FULL else own_scripts()[::4]
    for path in paths:
        inside = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else Path("tests") / path.name
        command = [godot, "--headless", "--path", str(project), "--check-only", "--script", f"res://{inside}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        assert (done.returncode, complaints(done.stdout + done.stderr)) == (0, []), path
