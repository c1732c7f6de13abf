"""When to read the socket: wake-ups moderated like those of a network card.

A loop that wakes for every datagram pays 42 to 200 us per player and tick on a virtual machine with idle cores, and a
receive pass costs about the same for 8 datagrams as for 80 (design trials, 64 players). So what arrives is gathered:

- **Only state flows:** it waits for the next beat of the server anyway, which drains the socket first. The socket does
  not wake the loop at all; a timer drains it earlier if it could be a quarter full by then.
- **Events flow** (a message, a signal or a join within the last second) **or nothing flowed until now:** the socket
  wakes the loop, and drains are at least a window apart that the receiver sets (`beats.EventWindow`). The first
  datagram after a pause is read at once.

Pure arithmetic: no clock, no socket. "Fill" is in whatever unit the transport's buffer has: bytes or rows.
"""

FILL_SHARE = 0.25
"""Share of the buffer that may fill before an early drain; the rest is for a burst that the estimate did not see."""
MIN_SAMPLE_S = 0.005
"""The rate is measured over this time or more: between two drains a moment apart there is nothing to measure."""
BEAT_SLACK_S = 0.001
"""A drain planned for this time before a beat, or later, is left to the beat: timers of uvloop have 1 ms steps."""


class Moderation:
    """Decides when a transport drains its socket. One per socket."""

    def __init__(self, capacity: int, now: float) -> None:
        """Start with nothing flowing. `capacity` is the size of the buffer that must not overflow."""
        self._early_fill = capacity * FILL_SHARE
        self._last_drain = float("-inf")
        self._sample_start = now
        self._sample_fill = 0
        self.fill_per_s = 0.0
        """Rate at which the buffer fills, from the last sample."""

    def on_drained(self, now: float, fill: int) -> None:
        """Note a drain that found `fill` in the buffer."""
        self._last_drain = now
        self._sample_fill += fill
        elapsed = now - self._sample_start
        if elapsed >= MIN_SAMPLE_S:
            self.fill_per_s = self._sample_fill / elapsed
            self._sample_start = now
            self._sample_fill = 0

    def needs_wakeup(self, event_window_s: float | None) -> bool:
        """Tell whether the socket is to wake the loop; otherwise the server's beats read it."""
        return event_window_s is not None or self.fill_per_s == 0.0

    def delay_s(self, now: float, next_beat: float, event_window_s: float | None) -> float:
        """Tell how long the next drain waits.

        Args:
            now: Monotonic seconds.
            next_beat: When the server drains anyway.
            event_window_s: Least time between two drains while events flow; None if none do.
        Returns: Seconds, 0 or more; never beyond `next_beat` unless that has passed.
        """
        to_beat = max(0.0, next_beat - now)
        if self.needs_wakeup(event_window_s):
            return min(to_beat, max(0.0, self._last_drain + (event_window_s or 0.0) - now))
        early = self._last_drain + self._early_fill / self.fill_per_s
        return min(to_beat, max(0.0, early - now))

    def is_left_to_beat(self, now: float, delay_s: float, next_beat: float) -> bool:
        """Tell whether a drain `delay_s` from now needs no timer, for the beat comes at the same time."""
        return now + delay_s > next_beat - BEAT_SLACK_S
