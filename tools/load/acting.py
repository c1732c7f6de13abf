"""Who does what when: each player's own ticks, walks and rests, messages and signals. Seeded."""

import numpy as np

from protocol.constants import Target
from relay.columns import Bools, Ints
from tools.load.claims import Use
from tools.load.crowd import Crowd
from tools.load.plan import Movement, Plan
from tools.load.uplink import audience_of

WALK_S = (1.0, 5.0)
"""How long a player walks, and rests, drawn anew each time (chosen: what players of a small map do)."""
SPREAD = (0.5, 1.5)
"""The wait for the next message is this share of the mean, drawn anew each time."""
MAX_BEHIND = 4
"""Messages or signals that one player catches up with in a pass, if the generator was late."""


class Acting:
    """When each life does the next thing. Axis: lives."""

    def __init__(self, plan: Plan, crowd: Crowd, rng: np.random.Generator) -> None:
        """Begin with nobody."""
        self._plan = plan
        self._crowd = crowd
        self._rng = rng
        self._tick_at = np.zeros(0)
        self._say_at = np.zeros(0)
        self._signal_at = np.zeros(0)
        self._turn_at = np.zeros(0)
        self._walks = np.zeros(0, np.bool_)
        self._present = np.zeros((plan.rooms, crowd.shape.player_slots), np.bool_)
        self.late_ticks = 0
        """Ticks of players that were left out, because this process was late by more than one."""
        self.signals_expected = 0
        """Players who should catch the signals sent so far."""

    def begin(self, row: int, now: float) -> None:
        """Let a player who has joined begin at a moment of its own within a tick."""
        if row >= len(self._tick_at):
            grown = max(64, 2 * row + 1)
            for name in ("_tick_at", "_say_at", "_signal_at", "_turn_at", "_walks"):
                old = getattr(self, name)
                new = np.zeros(grown, old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
        people = self._crowd.people
        self._present[people.room[row], people.player_id[row]] = True
        chance = self._rng.random(5)
        self._tick_at[row] = now + chance[0] / self._plan.rate
        self._say_at[row] = now + chance[1] / self._plan.messages if self._plan.messages else np.inf
        self._signal_at[row] = now + chance[2] / self._plan.signals if self._plan.signals else np.inf
        self._walks[row] = chance[3] < 0.5
        self._turn_at[row] = now + chance[4] * WALK_S[1]
        if self._plan.state_bytes:
            self._crowd.publish(np.array([row]), now)

    def end(self, row: int) -> None:
        """A life is over."""
        people = self._crowd.people
        self._present[people.room[row], people.player_id[row]] = False

    def step(self, now: float, is_loading: bool) -> Ints:
        """Let everybody whose tick it is do what they do. Returns: their rows; they send now."""
        living = self._crowd.people.living
        rows = living[self._tick_at[living] <= now]
        period = 1.0 / self._plan.rate
        self._tick_at[rows] += period
        behind = self._tick_at[rows] <= now
        if behind.any():
            late = rows[behind]
            missed = np.floor((now - self._tick_at[late]) / period) + 1
            self.late_ticks += int(missed.sum())
            self._tick_at[late] += missed * period
        if is_loading and len(rows):
            self._move(rows, now)
            self._speak(rows, now)
        return rows

    def _move(self, rows: Ints, now: float) -> None:
        if not self._plan.state_bytes or self._plan.movement is Movement.STILL:
            return
        if self._plan.movement is Movement.WALK:
            rows = rows[self._walking(rows, now)]
        self._crowd.publish(rows, now)

    def _walking(self, rows: Ints, now: float) -> Bools:
        turning = rows[self._turn_at[rows] <= now]
        self._walks[turning] = ~self._walks[turning]
        self._turn_at[turning] = now + self._rng.uniform(*WALK_S, len(turning))
        return self._walks[rows]

    def _speak(self, rows: Ints, now: float) -> None:
        for at, rate, do in (
            (self._say_at, self._plan.messages, self._crowd.say),
            (self._signal_at, self._plan.signals, self._signal),
        ):
            if not rate:
                continue
            for _ in range(MAX_BEHIND):
                due = rows[at[rows] <= now]
                if not len(due):
                    break
                do(due, now)
                at[due] += self._rng.uniform(*SPREAD, len(due)) / rate
            at[rows] = np.maximum(at[rows], now - 1.0 / rate)

    def _signal(self, rows: Ints, now: float) -> None:
        self._crowd.signal(rows, now)
        people = self._crowd.people
        audience = audience_of(self._crowd.habits, Use.SIGNAL, rows, people.signalled[rows], people.player_id[rows])
        present = self._present[people.room[rows]]
        everybody = present.sum(axis=1)
        first = present[np.arange(len(rows)), audience.first]
        second = present[np.arange(len(rows)), audience.second] & (audience.second != audience.first)
        target = audience.target
        expected = np.select(
            [target == Target.ALL, target == Target.ALL_BUT, target == Target.ONE],
            [everybody, everybody - first, first],
            first.astype(np.int64) + second,
        )
        self.signals_expected += int(expected.sum())
