"""Godot players that do what a test orders, call by call: `scripts/puppet.gd`."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from relay.server import RelayServer
from tests.godot.engine import Godot, complaints
from tests.loopback.relays import running_relay

PATIENCE_S = 20.0
"""How long anything may take before a test fails: far longer than it ever takes."""
NOBODY = -1
Told = dict[str, Any]


class Puppet:
    """One player."""

    def __init__(self, stage: "Stage", number: int, options: tuple[str, ...]) -> None:
        self._orders = stage.folder / f"orders{number}"
        self._orders.touch()
        self.options = options
        self._num_ordered = 0
        arguments = (f"--orders={self._orders}", f"--port={stage.port}", *options)
        self._godot = Godot.start(
            stage.godot, stage.project, "puppet.gd", *arguments, seconds=120.0, data=stage.folder / "data"
        )

    def told(self, event: str, **fields: Any) -> list[Told]:
        """List what it has told under a name, with these values."""
        lines = self._godot.told(event)
        return [line for line in lines if all(line.get(name) == value for name, value in fields.items())]

    def events(self) -> list[str]:
        """List the names of all signals so far, in order."""
        return [line["event"] for line in self._godot.lines() if line["event"] not in ("result", "started")]

    async def hear(self, event: str, count: int = 1, seconds: float = PATIENCE_S, **fields: Any) -> Told:
        """Wait until it has told something so often. Returns: the newest of these lines."""
        await until(lambda: len(self.told(event, **fields)) >= count or not self.is_alive, seconds, self.log)
        lines = self.told(event, **fields)
        assert len(lines) >= count, (event, fields, self.log())
        return lines[-1]

    def order(self, name: str, *arguments: Any) -> None:
        """Let it call a method, and do not wait."""
        self._num_ordered += 1
        with self._orders.open("a") as file:
            file.write(json.dumps([name, *arguments]) + "\n")

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Let it call a method or read a property. Returns: the value."""
        self.order(name, *arguments)
        return (await self.hear("result", self._num_ordered))["value"]

    async def enter(self, method: str = "join_or_create_room", *arguments: Any) -> int:
        """Let it join. Returns: its player id."""
        already = len(self.told("joined"))
        self.order(method, *(arguments or ("LOBBY",)))
        return int((await self.hear("joined", already + 1))["player_id"])

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._godot.process.poll() is None

    def kill(self) -> None:
        """End it as a crash does: it can neither say goodbye nor write anything."""
        self._godot.kill()

    def log(self) -> str:
        """All that the engine and the script have printed, the last of it."""
        return self._godot.log[-3000:]

    def stop(self) -> None:
        """End it, and look into its log."""
        self._godot.stop()
        assert complaints(self._godot.log) == [], self._godot.log[-4000:]


class Stage:
    """A relay and the puppets on it."""

    def __init__(self, godot: str, project: Path, folder: Path, server: RelayServer) -> None:
        self.godot, self.project, self.folder, self.server = godot, project, folder, server
        self.port = server.address[1]
        self.puppets: list[Puppet] = []

    async def add(self, *options: str) -> Puppet:
        """Start one more, which has not joined yet."""
        puppet = Puppet(self, len(self.puppets), options)
        self.puppets.append(puppet)
        await puppet.hear("started")
        return puppet

    async def add_all(self, count: int, *options: str) -> list[Puppet]:
        """Start several and let them join one after the other."""
        puppets = [Puppet(self, len(self.puppets) + i, (*options, f"--name=P{i}")) for i in range(count)]
        self.puppets += puppets
        for puppet in puppets:
            await puppet.hear("started")
            await puppet.enter()
        return puppets


@asynccontextmanager
async def stage(godot: str, project: Path, folder: Path, **config: Any) -> AsyncIterator[Stage]:
    """Run a relay and puppets until the block ends."""
    async with running_relay(**config) as server:
        scene = Stage(godot, project, folder, server)
        try:
            yield scene
        finally:
            for puppet in scene.puppets:
                puppet.stop()


async def until(condition: Callable[[], bool], seconds: float, evidence: Callable[[], str]) -> None:
    """Wait until a condition holds, or fail with evidence."""
    end_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_at, evidence()
        await asyncio.sleep(0.02)
