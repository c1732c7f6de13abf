"""Which datagrams a capture takes: those of one room, or those of one seat.

A DATA or UPDATE names its session. A handshake does not say where it will lead until a JOIN names the room or a WELCOME
the session. So what came before is held back by its nonce, a bounded number of datagrams, and follows once it is known:
behind later datagrams of other players, who are not kept waiting for it. Each player's own stay in the order of time.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from protocol.constants import Kind
from relay.capture.fields import spans_of
from relay.columns import Bools
from relay.sessions import ROW_BITS
from relay.world import World

MAX_HELD = 256
"""Datagrams of handshakes that are held back; the oldest is forgotten (chosen)."""
MAX_NONCES = 1024
MAX_SESSIONS = 4096
"""Sessions of the room that are remembered, for BYE comes when its session is gone already; then it begins anew."""
_ROW_MASK = np.uint64((1 << ROW_BITS) - 1)
_HANDSHAKE = frozenset({Kind.HELLO, Kind.CHALLENGE, Kind.JOIN, Kind.REFUSE, Kind.REDIRECT})


class Held(NamedTuple):
    """A cold datagram that may turn out to be wanted."""

    nonce: bytes
    """Of its handshake, 8 bytes; fewer of a datagram that is cut."""
    payload: bytes
    """All of it, a copy."""
    address: npt.NDArray[np.uint32]
    """The player's, (7,)."""
    is_sent: bool
    """By the relay."""
    now: float
    """When it came or was sent, monotonic seconds."""


class Choice:
    """Decides datagram by datagram where it must, by columns where it can."""

    def __init__(self, world: World, room: bytes = b"", seat: int = 0) -> None:
        """Choose a room by its code, or a seat: 1 is the session with the first row of the table.

        Raises: ValueError unless exactly one is given.
        """
        if bool(room) == bool(seat):
            raise ValueError(f"room is {room!r} and seat {seat}; permitted: one of the two")
        self._world = world
        self._room = room
        self._row = np.uint64(max(0, seat - 1))
        self._sessions = np.zeros(0, np.uint64)
        self._nonces: dict[bytes, None] = {}
        self._held: deque[Held] = deque(maxlen=MAX_HELD)
        self.released: list[Held] = []
        """Datagrams held back earlier that are wanted after all, oldest first. Whoever captures takes them."""

    def of_sessions(self, ids: npt.NDArray[np.uint64]) -> Bools:
        """Tell which sessions are wanted, (n,)."""
        if not self._room:
            return (ids & _ROW_MASK) == self._row
        self._learn_members()
        return np.isin(ids, self._sessions)

    def _learn_members(self) -> None:
        joined = [session for room in self._world.rooms.with_code(self._room) for session in room.joined]
        if not joined:
            return
        present = self._world.sessions.table.id[joined]
        if not np.isin(present, self._sessions).all():
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions = present
            self._sessions = np.union1d(self._sessions, present)

    def wants_cold(self, payload: bytes, address: npt.NDArray[np.uint32], is_sent: bool, now: float) -> bool:
        """Tell whether a cold datagram is wanted as far as one can say now; if not, it may be held back."""
        kind = payload[0] if payload else 0
        # only what the datagram itself is of: a JOIN to come back names the session that it was
        own = [span for span in spans_of(payload) if span.path.count(".") == 1]
        spans = {span.path.rpartition(".")[2]: payload[span.start : span.stop] for span in own}
        nonce, session = spans.get("nonce", b""), spans.get("session", b"")
        if len(session) == 8:
            wanted = bool(self.of_sessions(np.frombuffer(session, np.uint64))[0])
        else:
            names_room = kind == Kind.JOIN and bool(self._room) and spans.get("code", b"").rstrip(b"\0") == self._room
            wanted = names_room or nonce in self._nonces
        if wanted and nonce:
            self._learn_nonce(nonce)
        elif not wanted and kind in _HANDSHAKE:
            self._held.append(Held(nonce, payload, address.copy(), is_sent, now))
        return wanted

    def _learn_nonce(self, nonce: bytes) -> None:
        if nonce in self._nonces:
            return
        if len(self._nonces) >= MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        self._nonces[nonce] = None
        self.released += [held for held in self._held if held.nonce == nonce]
        kept = [held for held in self._held if held.nonce != nonce]
        self._held.clear()
        self._held.extend(kept)
