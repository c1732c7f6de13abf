"""What is measured: one `Spec` per row, and which of them belong to which run.

Compared are always the same shapes: players, rooms, rates and sizes. In every row with states each player changes all
its bytes in every tick. Rows of one shape stand side by side, so that what the machine does meanwhile (another guest on
the same host, say) changes a ratio as little as may be.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

STATE_BYTES = 24
"""A position, a velocity: what the design's figures were measured with."""
PER_ROOM = 8
TICK_RATE = 30
DURATION_S = 10.0
"""Measured after the warm-up. CPU times are exact to far below a percent over that; what varies is the machine."""

START_S = 2.5
"""Planned for starting relay and load: two Python processes with numpy (about a second each)."""
END_S = 1.5
"""Planned for the load's last look at all tables, and for ending both."""
JOINS_PER_S = 1500
"""Asked of the load; a relay takes at most 2,000 HELLO a second (SPEC 12)."""
PLANNED_JOINS_PER_S = 1000
"""What is planned for it."""
SPREAD = "latency=20,jitter=40,loss=2"
"""Mostly 20 to 150 ms each way, for jitter is a mean: acknowledgements out of step, which loopback hides."""
MAX_DEFAULT_S = 240.0
"""A run without options takes at most this long."""


class Name(StrEnum):
    """Who serves."""

    FLOOR = "floor"
    COMPILED = "compiled"
    BATCH = "batch"
    UVLOOP = "uvloop"
    ASYNCIO = "asyncio"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One row. Rates are per player and second."""

    name: Name
    players: int
    """At least this many: the last room is filled up."""
    per_room: int = PER_ROOM
    tick_rate: int = TICK_RATE
    state_rate: int = TICK_RATE
    """States published, 0 for none."""
    state_bytes: int = STATE_BYTES
    messages: int = 0
    signals: int = 0
    payload_bytes: int | None = None
    """Of each message and signal; None leaves it to the load."""
    aim: str = "mixed"
    """Whom words are for, see `tools.load.audience.Aim`."""
    joins_per_s: int = 0
    """Players who leave and join again meanwhile, of all together per second."""
    weather: str = ""
    """Network conditions of all players, as for `tickrelay lag`."""
    title: str = ""
    """What the shape stands for; empty for the plain one."""
    duration_s: float = DURATION_S

    @property
    def num_rooms(self) -> int:
        """Rooms, the last one filled up."""
        return math.ceil(self.players / self.per_room)

    @property
    def is_idle(self) -> bool:
        """Whether nobody sends anything but keepalives."""
        return not (self.state_rate or self.messages or self.signals or self.joins_per_s)

    @property
    def shape(self) -> str:
        """Everything but who serves, players and the plain values, in words; empty for the plain shape."""
        if self.title:
            return self.title
        words = [f"rooms of {self.per_room}"] if self.per_room != PER_ROOM else []
        if self.tick_rate != TICK_RATE:
            words.append(f"{self.tick_rate} Hz")
        return ", ".join(words)

    @property
    def warm_up_s(self) -> float:
        """While thousands join they are slowed down; this long until all are at full rate."""
        return 2.0 + min(1.0, self.players / 4000)

    @property
    def has_words(self) -> bool:
        """Whether anybody sends messages or signals."""
        return bool(self.messages or self.signals)

    def floor(self) -> "Spec":
        """Return the floor's row of the same shape. It has no weather: it resends nothing, so loss makes it cheaper."""
        return replace(self, name=Name.FLOOR, weather="", title="" if self.weather else self.title)


def has_floor(spec: Spec) -> bool:
    """Tell whether the floor can do that: states, or as many bytes as a relay sent of words; and nobody leaves."""
    return bool(spec.state_rate) != spec.has_words and not spec.joins_per_s


def default_specs() -> list[Spec]:
    """List the rows of a run without options."""
    small = [Spec(name=name, players=players) for players in (64, 500) for name in Name]
    return small + [Spec(name=name, players=4000) for name in (Name.FLOOR, Name.COMPILED)]


def full_specs() -> list[Spec]:
    """List the rows of `--full`.

    Words and weather have as many players as one load can play on one core: with more it is the load that is measured.
    """
    with_floor = [
        Spec(name=Name.COMPILED, players=1000),
        Spec(name=Name.COMPILED, players=8000, tick_rate=10, state_rate=10),
        Spec(name=Name.COMPILED, players=2000, per_room=2),
        Spec(name=Name.COMPILED, players=64, per_room=64),
        Spec(name=Name.COMPILED, players=2000),
        Spec(name=Name.COMPILED, players=3000),
    ]
    # the floor sends what the relay has sent, so it comes behind it
    words = [
        Spec(
            name=Name.COMPILED,
            players=players,
            state_rate=0,
            messages=2,
            signals=30,
            payload_bytes=64,
            aim="others",
            title="30 signals/s, 2 messages/s, no states",
        )
        for players in (1000, 2000)
    ]
    others = [
        *[Spec(name=Name.BATCH, players=players) for players in (2000, 4000)],
        Spec(name=Name.UVLOOP, players=2000),
        Spec(name=Name.COMPILED, players=1000, messages=5, title="5 messages/s"),
        Spec(name=Name.COMPILED, players=3000, messages=5, title="5 messages/s"),
        Spec(name=Name.COMPILED, players=1000, weather=SPREAD, title="20-150 ms, 2 % loss"),
        Spec(name=Name.COMPILED, players=4000, joins_per_s=2000, title="2,000 joins/s"),
    ]
    pairs = [row for spec in with_floor for row in (spec.floor(), spec)]
    pairs += [row for spec in words for row in (spec, spec.floor())]
    return default_specs() + pairs + others + idle_specs()


def idle_specs() -> list[Spec]:
    """List the rows of `--idle`: players that only say that they are there, and a relay without any."""
    return [
        Spec(name=Name.COMPILED, players=1000, state_rate=0, title="idle players"),
        Spec(name=Name.COMPILED, players=0, state_rate=0, title="idle server"),
    ]


def planned_s(spec: Spec) -> float:
    """Tell how long a row should take."""
    return START_S + spec.players / PLANNED_JOINS_PER_S + spec.warm_up_s + spec.duration_s + END_S


def planned_total_s(specs: list[Spec], rounds: int) -> float:
    """Tell how long a run should take."""
    return rounds * sum(planned_s(spec) for spec in specs)
