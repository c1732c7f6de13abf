"""Players on their way in: handshakes by `ClientConnection`, a bounded number at a time."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from protocol import dtypes
from protocol.client import ClientConnection, ClientState, Disconnected, JoinMode, JoinRequest, Refused
from protocol.constants import Kind
from tools.load.histogram import Histogram
from tools.load.plan import Plan

MAX_AT_ONCE = 256
"""Handshakes under way: what the relay cannot answer now waits here and not in its socket (chosen)."""
DEADLINE_S = 15.0
"""An attempt that takes longer has failed."""
AGAIN_S = 1.0
"""A player whose attempt failed makes another after this."""
NO_ANSWER = f"no answer within {DEADLINE_S:g} s"
COLD_KINDS = frozenset({int(Kind.CHALLENGE), int(Kind.WELCOME), int(Kind.REFUSE)})
"""What answers a handshake."""


@dataclass
class _Attempt:
    player: int
    connection: ClientConnection
    nonce: int
    began: float
    welcome: Any = None


class Joining:
    """Everybody who wants in and is not in yet."""

    def __init__(self, plan: Plan, rng: Random, send: Callable[[int, bytes], None]) -> None:
        """Begin with nobody. `send(player, datagram)` sends."""
        self._plan = plan
        self._rng = rng
        self._send = send
        self._waiting: list[tuple[float, int]] = []  # not before, player
        self._attempts: dict[int, _Attempt] = {}  # nonce -> attempt
        self._allowance = 0.0
        self._topped_up_at = 0.0
        self.refusals: Counter[str] = Counter()
        """Text of a refusal, or NO_ANSWER -> how often."""
        self.times = Histogram()
        """From HELLO to WELCOME."""

    @property
    def num_waiting(self) -> int:
        """Players who are not in yet."""
        return len(self._waiting) + len(self._attempts)

    def want(self, player: int, not_before: float) -> None:
        """Put a player in the queue."""
        self._waiting.append((not_before, player))

    def step(self, now: float) -> None:
        """Begin handshakes that are due, and send what those under way have to say."""
        plan = self._plan
        elapsed = now - self._topped_up_at if self._topped_up_at else 0.0
        self._topped_up_at = now
        self._allowance = min(self._allowance + elapsed * plan.join_rate, max(1.0, plan.join_rate / 10))
        ready = [entry for entry in self._waiting if entry[0] <= now]
        ready = ready[: min(MAX_AT_ONCE - len(self._attempts), int(self._allowance))]
        if ready:
            self._allowance -= len(ready)
            begun = set(ready)
            self._waiting = [entry for entry in self._waiting if entry not in begun]
        for _, player in ready:
            self._begin(player, now)
        for attempt in list(self._attempts.values()):
            if attempt.connection.next_poll_at() <= now:
                self._poll(attempt, now)

    def _begin(self, player: int, now: float) -> None:
        plan = self._plan
        request = JoinRequest(
            mode=JoinMode.JOIN_OR_CREATE,
            code=f"{plan.code}-{player // plan.players}",
            name=f"player {player}",
            max_players=plan.seats,
            max_state_bytes=plan.habits.state_bytes,
            deadline_s=DEADLINE_S,
        )
        nonce = self._rng.getrandbits(64)
        attempt = _Attempt(player, ClientConnection(request, nonce=nonce, now=now), nonce, now)
        self._attempts[nonce] = attempt
        self._poll(attempt, now)

    def _poll(self, attempt: _Attempt, now: float) -> None:
        for datagram in attempt.connection.poll(now):
            self._send(attempt.player, datagram)
        if attempt.connection.state is ClientState.CLOSED:
            self._fail(attempt, now)

    def _fail(self, attempt: _Attempt, now: float) -> None:
        for event in attempt.connection.take_events():
            if isinstance(event, Refused):
                self.refusals[event.text] += 1
            elif isinstance(event, Disconnected):
                self.refusals[NO_ANSWER] += 1
        del self._attempts[attempt.nonce]
        self.want(attempt.player, now + AGAIN_S)

    def player_of(self, data: bytes) -> int | None:
        """Tell whose handshake a datagram answers."""
        attempt = self._attempts.get(int.from_bytes(data[2:10], "little"))
        return None if attempt is None else attempt.player

    def handle(self, data: bytes, now: float) -> tuple[int, Any] | None:
        """Take CHALLENGE, WELCOME or REFUSE. Returns: (player, fields of WELCOME) when somebody is in."""
        attempt = self._attempts.get(int.from_bytes(data[2:10], "little"))
        if attempt is None:
            return None
        attempt.connection.receive(data, now)
        if attempt.connection.state is ClientState.JOINED:
            del self._attempts[attempt.nonce]
            self.times.add_one(now - attempt.began)
            return attempt.player, dtypes.WELCOME_FIELDS.decode(data)
        self._poll(attempt, now)
        return None


def made_up_welcome(plan: Plan, player: int, tick_rate: int) -> Any:
    """Make up what a relay would have said, for the floor, which knows no handshake."""
    habits = plan.habits
    slots = 2 * plan.players
    return dtypes.WELCOME_FIELDS.tuple(
        **dict.fromkeys(dtypes.WELCOME_FIELDS.tuple._fields, 0)
        | {
            "secret": bytes(16),
            "reset_token": bytes(16),
            "code": bytes(16),
            "session": player + 1,
            "player_id": player % plan.players,
            "player_slots": slots,
            "max_players": plan.players,
            "entities_per_player": 1,
            "max_state_bytes": habits.state_bytes,
            "page_ids": dtypes.page_ids(habits.state_bytes),
            "tick_rate": tick_rate,
            "message_credit": 32,
            "keepalive_ms": 1000,
            "timeout_ms": 10_000,
        }
    )
