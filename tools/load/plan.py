"""What a load is to do, as one object: made from the options, read by everything else."""

from dataclasses import dataclass, field
from enum import Enum

from protocol.constants import MAX_FRAGMENT_BYTES, MAX_PLAYERS_PER_ROOM, MAX_STATE_BYTES
from tools.lag.conditions import Path
from tools.load.audience import Aim
from tools.load.claims import CLAIM_BYTES
from tools.load.uplink import Habits

SPARE_SEATS = 2
"""Times as many seats as players in rooms with churn: a crashed player holds its seat for a while."""
LONGEST_DELAY_S = 1.0
"""What a network without conditions may delay a datagram at most, before a tick is judged (chosen)."""


class Movement(Enum):
    """How players move."""

    STILL = "still"
    """They stand where they joined: one state each."""
    WALK = "walk"
    """Each walks and rests in turn, some seconds each."""
    ALL = "all"
    """Everybody moves all the time."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run of the load generator."""

    host: str = "127.0.0.1"
    port: int = 0
    rooms: int = 1
    players: int = 8
    """Per room."""
    rate: float = 30.0
    """States per second of a player who moves; also how often it sends what waits. 0.1 ... 240."""
    state_bytes: int = 24
    """0 = no states."""
    message_bytes: int = 32
    signal_bytes: int = 32
    messages: float = 1.0
    """Per player and second."""
    signals: float = 1.0
    """Per player and second."""
    aim: Aim = Aim.MIXED
    movement: Movement = Movement.ALL
    duration_s: float = 10.0
    warm_up_s: float = 2.0
    join_rate: float = 500.0
    """Joins per second."""
    per_socket: int = 16
    """Players who share a socket, and so an address."""
    leaves: float = 0.0
    """Players of the whole load who leave and join again, per second."""
    crashes: float = 0.0
    """Players who fall silent without a word and join again, per second."""
    moves: float = 0.0
    """Sockets that get another port, per second: everybody on one changes address."""
    paths: tuple[tuple[float, Path], ...] = ()
    """Network conditions: share of the players, path."""
    settle_s: float = 10.0
    """Longest wait for quiet after the load stopped."""
    seed: int = 1
    floor: bool = False
    """There is no handshake: what is loaded is the floor of the bench."""
    code: str = "LOAD"
    """Rooms' codes begin with it."""
    settings: dict[str, object] = field(default_factory=dict)
    """The options as given, for the report."""

    def __post_init__(self) -> None:
        """Check every range. Raises: ValueError naming field, value and permitted range."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; permitted: {low} to {high}")
        if 0 < self.state_bytes < CLAIM_BYTES:
            raise ValueError(f"state_bytes is {self.state_bytes}; permitted: 0, or {CLAIM_BYTES} to {MAX_STATE_BYTES}")

    @property
    def num_players(self) -> int:
        """Players of all rooms together."""
        return self.rooms * self.players

    @property
    def has_churn(self) -> bool:
        """Whether players come and go during the load."""
        return self.leaves > 0 or self.crashes > 0

    @property
    def seats(self) -> int:
        """Players that each room is opened for."""
        return min(MAX_PLAYERS_PER_ROOM, self.players * (SPARE_SEATS if self.has_churn else 1))

    @property
    def habits(self) -> Habits:
        """What players send."""
        return Habits(self.players, max(self.state_bytes, CLAIM_BYTES), self.message_bytes, self.signal_bytes, self.aim)

    @property
    def longest_delay_s(self) -> float:
        """After this nothing of a tick can still arrive."""
        ways = (way for _, path in self.paths for way in (path.up, path.down))
        return LONGEST_DELAY_S + max(((way.latency_ms + 8 * way.jitter_ms) / 1000 for way in ways), default=0.0)


RANGES: dict[str, tuple[float, float]] = {
    "port": (1, 65_535),
    "rooms": (1, 100_000),
    "players": (1, MAX_PLAYERS_PER_ROOM),
    "rate": (0.1, 240),
    "state_bytes": (0, MAX_STATE_BYTES),
    "message_bytes": (CLAIM_BYTES, MAX_FRAGMENT_BYTES),
    "signal_bytes": (CLAIM_BYTES, MAX_FRAGMENT_BYTES),
    "messages": (0, 1000),
    "signals": (0, 1000),
    "duration_s": (0.1, 86_400),
    "warm_up_s": (0, 600),
    "join_rate": (0.1, 100_000),
    "per_socket": (1, 10_000),
    "leaves": (0, 10_000),
    "crashes": (0, 10_000),
    "moves": (0, 10_000),
    "settle_s": (0, 600),
    "seed": (0, 2**32 - 1),
}
"""Permitted range of every number, both ends included."""
