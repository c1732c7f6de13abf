"""What a source hands on: UDP datagrams, and the pairs of addresses between which they went."""

from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple


class Direction(Enum):
    """Which way a datagram went, seen from the players. The value is what people type and read."""

    UP = "up"
    """From a client to the relay."""
    DOWN = "down"
    """From the relay to a client."""
    UNKNOWN = "?"
    """Nothing tells which side is the relay."""


class Endpoint(NamedTuple):
    """One side of a datagram."""

    host: bytes
    """4 bytes of IPv4 or 16 of IPv6; empty where the source does not know."""
    port: int

    def __str__(self) -> str:
        """Write it as it is typed: 10.0.0.1:24545 or [::1]:24545; "-" where it is not known."""
        if not self.host:
            return "-"
        host = str(ip_address(self.host))
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


NOWHERE = Endpoint(b"", 0)
"""An end that the source does not know: in proxy mode all clients speak to one socket."""


class Flow:
    """All datagrams from one endpoint to another. One object per pair, so that what was learned is found at once."""

    __slots__ = ("direction", "is_ours", "relay", "source", "target", "tries")

    def __init__(self, source: Endpoint, target: Endpoint) -> None:
        self.source = source
        self.target = target
        self.direction = Direction.UNKNOWN
        self.relay: Endpoint = NOWHERE
        """Which of the two ends is the relay; NOWHERE until that is known."""
        self.is_ours = False
        """Whether it is known to be between a client and a relay."""
        self.tries = 0
        """Datagrams of it that were looked into, in vain, to find that out."""

    def learn(self, direction: Direction) -> None:
        """Note that this is traffic of a relay, and which way it goes."""
        self.is_ours = True
        self.direction = direction
        if direction is not Direction.UNKNOWN:
            self.relay = self.target if direction is Direction.UP else self.source


class Datagram(NamedTuple):
    """One UDP datagram that was seen."""

    number: int
    """Of the packet in its source, from 1; the last one if the datagram came in IP fragments."""
    time_s: float
    """When it was seen, seconds since 1970."""
    flow: Flow
    data: bytes
    """The payload, as far as the source has it."""
    missing_bytes: int = 0
    """Bytes that the capture cut off the end of `data` (its snap length)."""

    @property
    def size(self) -> int:
        """UDP payload as it was sent, bytes; `data` has less of it where the capture was cut."""
        return len(self.data) + self.missing_bytes
