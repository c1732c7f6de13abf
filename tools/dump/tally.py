"""What --stats counts, batch by batch. Sections and pages are summed by numpy: a capture has millions of them."""

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import DataSection, Kind, UpdateSection
from protocol.drops import DropReason
from relay.columns import Bools, Ints, windows
from tools.dump.datagrams import Direction
from tools.dump.hot import Hot
from tools.dump.sessions import Batch, Seen, Session, kind_name

PLAYER_COLUMNS = (
    "up_datagrams", "up_bytes", "down_datagrams", "down_bytes",
    "full_pages", "full_bytes", "delta_pages", "delta_bytes", "baseline_ticks",
)  # fmt: skip
"""Sums per session: datagrams and their UDP payload; PAGE sections with since 0 and others, with their section headers;
and of the others the ticks that lie between the state they build upon and their own."""
_SECTION_TYPES = 256
_WAYS = {direction: number for number, direction in enumerate(Direction)}


class PartOfStream:
    """What a filter left of one direction of a session; its fields are those of `Stream`, over the datagrams left."""

    def __init__(self) -> None:
        self.num_accepted = 0
        self.num_expected = 0
        """Numbers up to the newest, from the first that was left."""
        self.num_duplicate = 0
        self.num_too_old = 0
        self.num_late = 0
        self.num_bad = 0
        self.num_lost = 0
        """Seen, and lost behind the place of capture."""
        self.round_trips_s = array("f")

    @property
    def num_missing(self) -> int:
        """Numbers that never came; whoever came late fills a gap that may lie before what was left."""
        return max(0, self.num_expected - self.num_accepted)

    @property
    def num_unreported(self) -> int:
        """Lost before or behind the capture."""
        return self.num_missing + self.num_lost

    def take(self, seen: Seen) -> None:
        """Count a datagram of this direction."""
        if seen.dropped is DropReason.DUPLICATE:
            self.num_duplicate += 1
        elif seen.dropped is DropReason.TOO_OLD:
            self.num_too_old += 1
        elif seen.seq is not None:
            self.num_bad += seen.dropped is not None
            self.num_accepted += seen.dropped is None
            self.num_late += seen.ahead < 0
            self.num_expected += max(0, seen.ahead)


class Part:
    """What a filter left of a session."""

    def __init__(self) -> None:
        self.up, self.down = PartOfStream(), PartOfStream()
        self.num_left_out = 0
        """Datagrams of the session that the filter did not let pass."""
        self.has_holes = False
        """Whether some of these lie between datagrams that it did: loss can not be told then."""
        self._has_any = False
        self._num_after = 0
        """Left out since the newest that was not."""

    def take(self, seen: Seen, is_kept: bool) -> None:
        """Count a datagram of the session."""
        if not is_kept:
            self.num_left_out += 1
            self._num_after += self._has_any
            return
        self.has_holes = self.has_holes or self._num_after > 0
        self._has_any, self._num_after = True, 0
        own, other = (self.up, self.down) if seen.direction is Direction.UP else (self.down, self.up)
        own.take(seen)
        other.num_lost += len(seen.lost_s)
        if seen.round_trip_s is not None:
            other.round_trips_s.append(seen.round_trip_s)


class Tally:
    """Sums over the datagrams that the filter lets pass."""

    def __init__(self) -> None:
        self.first_s: float | None = None
        """When the first was seen, seconds since 1970."""
        self.last_s = 0.0
        self.kinds: Counter[tuple[str, str]] = Counter()
        """(kind, direction) -> datagrams."""
        self.kind_bytes: Counter[tuple[str, str]] = Counter()
        self.sections: dict[Kind, npt.NDArray[np.int64]] = {
            kind: np.zeros((2, _SECTION_TYPES), np.int64) for kind in (Kind.DATA, Kind.UPDATE)
        }
        """Kind -> (2, type): sections, and their bytes with the header of each."""
        self.dropped: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        """DropReason -> datagrams that are malformed."""
        self.num_cut = 0
        """Datagrams of which the capture kept only the begin: nobody knows what else may be wrong with them."""
        self.rows: dict[Session, int] = {}
        """Session -> row of `players`, in the order in which they were first seen."""
        self.players = np.zeros((64, len(PLAYER_COLUMNS)), np.int64)
        """(rows, PLAYER_COLUMNS); grows."""
        self.spans_s = np.full((64, 2), (np.inf, -np.inf))
        """When the first and the last of these datagrams were seen, seconds since 1970, (rows, 2); grows."""

        self.parts: dict[Session, Part] = {}
        """What the filter left of each session; empty without a filter, when the sessions' own streams tell."""

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Add a batch."""
        mask = np.ones(len(batch.seen), np.bool_) if kept is None else np.array(kept, np.bool_)
        if kept is not None:
            self._take_parts(batch.seen, kept)
        if not mask.any():
            return
        seen = batch.seen if kept is None else [one for one, is_kept in zip(batch.seen, kept) if is_kept]
        self.first_s = seen[0].datagram.time_s if self.first_s is None else self.first_s
        self.last_s = max(self.last_s, seen[-1].datagram.time_s)
        self._count_troubles(seen)
        size = np.array([one.datagram.size for one in batch.seen], np.int64)
        way = np.array([_WAYS[one.direction] for one in batch.seen], np.int64)
        kind = np.array([one.kind for one in batch.seen], np.int64)
        self._count_kinds(kind[mask], way[mask], size[mask])
        rows = self._add_players(batch.seen, mask, way, size)
        for hot_kind, hot in ((Kind.DATA, batch.data), (Kind.UPDATE, batch.update)):
            if len(hot):
                counted = mask[hot.place] & hot.certain  # sections of what is malformed are not there
                self._add_sections(hot_kind, hot, counted)
                if hot_kind is Kind.UPDATE:
                    self._add_pages(hot, counted, rows[hot.place])

    def _take_parts(self, seen: Sequence[Seen], kept: Sequence[bool]) -> None:
        for one, is_kept in zip(seen, kept):
            if one.session is not None:
                part = self.parts.get(one.session)
                if part is None:
                    part = self.parts[one.session] = Part()
                part.take(one, is_kept)

    def _count_troubles(self, seen: Sequence[Seen]) -> None:
        for one in seen:
            if one.dropped is not None:
                self.dropped[one.dropped.name] += 1
            if one.datagram.missing_bytes:
                self.num_cut += 1
            elif one.problem is not None and one.problem.reason is not None:
                self.problems[one.problem.reason.name] += 1

    def _count_kinds(self, kind: Ints, way: Ints, size: Ints) -> None:
        """Count datagrams and bytes by kind and direction; all (n,)."""
        codes = (kind + 1) * len(_WAYS) + way  # + 1: an empty datagram has kind -1
        counts, sums = np.bincount(codes), np.bincount(codes, size)
        for code in counts.nonzero()[0].tolist():
            number, way_number = divmod(code, len(_WAYS))
            key = kind_name(number - 1), list(_WAYS)[way_number].value
            self.kinds[key] += int(counts[code])
            self.kind_bytes[key] += int(sums[code])

    def _add_players(self, seen: Sequence[Seen], mask: Bools, way: Ints, size: Ints) -> Ints:
        """Add datagrams and bytes to their sessions. Returns: the row of each, -1 if there is none, (n,)."""
        known = self.rows
        rows = np.array(
            [
                known.setdefault(one.session, len(known)) if is_kept and one.session is not None else -1
                for one, is_kept in zip(seen, mask.tolist())
            ],
            np.int64,
        )
        while len(known) > len(self.players):
            self.players = np.concatenate([self.players, np.zeros_like(self.players)])
            self.spans_s = np.concatenate([self.spans_s, np.full_like(self.spans_s, (np.inf, -np.inf))])
        for begin, is_way in ((0, way == _WAYS[Direction.UP]), (2, way == _WAYS[Direction.DOWN])):
            chosen = mask & is_way & (rows >= 0)
            self._add(begin, rows[chosen], np.ones(int(chosen.sum()), np.int64))
            self._add(begin + 1, rows[chosen], size[chosen])
        own = mask & (rows >= 0)
        time_s = np.array([one.datagram.time_s for one in seen])[own]
        np.minimum.at(self.spans_s[:, 0], rows[own], time_s)
        np.maximum.at(self.spans_s[:, 1], rows[own], time_s)
        return rows

    def _add(self, column: int, rows: Ints, amounts: Ints) -> None:
        np.add.at(self.players[:, column], rows, amounts)

    def _add_sections(self, kind: Kind, hot: Hot, counted: Bools) -> None:
        sections = hot.sections.where(counted[hot.sections.datagram])
        sizes = sections.length + dtypes.SECTION_HEADER.size
        self.sections[kind][0] += np.bincount(sections.kind, minlength=_SECTION_TYPES)
        self.sections[kind][1] += np.bincount(sections.kind, sizes, minlength=_SECTION_TYPES).astype(np.int64)

    def _add_pages(self, hot: Hot, counted: Bools, rows: Ints) -> None:
        """`rows`: of the session of each datagram of `hot`, (d,)."""
        pages = read_pages(hot, counted)
        row = rows[pages.datagram]
        delta = pages.since > 0
        for column, chosen in ((4, ~delta), (6, delta)):
            self._add(column, row[chosen], np.ones(int(chosen.sum()), np.int64))
            self._add(column + 1, row[chosen], pages.size[chosen])
        self._add(8, row[delta], pages.age_ticks[delta])


class Pages:
    """PAGE sections of many UPDATEs. Axis: p sections."""

    def __init__(self, datagram: Ints, size: Ints, since: Ints, age_ticks: Ints) -> None:
        self.datagram = datagram
        """Which datagram of its Hot, (p,)."""
        self.size = size
        """Bytes with the section header, (p,)."""
        self.since = since
        """Tick after which all is in it, 0 = the whole page, (p,)."""
        self.age_ticks = age_ticks
        """Ticks between `since` and the tick of its UPDATE, (p,)."""


def read_pages(hot: Hot, counted: Bools) -> Pages:
    """Read the PAGE sections of those UPDATEs that `counted`, (d,), marks; they are without a problem."""
    sections = hot.sections.where(counted[hot.sections.datagram] & (hot.sections.kind == int(UpdateSection.PAGE)))
    since = windows(hot.source, dtypes.PAGE_HEADER_DTYPE)[sections.at]["since"].astype(np.int64)
    age_ticks = np.maximum(hot.header["tick"].astype(np.int64)[sections.datagram] - since, 0)
    return Pages(sections.datagram, sections.length + dtypes.SECTION_HEADER.size, since, age_ticks)


SECTION_NAMES = {Kind.DATA: DataSection, Kind.UPDATE: UpdateSection}
"""Enumeration of the section types of each kind."""
