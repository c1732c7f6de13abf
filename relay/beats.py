"""When the server works, and how busy it is. Pure arithmetic; `now` is monotonic seconds.

A **beat** is when the server reads its socket and sends; every tick is a beat. Below 20 ticks/s there are beats between
the ticks, so that acks keep their 50 ms (SPEC 5).
"""

import math

MIN_BEATS_PER_S = 20
"""ACK_WITHIN_S is 50 ms."""
BUSY_LOAD = 0.4
"""Share of its time from which the server gathers all work into the beats: 4,000 players with states on one core of the
machine that the benchmark's tables are from, where messages between beats would cost half as much again."""
SMOOTHING_S = 0.5
"""Time over which the load is averaged: longer than a burst, shorter than a player's patience (chosen)."""

LEAST_WINDOW_S = 0.004
"""Least time between two drains while events flow: 250 wake-ups/s at most, and a delay that no player feels."""
WINDOW_GAIN = 1 / 16
"""Part of the excess of datagrams by which the window changes in a tick: half a second to follow a game (chosen)."""
EARLY_SHARE = 0.25
"""Share of the time that passes between beats may take while there is nothing else to do (chosen)."""
MAX_EARLY_S = 0.020
"""What such a pass counts at most: if the machine stood still, that says nothing about the next (chosen)."""
EARLY_GAIN = 1 / 8
EARLY_DECAY = 1 / 64
"""Smoothing of what such a pass takes; and how much is taken off at every tick, so that after a time in which all was
left to the beats early ones are tried again (chosen: about two seconds at 30 Hz)."""
MAX_EXCESS = 4.0
"""What counts of the excess at most: a burst of one tick must not decide alone (chosen)."""


class Beats:
    """Deadlines without drift: beat n is due at start + n x period, however late the ones before it were."""

    def __init__(self, tick_rate: int, start: float) -> None:
        """Plan the first beat one period after `start`. `tick_rate` in ticks per second."""
        self.beats_per_tick = math.ceil(MIN_BEATS_PER_S / tick_rate)
        self.period_s = 1.0 / (tick_rate * self.beats_per_tick)
        self.tick_overruns = 0
        """Ticks left out because the server was late by more than a period."""
        self._start = start
        self._number = 0

    @property
    def next_at(self) -> float:
        """When the next beat is due."""
        return self._start + (self._number + 1) * self.period_s

    def begin(self, now: float) -> int:
        """Begin the beat that is due, leaving out those missed.

        Returns: how many ticks are due: 0 none, 2 or more if ticks were missed, which one tick then stands for.

        A call a little early (timers of some loops have steps of 1 ms) begins the next beat all the same.
        """
        due = max(self._number + 1, math.floor((now - self._start) / self.period_s))
        num_ticks = due // self.beats_per_tick - self._number // self.beats_per_tick
        self._number = due
        self.tick_overruns += max(0, num_ticks - 1)
        return num_ticks


class EventWindow:
    """How long events are gathered before they are sent on between two beats. The more there is to do, the longer.

    - Sends between beats add no more than one datagram per player and tick. A game that sends nothing but events would
      have every drain send a datagram to nearly every player: eight a tick where two carry the same.
    - What is done between beats takes no more than a share of the time, which falls to nothing at BUSY_LOAD. Many
      players then cost little more with events than without; and nobody waits while there is time to spare.
    """

    def __init__(self, beat_s: float) -> None:
        """Start with the shortest window. `beat_s`: period of the beats."""
        self._most_s = max(LEAST_WINDOW_S, beat_s / 2)
        self._gather_s = LEAST_WINDOW_S
        self._early_s = 0.0

    def on_early(self, took_s: float) -> None:
        """Note how long a pass between beats took, with all that it caused."""
        self._early_s += (min(took_s, MAX_EARLY_S) - self._early_s) * EARLY_GAIN

    def close_tick(self, num_early: int, num_players: int) -> None:
        """Adapt to the newest tick, in which `num_early` datagrams were sent between beats."""
        excess = min(num_early / max(1, num_players) - 1.0, MAX_EXCESS)
        self._gather_s = min(max(self._gather_s * (1.0 + WINDOW_GAIN * excess), LEAST_WINDOW_S), self._most_s)
        self._early_s -= self._early_s * EARLY_DECAY

    def seconds(self, load: float) -> float | None:
        """Tell the least time between two drains while events flow; None: all is left to the beats."""
        share = EARLY_SHARE * (1.0 - load / BUSY_LOAD)
        return max(self._gather_s, self._early_s * (1.0 / share - 1.0)) if share > 0.0 else None


class LoadMeter:
    """The share of its time that the server spends working."""

    def __init__(self, now: float) -> None:
        """Start idle."""
        self.load = 0.0
        """Working time / time, averaged over SMOOTHING_S. 1 = not a moment of rest."""
        self.tick_s = 0.0
        """How long the newest tick took, receiving what waited and sending included."""
        self._work_s = 0.0
        self._since = now

    def add_work(self, seconds: float) -> None:
        """Add time spent working since the last `close_tick`."""
        self._work_s += seconds

    def close_tick(self, now: float, tick_s: float) -> None:
        """Average in what was added since the last call."""
        elapsed = now - self._since
        if elapsed > 0.0:
            share = self._work_s / elapsed
            self.load += (share - self.load) * (1.0 - math.exp(-elapsed / SMOOTHING_S))
        self.tick_s = tick_s
        self._since = now
        self._work_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether everything should wait for the beats."""
        return self.load > BUSY_LOAD

    @property
    def percent(self) -> int:
        """The load for PONG, 0 ... 100."""
        return min(100, round(self.load * 100))
