"""One direction of one session: its sequence numbers, and when each datagram of it passed by (SPEC 5)."""

from array import array

from protocol.constants import ACK_BITS, ACK_DELAY_MAX_MS, WINDOW
from protocol.drops import DropReason
from protocol.sequence import ReceiveWindow, extend

UNKNOWN_BASE = 1 << 16
"""Added to the numbers of a session whose begin was not captured: those before the first seen are then above 0 too."""
REACH = 1 + ACK_BITS
"""Datagrams of which one acknowledgement tells: `ack` and those of its bits. What leaves it unreported was lost, or
came so late that it does not matter."""
_ALL_REPORTED = (1 << REACH) - 1


class Stream:
    """DATA or UPDATE of one session."""

    def __init__(self, knows_begin: bool) -> None:
        self._window = ReceiveWindow()
        self._near: int | None = 0 if knows_begin else None
        self.knows_begin = knows_begin
        """Whether numbers are whole; if not, only their low 16 bits are those of the sender."""
        self.first: int | None = None
        """Lowest number seen, extended; None before any."""
        self.num_accepted = 0
        self.num_bytes = 0
        """Of all datagrams, whatever became of them: UDP payload."""
        self.num_datagrams = 0
        self.num_duplicate = 0
        self.num_too_old = 0
        self.num_late = 0
        """Came behind a newer one, and were accepted."""
        self.num_bad = 0
        """Dropped for any other reason."""
        self.acked = 0
        """Newest number that the other side reported, extended; 0 = none yet."""
        self.round_trips_s = array("f")
        """From a datagram of this stream passing by to its acknowledgement doing so, less the delay that states."""
        self.num_unreported = 0
        """Numbers that the other side's acknowledgements passed over for good: lost before or behind the capture."""
        self.newly_lost_s: list[float] = []
        """When those were seen that the newest acknowledgement gave up: they were lost behind the place of capture."""
        self._reported_bits = 0
        """Bit i: `acked` - i was reported."""
        self._num_in_reach = 0
        """How many of these bits mean anything yet."""
        self._sent_seq = array("q", [0]) * WINDOW
        self._sent_at = array("d", [0.0]) * WINDOW

    @property
    def newest(self) -> int:
        """Newest number accepted, extended; 0 = none yet."""
        return self._window.newest

    @property
    def newest_s(self) -> float | None:
        """When the newest number was seen, seconds since 1970; None before any."""
        return self._sent_at[self.newest % WINDOW] if self.num_accepted else None

    @property
    def num_missing(self) -> int:
        """Numbers between the lowest and the newest that never came: lost, before or at the place of capture."""
        return 0 if self.first is None else self.newest - self.first + 1 - self.num_accepted

    def extend(self, low: int) -> int:
        """Rebuild a whole number from its low 16 bits."""
        if self._near is None:
            self._near = low + UNKNOWN_BASE
        return extend(low, self._near)

    def check(self, seq: int) -> DropReason | None:
        """Tell whether a receiver would drop this number: TOO_OLD or DUPLICATE. Counts it then."""
        is_new = self._window.check(seq)
        if is_new:
            return None
        if is_new is None:
            self.num_too_old += 1
            return DropReason.TOO_OLD
        self.num_duplicate += 1
        return DropReason.DUPLICATE

    def accept(self, seq: int, time_s: float) -> int:
        """Record a datagram that `check` let pass.

        Returns: by how much it is ahead of the newest before it: 1 in order, more after a gap, below 0 if late.
        """
        ahead = seq - self._window.newest
        if self.first is None:
            self.first = 1 if self.knows_begin else seq
            ahead = 1 if not self.knows_begin else ahead
        elif seq < self.first:
            self.first = seq
        if ahead < 0:
            self.num_late += 1
        else:
            self._near = seq
        self._window.accept(seq)
        self.num_accepted += 1
        self._sent_seq[seq % WINDOW] = seq
        self._sent_at[seq % WINDOW] = time_s
        return ahead

    def handle_ack(self, low: int, bits: int, delay_ms: int, time_s: float) -> float | None:
        """Take an acknowledgement of this stream that passes by the other way.

        Args:
            low: `ack`, 16 bits.
            bits: `ack_bits`: bit i means ack - 1 - i.
            delay_ms: `ack_delay`.
            time_s: When it was seen.
        Returns: the round trip in seconds if it newly acknowledges a datagram that was seen and says when it came.
        """
        if self.newly_lost_s:
            self.newly_lost_s = []
        if self.first is None:
            return None
        seq = extend(low, self.newest)
        if seq <= self.acked or self._sent_seq[seq % WINDOW] != seq:
            return None
        self._count_unreported(seq, seq - self.acked if self.acked else 1, bits)
        self.acked = seq
        if delay_ms == ACK_DELAY_MAX_MS:
            return None
        round_trip_s = max(0.0, time_s - self._sent_at[seq % WINDOW] - delay_ms / 1000)
        self.round_trips_s.append(round_trip_s)
        return round_trip_s

    def _count_unreported(self, seq: int, ahead: int, bits: int) -> None:
        """Count what leaves the reach of acknowledgements unreported; `seq` is reported now, `ahead` of the one before.

        Those of them that were seen go to `newly_lost_s`.
        """
        if ahead > WINDOW:
            # The acknowledgements between were not captured, or the session begins here: nothing is known of these.
            self._reported_bits = _ALL_REPORTED
            ahead = 1
        self._reported_bits = self._reported_bits << ahead | bits << 1 | 1
        leaving = min(ahead, max(0, self._num_in_reach + ahead - REACH))
        self._num_in_reach = min(REACH, self._num_in_reach + ahead)
        unreported_bits = ~(self._reported_bits >> REACH) & (1 << leaving) - 1
        self.num_unreported += unreported_bits.bit_count()
        for i in range(unreported_bits.bit_length()):
            lost_seq = seq - REACH - i
            if unreported_bits >> i & 1 and self._sent_seq[lost_seq % WINDOW] == lost_seq:
                self.newly_lost_s.append(self._sent_at[lost_seq % WINDOW])
        self._reported_bits &= _ALL_REPORTED
