"""The room's clock as a client sees it (SPEC 5, Clock)."""

import math

WINDOW_S = 4.0
"""The best sample of the last one to two windows counts: long enough for a lucky packet, short enough to follow a
drift of 50 ppm (0.4 ms in 8 s). Chosen, not measured."""


class ServerClock:
    """Estimates server time from the ticks that arrive.

    A tick is seen late by its way through the network and by its wait at the server, never early. So the sample with
    the largest `tick / tick_rate - arrival` is the least delayed.
    """

    def __init__(self, tick_rate: int, now: float) -> None:
        self._tick_rate = tick_rate
        self._best_s = -math.inf
        self._previous_best_s = -math.inf
        self._window_ends_at = now + WINDOW_S

    def add(self, tick: int, now: float) -> None:
        """Take the tick of a datagram that arrived `now` (monotonic seconds)."""
        if now >= self._window_ends_at:
            self._previous_best_s = self._best_s
            self._best_s = -math.inf
            self._window_ends_at = now + WINDOW_S
        self._best_s = max(self._best_s, tick / self._tick_rate - now)

    def server_time(self, now: float, rtt_s: float) -> float:
        """Estimate the server's time, seconds since its tick 0. It may step back by a few ms when the path changes."""
        return now + max(self._best_s, self._previous_best_s) + rtt_s / 2
