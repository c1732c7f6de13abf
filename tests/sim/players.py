"""A world's players, and the room that they meet in."""

import math
from dataclasses import dataclass

from protocol.client import ClientConnection, ResumeToken
from relay.addresses import pack_address
from tests.sim.lives import Life
from tests.sim.network import Conditions, Link


@dataclass(frozen=True, kw_only=True)
class RoomShape:
    """Options of the room that all players of a world meet in."""

    code: str = "SIMULATED"
    max_players: int = 16
    entities_per_player: int = 4
    max_state_bytes: int = 48
    anyone_sets: bool = False
    """Every player may set the room's properties."""
    num_identities: int = 0
    """So many machines the players sit at, those at one with one identity; 0: each has its own."""


LASTING_ROOM = RoomShape(anyone_sets=True, num_identities=5)
"""A room in which what the server keeps can be changed by all; some of eight players share a machine."""


class Player:
    """One player: its address, its links, and at most one connection that it plays with."""

    def __init__(self, number: int, seed: object, conditions: Conditions) -> None:
        self.number = number
        self.name = f"player {number}"
        self.up = Link(f"{seed} up {number}", conditions)
        self.down = Link(f"{seed} down {number}", conditions)
        self.address = pack_address(f"10.0.{number}.1", 40_000)
        self.num_moves = 0
        self.connection: ClientConnection | None = None
        self.life: Life | None = None
        self.frozen_until = 0.0
        self.socket_buffer: list[bytes] = []
        self.rejoin_at: float | None = None
        self.resume_at: float | None = None
        """When its process is started again, to come back by `token`."""
        self.poll_at: float | None = None
        self.token: ResumeToken | None = None
        """What its last process has saved."""
        self.old_tokens: list[ResumeToken] = []
        """Tokens of sessions that were resumed."""
        self.identity = b""
        self.lost_until = -math.inf
        """Nothing passes between it and the server until then."""
        self.absent_since = -math.inf
        """Since then nothing comes from it, or it tries to come back."""
        self.absent_until = -math.inf
        self.bytes_up = 0
        """Payload bytes that it sent."""
        self.bytes_down = 0
        """Payload bytes that the server sent to it, lost ones too."""
        self.datagrams_down = 0

    @property
    def playing(self) -> Life | None:
        """Its life, if that is joined and has not ended."""
        return self.life if self.life is not None and self.life.alive else None
