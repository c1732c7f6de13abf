"""From datagrams to what is shown: recognise, follow the sessions, filter, hand to the views."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from tools.dump.datagrams import Datagram
from tools.dump.filters import Keep
from tools.dump.recognise import Recogniser
from tools.dump.sessions import Batch, Seen, Sessions

FOREIGN_PORTS_SHOWN = 3


class View(Protocol):
    """Something that is shown: lines, counts, a timeline, a picture."""

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Take the next datagrams; `kept` tells which of them the filter lets pass, None for all."""

    def finish(self) -> None:
        """Show what is shown at the end."""


class Pipeline:
    """Takes datagrams in the order in which they were seen."""

    def __init__(self, recogniser: Recogniser, sessions: Sessions, views: Iterable[View]) -> None:
        self.recogniser = recogniser
        self.sessions = sessions
        self.keep: Keep | None = None
        """The filter; None for all."""
        self.begin_s = 0.0
        """When the first of our datagrams was seen, seconds since 1970."""
        self.num_ours = 0
        self.num_kept = 0
        self._views = list(views)

    def take(self, datagrams: Sequence[Datagram]) -> None:
        """Take the next datagrams. Raises: nothing that depends on their bytes."""
        is_ours = self.recogniser.is_ours
        ours = [datagram for datagram in datagrams if is_ours(datagram)]
        if not ours:
            return
        if not self.num_ours:
            self.begin_s = ours[0].time_s
        self.num_ours += len(ours)
        batch = self.sessions.read(ours)
        kept = None if self.keep is None else [self.keep(seen) for seen in batch.seen]
        self.num_kept += len(ours) if kept is None else sum(kept)
        for view in self._views:
            view.take(batch, kept)

    def finish(self) -> None:
        """End all views."""
        for view in self._views:
            view.finish()

    def summary(self, num_packets: int, skipped: Counter[str]) -> str:
        """Say in one line how much there was and what was skipped.

        Args:
            num_packets: Of the source.
            skipped: Packets that held no datagram, by what they were.
        """
        parts = [f"{self.num_ours:,} datagrams of a relay in {num_packets:,} packets"]
        if self.keep is not None:
            parts.append(f"{self.num_kept:,} passed the filter")
        if skipped:
            parts.append("skipped: " + ", ".join(f"{count:,} {why}" for why, count in skipped.most_common()))
        if self.recogniser.num_foreign:
            ports = self.recogniser.foreign_ports.most_common(FOREIGN_PORTS_SHOWN)
            shown = ", ".join(f"{count:,} to port {port}" for port, count in ports)
            parts.append(f"foreign: {self.recogniser.num_foreign:,} UDP datagrams ({shown}); --port makes a port ours")
        return "; ".join(parts)


def chosen(batch: Batch, kept: Sequence[bool] | None) -> list[Seen]:
    """List the datagrams of a batch that the filter lets pass."""
    return batch.seen if kept is None else [seen for seen, is_kept in zip(batch.seen, kept) if is_kept]
