"""All state of one relay in one object, which the stages and the cold paths share."""

from dataclasses import dataclass, field

from protocol.constants import Resumed
from relay.budgets import Budgets
from relay.config import RelayConfig
from relay.entities import Entities
from relay.log import Log
from relay.messages import MessageIntake
from relay.rooms import Rooms
from relay.sessions import Random, Sessions
from relay.signals import SignalRelay
from relay.stats import Stats


@dataclass(frozen=True)
class Event:
    """Something for the server's log: a room opened or closed."""

    text: str


@dataclass
class World:
    """Tables and counters. Made by `build_world`, changed by the engine's stages and by joining and leaving."""

    config: RelayConfig
    rng: Random
    sessions: Sessions
    rooms: Rooms
    entities: Entities
    log: Log
    intake: MessageIntake
    signals: SignalRelay
    budgets: Budgets
    stats: Stats
    tick: int = 0
    """Newest tick; 0 before the first."""
    tick_before: int = 0
    """The tick before it: a lower number than tick - 1 if ticks were left out."""
    tick_at: float = 0.0
    """When it was."""
    hosts: dict[bytes, int] = field(default_factory=dict)
    """Sessions per host, see `addresses.host_of`."""
    counted_host: dict[int, bytes] = field(default_factory=dict)
    """Session row -> host it is counted under: that of its JOIN, wherever it roams later."""
    away: dict[int, float] = field(default_factory=dict)
    """Session row -> since when the player is away."""
    lost_log: set[int] = field(default_factory=set)
    """Rows of players who are away and for whom no log entries are kept any more."""
    resumed: dict[int, Resumed] = field(default_factory=dict)
    """Row -> what WELCOME says of a resume; only of sessions that were resumed."""
    resume_budget: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Row -> (resumes left, when that was), of players who came back before."""
    events: list[Event] = field(default_factory=list)
    """For the server's log. Whoever runs the engine empties it."""

    @property
    def stamp(self) -> int:
        """Tick of the next snapshot: what every write is stamped with."""
        return self.tick + 1

    @property
    def period_s(self) -> float:
        """Time between two ticks."""
        return 1.0 / self.config.tick_rate

    def clock_ms(self, now: float) -> int:
        """Return server time in ms: that of the newest tick, and what has passed since (one period at most)."""
        since_s = min(max(now - self.tick_at, 0.0), self.period_s)
        return int((self.tick * self.period_s + since_s) * 1000)


def build_world(config: RelayConfig, rng: Random) -> World:
    """Make an empty relay."""
    return World(
        config=config,
        rng=rng,
        sessions=Sessions(rng),
        rooms=Rooms(),
        entities=Entities(),
        log=Log(config.log_memory_mib << 20),
        intake=MessageIntake(),
        signals=SignalRelay(),
        budgets=Budgets(config),
        stats=Stats(),
    )
