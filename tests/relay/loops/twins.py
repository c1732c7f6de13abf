"""Two engines that are asked the same, one with columns and one with loops, and compared after every call.

`Twins` stands wherever an engine does: in the bench, in the simulator, in the fuzzers' arena. Whatever one of the two
sends, counts or remembers and the other does not is a `Difference`.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from relay.batch import Batch, Outgoing
from relay.columns import Columns
from relay.config import RelayConfig
from relay.engine import Engine
from relay.loops.stages import LoopStages
from relay.rooms import Room
from relay.stages import ColumnStages
from tests.relay.bench import SECRET, Bench

TOKENS_TOLERANCE = 1e-9
"""Budgets are spent one by one or all at once: floats differ by that, and by nothing else."""


class Difference(AssertionError):
    """The two engines do not agree."""


class Twins:
    """See the head of this module. What is asked of it and is not here is asked of the engine with columns."""

    def __init__(self, config: RelayConfig | None = None, seed: object = 1) -> None:
        self.columns, self.loops = (
            Engine(config or RelayConfig(), SECRET, Random(f"{seed}"), build) for build in (ColumnStages, LoopStages)
        )
        self.num_calls = 0

    def __getattr__(self, name: str) -> Any:
        """Ask the engine with columns: both have the same."""
        return getattr(self.columns, name)

    def each(self, act: Callable[[Engine], object]) -> None:
        """Do something to both, by hand."""
        for engine in (self.columns, self.loops):
            act(engine)
        self.compare("by hand")

    def receive(self, batch: Batch, now: float) -> None:
        """Let both receive a batch."""
        self.columns.receive(batch, now)
        self.loops.receive(batch, now)
        self.compare("receive")

    def flush(self, now: float) -> Outgoing:
        """Let both flush."""
        return self._same("flush", self.columns.flush(now), self.loops.flush(now))

    def tick(self, now: float, num_ticks: int = 1) -> Outgoing:
        """Let both tick."""
        return self._same("tick", self.columns.tick(now, num_ticks), self.loops.tick(now, num_ticks))

    def shutdown(self, now: float) -> Outgoing:
        """Let both say goodbye."""
        return self._same("shutdown", self.columns.shutdown(now), self.loops.shutdown(now))

    def _same(self, call: str, ours: Outgoing, theirs: Outgoing) -> Outgoing:
        """Compare what both send. Returns: one of them."""
        for number, (a, b) in enumerate(zip(ours.datagrams(), theirs.datagrams(), strict=False)):
            if a != b:
                raise Difference(self._text(call, f"datagram {number}", [(x.hex(), y.hex()) for x, y in (a, b)]))
        if (len(ours), ours.num_bytes()) != (len(theirs), theirs.num_bytes()):
            raise Difference(self._text(call, "datagrams", [len(ours), len(theirs)]))
        self.compare(call)
        return ours

    def compare(self, call: str) -> None:
        """Compare all that both remember. Raises: Difference."""
        self.num_calls += 1
        for (name, ours), theirs in zip(_plain_values(self.columns).items(), _plain_values(self.loops).values()):
            if ours != theirs:
                raise Difference(self._text(call, name, [ours, theirs]))
        for (name, ours), theirs in zip(_tables(self.columns).items(), _tables(self.loops).values()):
            self._compare_tables(call, name, ours, theirs)
        if call == "tick":
            arenas = [engine.world.log.arena.bytes.tobytes() for engine in (self.columns, self.loops)]
            if arenas[0] != arenas[1]:
                raise Difference(self._text(call, "bytes of the log", []))
            if self.columns.world.rng.getstate() != self.loops.world.rng.getstate():
                raise Difference(self._text(call, "random source", []))

    def _compare_tables(self, call: str, name: str, ours: Columns, theirs: Columns) -> None:
        for column in type(ours).COLUMNS:
            a, b = getattr(ours, column), getattr(theirs, column)
            if a.tobytes() == b.tobytes() or (column == "tokens" and np.allclose(a, b, rtol=0, atol=TOKENS_TOLERANCE)):
                continue
            if a.shape == b.shape and np.array_equal(a, b):
                continue  # 0.0 and -0.0
            where = np.argwhere(a != b)[:5].tolist() if a.shape == b.shape else [a.shape, b.shape]
            values = [x[tuple(where[0])] for x in (a, b)] if a.shape == b.shape else []
            raise Difference(self._text(call, f"{name}.{column} at {where}", values))

    def _text(self, call: str, what: str, values: list[Any]) -> str:
        return f"call {self.num_calls}, {call}: {what}: {values}"


def _plain_values(engine: Engine) -> dict[str, object]:
    """What an engine has beside its tables."""
    world = engine.world
    return {
        "dropped": +engine.stats.dropped,
        "counters": +engine.stats.counters,
        "events": [event.text for event in engine.events],
        "ticks": (world.tick, world.tick_before, world.tick_at),
        "live": world.sessions.live.tolist(),
        "quick": engine._quick_until,
        "news": world.log.has_news,
        "gauges": engine.gauges(),
        "hosts": world.hosts,
        "away": (world.away, world.lost_log, world.resumed),
        "rooms": {code: (room.host, *_belongings(room)) for code, room in world.rooms.by_code.items()},
    }


def _belongings(room: Room) -> tuple[object, ...]:
    known = room.belongings
    return known.properties.by_owner, known.kept.by_index, known.owners, known.is_locked


def _tables(engine: Engine) -> dict[str, Columns]:
    """All tables of an engine."""
    world = engine.world
    return {
        "sessions": world.sessions.table,
        "rooms": world.rooms.table,
        "members": world.rooms.members,
        "entities": world.entities.table,
        "states": world.entities.states,
        "pages": world.entities.pages,
        "seats": world.entities.seats,
        "entries": world.log.table,
        "held": world.intake.held,
    }


def twin_bench(now: float = 0.0, **settings: Any) -> Bench:
    """Build a bench whose engine is two."""
    bench = Bench(now, **settings)
    bench.engine = Twins(bench.engine.config)  # type: ignore[assignment]
    return bench
