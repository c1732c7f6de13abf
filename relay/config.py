"""What can be set, with unit, range, default and reason. Read by `tools/cli.py`, handed to the core as one object."""

import ast
import inspect
from dataclasses import dataclass, fields
from itertools import pairwise

from protocol.constants import MAX_PLAYERS_PER_ROOM, REGION_BYTES
from protocol.properties import is_label


@dataclass(frozen=True, kw_only=True)
class RelayConfig:
    """Limits and rates of one relay. Defaults suit a server with one core and 512 MB."""

    tick_rate: int = 30
    """Snapshots per second, 1 ... 240. 30 suits most games; cost grows in proportion.

    Above 100 only for round trips below 0.2 s: no more than 40 datagrams are ever under way to a client.
    """
    max_rooms: int = 1000
    """Rooms at one time, 1 ... 100,000."""
    max_players: int = 2000
    """Sessions at one time on the whole relay, 1 ... 100,000. A core carries about 8,000 at 30 Hz (design trial)."""
    max_room_players: int = 64
    """Upper limit of the max_players that a room's creator may ask for, 1 ... 256."""
    default_room_players: int = 16
    """max_players of a room whose creator did not say, 1 ... 256; no more than max_room_players."""
    max_sessions_per_host: int = 64
    """Sessions of one IPv4 address or IPv6 /64, 1 ... 100,000: a school class behind one NAT. Loopback is exempt."""
    timeout_s: float = 10.0
    """Silence after which a player is away, 2 ... 65 s. Long: a Godot client reads nothing while it loads a scene."""
    grace_s: float = 60.0
    """How long the place of a player is kept whose connection is lost, 0 ... 3,600 s; 0 = it leaves at once."""
    keepalive_s: float = 1.0
    """Longest silence of either side, 0.1 ... timeout_s / 2. Far below the 30 s after which a NAT forgets."""
    datagrams_per_s: int = 300
    """Datagrams per second of one session, 10 ... 65,535: ten times the default tick rate. Bursts of one second."""
    bytes_per_s: int = 200_000
    """Bytes per second of one session, 1,200 ... 2**31. Bursts of one second."""
    messages_per_s: int = 200
    """Log messages (and fragments) per second of one session, 1 ... 65,535. Bursts of one second."""
    signals_per_s: int = 300
    """Signals (and fragments) per second of one session, 1 ... 65,535. Bursts of one second."""
    client_bytes_per_s: int = 400_000
    """Bytes per second to one client, 10,000 ... 2**31: 3.2 Mbit/s, a slow home line."""
    state_memory_mib: int = 64
    """Memory for the tables of all rooms, 1 ... 65,536 MiB; a create beyond it is refused as SERVER_FULL."""
    log_memory_mib: int = 64
    """Memory for the entries of all logs, 1 ... 65,536 MiB; beyond it no message is accepted until some are read."""
    region: str = ""
    """Where the relay is, at most 16 bytes of UTF-8 such as eu-west: shown in PONG and in lists of rooms."""
    release: str = "0.1.0"
    """Shown in PONG and logs."""

    def __post_init__(self) -> None:
        """Check every range. Raises: ValueError naming field, value and permitted range."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; permitted: {low} to {high}")
        if not is_label(self.region.encode(), REGION_BYTES):
            raise ValueError(
                f"region is {self.region!r}; permitted: at most {REGION_BYTES} bytes, no control characters"
            )
        if self.keepalive_s > self.timeout_s / 2:
            raise ValueError(
                f"keepalive_s is {self.keepalive_s}; permitted: 0.1 to timeout_s / 2 ({self.timeout_s / 2})"
            )


RANGES: dict[str, tuple[float, float]] = {
    "tick_rate": (1, 240),
    "max_rooms": (1, 100_000),
    "max_players": (1, 100_000),
    "max_room_players": (1, MAX_PLAYERS_PER_ROOM),
    "default_room_players": (1, MAX_PLAYERS_PER_ROOM),
    "max_sessions_per_host": (1, 100_000),
    "timeout_s": (2, 65),
    "grace_s": (0, 3_600),
    "keepalive_s": (0.1, 32.5),
    "datagrams_per_s": (10, 65_535),
    "bytes_per_s": (1_200, 2**31),
    "messages_per_s": (1, 65_535),
    "signals_per_s": (1, 65_535),
    "client_bytes_per_s": (10_000, 2**31),
    "state_memory_mib": (1, 65_536),
    "log_memory_mib": (1, 65_536),
}
"""Permitted range of every number, both ends included."""


def documented_fields() -> list[tuple[str, object]]:
    """List (name, default) of every setting, in order."""
    return [(field.name, field.default) for field in fields(RelayConfig)]


def field_docs() -> dict[str, str]:
    """Read what stands under each field of RelayConfig, so that `--help` says it in the same words."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(RelayConfig)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(str(doc.value.value).split())
        for field, doc in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
    }
