"""Reference of acknowledgements: the receive window, and what an ack settles (SPEC 5)."""

from dataclasses import dataclass, field


@dataclass
class Window:
    """What has arrived from one peer: every sequence number, kept for good."""

    arrived: set[int] = field(default_factory=set)

    @property
    def newest(self) -> int:
        """Newest number, 0 = none."""
        return max(self.arrived, default=0)

    def take(self, low: int) -> str:
        """Offer one datagram by the low 16 bits of its number. Returns "new", "duplicate" or "too old"."""
        seq = nearest(low, self.newest)
        if seq < 1 or self.newest - seq >= 64:
            return "too old"
        if seq in self.arrived:
            return "duplicate"
        self.arrived.add(seq)
        return "new"

    def mask(self) -> int:
        """Bit i = the i-th before the newest has arrived, for 64."""
        return sum(1 << i for i in range(64) if self.newest - i in self.arrived)


@dataclass
class Flight:
    """What was sent to one peer, and what of it is settled."""

    sent: dict[int, tuple[int, list[int]]] = field(default_factory=dict)
    """Sequence number -> (tick, pages) of what is not settled yet."""
    newest: int = 0
    page_ticks: dict[int, int] = field(default_factory=dict)
    """Page -> newest tick known to have arrived."""

    def send(self, tick: int, pages: list[int]) -> None:
        """Send one datagram. What lies 64 behind is forgotten: its fate stays unknown."""
        self.newest += 1
        self.sent[self.newest] = (tick, pages)
        self.sent.pop(self.newest - 64, None)

    def on_ack(self, ack: int, ack_bits: int) -> None:
        """Take an ack: the whole number of the newest that arrived, and bits for the 32 before it."""
        for seq in [ack] + [ack - 1 - i for i in range(32) if ack_bits & (1 << i)]:
            tick, pages = self.sent.pop(seq, (0, []))
            for page in pages:
                self.page_ticks[page] = max(self.page_ticks.get(page, 0), tick)


def nearest(low: int, near: int) -> int:
    """Find the number with these low 16 bits that is nearest to `near`; of two equally near ones the lower."""
    candidates = [(near - near % 65536) + low + step for step in (-65536, 0, 65536)]
    return min(candidates, key=lambda number: (abs(number - near), number))
