"""When the server works, and how busy it is. Pure arithmetic; `now` is monotonic seconds.

A **beat** is when the server reads its socket and sends; every tick is a beat. Below 20 ticks/s there are beats between
the ticks, so that acks keep their 50 ms (SPEC 5).
"""

import math

MIN_BEATS_PER_S = 20
"""ACK_WITHIN_S is 50 ms."""
BUSY_LOAD = 0.7
"""Share of its time from which the server gathers all work into the beats (chosen; the rest is for bursts)."""
SMOOTHING_S = 0.5
"""Time over which the load is averaged: longer than a burst, shorter than a player's patience (chosen)."""


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
