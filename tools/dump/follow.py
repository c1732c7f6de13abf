"""`--follow`: the story of one player's connection. Handshake, gaps, resends, baselines, stalls, and how it ended.

Only what is out of the ordinary becomes a line; a healthy minute is silent. What came before it was known whose it is
(HELLO to WELCOME) is kept per join attempt, and told as soon as that is known.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from protocol.constants import DataSection, Kind, UpdateSection
from protocol.sequence import extend
from tools.cli import UsageError
from tools.dump.datagrams import Direction, Endpoint
from tools.dump.fields import id_text
from tools.dump.filters import parse_session
from tools.dump.pipeline import chosen
from tools.dump.sessions import HEADERS, Attempt, Batch, Seen, Session
from tools.dump.stats import DEFAULT_TICK_RATE
from tools.dump.streams import UNKNOWN_BASE, Stream
from tools.dump.views import Printer
from tools.dump.words import say

MAX_ATTEMPTS = 4096
"""Join attempts whose datagrams are kept until it is known whose they are; the oldest is forgotten."""
MAX_KEPT = 64
"""Datagrams kept of one of them."""
SLOW_S = 0.25
"""A message or entry that took longer to be acknowledged is told, and so is silence of a direction for longer
(chosen: a quarter of a second is what players notice)."""
STALL_FACTOR = 2
"""Silence is a stall if it is so many times as long as nine of ten distances of datagrams before it: who moves seldom
does not stall all the time, and a stutter once a second is told every time (chosen)."""
NUM_DISTANCES = 64
"""Distances that this is taken from: two seconds of a game at 30 ticks."""
LATE_KEEPALIVE = 1.5
"""Silence of so many keepalive times is a stall in a quiet room too."""
DEFAULT_KEEPALIVE_S = 1.0
"""Taken where WELCOME was not captured: the relay's default."""
OLD_BASELINE_S = 1.0
"""A page that builds upon a state older than this is told: acknowledgements do not reach the relay (chosen)."""
MAX_OPEN = 4096
"""Messages and entries that are watched until they are acknowledged."""
MAX_HELD_LINES = 100_000
"""Lines that are held back of a session which is named by its first digits; the oldest are forgotten."""
MAX_CANDIDATES = 4096
"""Sessions remembered that begin with the same digits."""
CANDIDATES_SHOWN = 5
"""Of these, named where they are too many (chosen: a line)."""
ID_DIGITS = 16
"""Of a whole session id."""

Owner = Attempt | Session
Tell = Callable[[Owner, float, str, str], None]
"""Takes whose line it is, seconds since 1970, the text and its style."""


class _Delivery:
    """Numbered things of one direction, messages up or entries down: copies of each until it is acknowledged."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: OrderedDict[int, tuple[float, int]] = OrderedDict()
        """Number -> (first sent, copies)."""
        self._newest: int | None = None
        self._acked: int | None = None
        self.num_sent = 0
        self.num_copies = 0
        """Sent again."""
        self.slowest_s = 0.0

    def send(self, low: int, time_s: float) -> None:
        """Note that a number was sent. `low`: its low 16 bits."""
        if self._newest is None:
            self._newest = low + UNKNOWN_BASE
        number = extend(low, self._newest)
        self._newest = max(self._newest, number)
        if self._acked is not None and number <= self._acked:
            self.num_copies += 1  # it was under way when the acknowledgement was
            return
        first_s, copies = self._open.get(number, (time_s, 0))
        if copies == 0:
            self.num_sent += 1
            if len(self._open) >= MAX_OPEN:
                self._open.popitem(last=False)
        else:
            self.num_copies += 1
        self._open[number] = first_s, copies + 1

    def acknowledge(self, low: int, time_s: float) -> list[str]:
        """Take the highest number that arrived. Returns: what to tell of those that took long."""
        if self._newest is None:
            return []
        highest = extend(low, self._newest)
        self._acked = highest if self._acked is None else max(self._acked, highest)
        told = []
        for number in [number for number in self._open if number <= highest]:
            first_s, copies = self._open.pop(number)
            took_s = time_s - first_s
            self.slowest_s = max(self.slowest_s, took_s)
            if took_s > SLOW_S:
                took = f"{took_s * 1000:.0f} ms to be acknowledged, sent {copies} times"
                told.append(f"{self._name} {number & 0xFFFF} took {took}")
        return told

    def summary(self) -> str:
        """Say it in a few words."""
        slowest = f", the slowest took {self.slowest_s * 1000:.0f} ms" if self.slowest_s else ""
        unread = f", {len(self._open)} not acknowledged" if self._open else ""
        return f"{self.num_sent} of them, {self.num_copies} copies sent again{slowest}{unread}"


class _Way:
    """One direction of the session that is followed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.newest_s: float | None = None
        self._distances_s: deque[float] = deque(maxlen=NUM_DISTANCES)
        """Times between the newest datagrams."""

    def silence(self, time_s: float) -> float | None:
        """Note a datagram. Returns: the silence before it in seconds if that was a stall."""
        if self.newest_s is None:
            self.newest_s = time_s
            return None
        gap_s, self.newest_s = time_s - self.newest_s, time_s
        is_stall = self.is_stall(gap_s)
        self._distances_s.append(gap_s)
        return gap_s if is_stall else None

    def is_stall(self, gap_s: float) -> bool:
        """Tell whether silence of so many seconds is unusual."""
        return gap_s > SLOW_S and gap_s > STALL_FACTOR * self._usual_s()

    def _usual_s(self) -> float:
        """Longest of nine tenths of the distances; 0 before there are any."""
        return sorted(self._distances_s)[len(self._distances_s) * 9 // 10] if self._distances_s else 0.0


class _Lines:
    """Prints what is told, and begins each line with its session once there is more than one."""

    def __init__(self, printer: Printer, begin_s: Callable[[], float]) -> None:
        self._printer = printer
        self._begin_s = begin_s
        self._owners: set[Owner] = set()
        self._has_labels = False

    def tell(self, owner: Owner, time_s: float, text: str, style: str) -> None:
        """Print a line of `owner`; `time_s` in seconds since 1970."""
        if owner not in self._owners:
            before = next(map(_label, self._owners), "")
            self._owners.add(owner)
            # A join attempt, and the session that it became, are one.
            if len({_session_of(one) or one for one in self._owners}) > 1 and not self._has_labels:
                self._has_labels = True
                self._print(time_s, f"      lines tell their session from here on; those before are of {before}", "dim")
        self._print(time_s, f"{_label(owner)}  {text}" if self._has_labels else text, style)

    def _print(self, time_s: float, text: str, style: str) -> None:
        self._printer.print([(f"{time_s - self._begin_s():12.6f}  ", "dim"), (text, style)])


def _session_of(owner: Owner) -> Session | None:
    return owner.session if isinstance(owner, Attempt) else owner


def _label(owner: Owner) -> str:
    session = _session_of(owner)
    if session is not None:
        return id_text(session.session)
    return id_text(owner.nonce) if isinstance(owner, Attempt) else ""


class _Candidates:
    """Sessions whose ids begin with what is wanted, while it may still be the name of a player to come.

    Of the only one its lines are kept; of several only which they are.
    """

    def __init__(self) -> None:
        self.sessions: dict[Session, _Story] = {}
        self.lines: deque[tuple[Owner, float, str, str]] = deque(maxlen=MAX_HELD_LINES)
        self.are_several = False
        """Whether there ever was more than one: then no story is complete."""

    def hold(self, owner: Owner, time_s: float, text: str, style: str) -> None:
        """Keep a line."""
        self.lines.append((owner, time_s, text, style))

    def story_of(self, session: Session) -> "_Story | None":
        """Return what takes the datagrams of a candidate; None if it is not the only one."""
        if session not in self.sessions and len(self.sessions) < MAX_CANDIDATES:
            self.sessions[session] = _Story(session, self.hold)
        if len(self.sessions) > 1:
            self.are_several = True
        if self.are_several:
            self.lines.clear()
            return None
        return self.sessions[session]

    def names(self) -> str:
        """List them for people."""
        shown = [f"{id_text(one.session)} {one.name}".strip() for one in islice(self.sessions, CANDIDATES_SHOWN)]
        more = [f"{len(self.sessions) - CANDIDATES_SHOWN} more"] if len(self.sessions) > CANDIDATES_SHOWN else []
        return ", ".join(shown + more)


class FollowView:
    """Tells of one session, or of all that a player of this name or number had."""

    def __init__(self, wanted: str, printer: Printer, begin_s: Callable[[], float]) -> None:
        """Begin.

        Args:
            wanted: Name or number of a player, or session id: told at once. Or the first digits of an id, if no player
                is called that: told at the end, for only then it is known that no player and no other session fits.
            printer: Where to.
            begin_s: Tells when the first datagram was seen, seconds since 1970.
        """
        self._wanted = wanted
        try:
            self._fits = parse_session(wanted)
        except UsageError:
            self._fits = lambda shown: False
        self._is_whole_id = len(wanted.lower().removeprefix("0x")) == ID_DIGITS
        self._printer = printer
        self._lines = _Lines(printer, begin_s)
        self._newest_s = 0.0
        """When the newest datagram of all was seen, seconds since 1970."""
        self._kept: OrderedDict[Attempt, list[Seen]] = OrderedDict()
        self._told: dict[Session, _Story] = {}
        self._candidates = _Candidates()
        self._has_told_attempt = False

    @property
    def kept_sizes(self) -> list[int]:
        """How many datagrams are kept of each join attempt whose player is not known yet."""
        return [len(datagrams) for datagrams in self._kept.values()]

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Take a batch and tell what is new."""
        if batch.seen:
            self._newest_s = max(self._newest_s, batch.seen[-1].datagram.time_s)
        for seen in chosen(batch, kept):
            if seen.session is not None:
                self._take_session(seen, seen.session)
            elif seen.attempt is not None:
                self._keep(seen.attempt, seen)
        self._printer.flush()

    def finish(self) -> None:
        """Tell how each ended. Raises: UsageError if several sessions begin with what is wanted."""
        candidates = self._candidates
        if not self._told and not self._has_told_attempt and candidates.sessions:
            if len(candidates.sessions) > 1:
                raise UsageError(
                    f"follow is {self._wanted!r}, with which several sessions begin; permitted: one of "
                    f"{candidates.names()}"
                )
            self._adopt(next(iter(candidates.sessions)))
        if not self._told and not self._has_told_attempt:
            text = f"nothing of {self._wanted!r} was seen; --stats lists all sessions"
            self._printer.print([(text, "bold")])
        for story in self._told.values():
            story.finish(self._newest_s)
        self._printer.flush()

    def _take_session(self, seen: Seen, session: Session) -> None:
        if session in self._told or self._is_meant(session):
            if session not in self._told:
                self._adopt(session)
            story: _Story | None = self._told[session]
            tell = self._lines.tell
        elif self._fits(id_text(session.session)):
            story, tell = self._candidates.story_of(session), self._candidates.hold
        else:
            return
        if story is not None:
            if seen.attempt is not None:
                self._tell_kept(seen.attempt, tell)
            story.take(seen)

    def _is_meant(self, session: Session) -> bool:
        """Tell whether a session is wanted whatever else comes: as --player would have it, or by its whole id."""
        if self._wanted == session.name or (session.player_id is not None and self._wanted == str(session.player_id)):
            return True
        return self._is_whole_id and self._fits(id_text(session.session))

    def _adopt(self, session: Session) -> None:
        """Tell of a session from now on, and what was held back of it while it was a candidate."""
        candidates = self._candidates
        story = candidates.sessions.pop(session, None)
        if story is not None and not candidates.are_several:
            for line in candidates.lines:
                self._lines.tell(*line)
            candidates.lines.clear()
            story.tell = self._lines.tell
            self._told[session] = story
        else:
            self._told[session] = _Story(session, self._lines.tell)

    def _keep(self, attempt: Attempt, seen: Seen) -> None:
        if attempt.name == self._wanted:
            self._has_told_attempt = True
            self._tell_kept(attempt, self._lines.tell)
            _tell_cold(seen, attempt, self._lines.tell)
            return
        if attempt not in self._kept and len(self._kept) >= MAX_ATTEMPTS:
            self._kept.popitem(last=False)
        datagrams = self._kept.setdefault(attempt, [])
        if len(datagrams) < MAX_KEPT:
            datagrams.append(seen)

    def _tell_kept(self, attempt: Attempt, tell: Tell) -> None:
        for seen in self._kept.pop(attempt, []):
            _tell_cold(seen, attempt, tell)


def _tell_cold(seen: Seen, attempt: Attempt, tell: Tell) -> None:
    what = f"!! {seen.problem}" if seen.problem is not None else say(seen.value())
    tell(attempt, seen.datagram.time_s, f"{seen.direction.value:4}  {seen.kind_name}  {what}", "")


class _Story:
    """What is told of one session."""

    def __init__(self, session: Session, tell: Tell) -> None:
        self._session = session
        self.tell = tell
        """Where its lines go."""
        self._ways = {Direction.UP: _Way("up"), Direction.DOWN: _Way("down")}
        self._messages, self._entries = _Delivery("message"), _Delivery("entry")
        self._client: Endpoint | None = None
        """Where the newest DATA came from."""
        self._has_old_baseline = False
        self._oldest_baseline_ticks = 0
        self._num_full_pages = 0
        self._num_cut = 0
        """Datagrams of which the capture kept only the begin."""
        self._has_told_silence = False

    def _tell(self, time_s: float, text: str, style: str) -> None:
        self.tell(self._session.attempt or self._session, time_s, text, style)

    def take(self, seen: Seen) -> None:
        """Take a datagram of the session."""
        time_s = seen.datagram.time_s
        self._num_cut += bool(seen.datagram.missing_bytes)
        if seen.problem is not None and seen.problem.reason is not None:
            self._tell(time_s, f"{seen.direction.value:4}  {seen.kind_name}  !! {seen.problem}", "bold red")
        elif seen.dropped is not None:
            self._say(seen, f"dropped: {seen.dropped.name}, {seen.dropped_text}")
        elif seen.seq is not None:
            self._take_hot(seen)
        elif not seen.datagram.missing_bytes:
            if seen.kind in (Kind.BYE, Kind.RESET):
                self._tell_silence(time_s)
            self._tell(time_s, f"{seen.direction.value:4}  {seen.kind_name}  {say(seen.value())}", "")
        elif seen.kind not in HEADERS:
            self._tell(time_s, f"{seen.direction.value:4}  {seen.kind_name}  (cut by the capture)", "")

    def _take_hot(self, seen: Seen) -> None:
        time_s, way = seen.datagram.time_s, self._ways[seen.direction]
        if way.newest_s is None:
            self._say(seen, "is the first")
        header = HEADERS[seen.kind].decode(seen.datagram.data)
        # Of a datagram that the capture cut, its sections are not known, but that it has some.
        sections = [] if seen.datagram.missing_bytes else seen.value().sections
        is_bare = seen.datagram.size == HEADERS[seen.kind].size
        stall_s = way.silence(time_s)
        # What a bare datagram ends was no stall: a quiet room sends nothing but keepalives.
        if stall_s is not None and (not is_bare or stall_s > LATE_KEEPALIVE * self._keepalive_s()):
            self._say(seen, f"after {stall_s * 1000:.0f} ms of silence")
        if seen.ahead > 1:
            first = (seen.seq or 0) - seen.ahead + 1
            self._say(seen, f"after a gap: {seen.ahead - 1} missing, from seq {first & 0xFFFF}")
        elif seen.ahead < 0:
            self._say(seen, f"comes late, {-seen.ahead} behind the newest")
        if seen.kind == Kind.DATA:
            self._take_address(seen.datagram.flow.source, time_s)
            self._take_data(header, sections, time_s, is_newest=seen.ahead > 0)
        else:
            self._take_update(header, sections, time_s, is_newest=seen.ahead > 0)

    def _take_address(self, client: Endpoint, time_s: float) -> None:
        if self._client is not None and client != self._client:
            self._tell(time_s, f"up    the client speaks from {client} now, before from {self._client}", "yellow")
        self._client = client

    def _take_data(self, header: Any, sections: Sequence[Any], time_s: float, is_newest: bool) -> None:
        for section in sections:
            if section.type == DataSection.MESSAGE:
                self._messages.send(section.body.header.message_id, time_s)
        if is_newest:
            self._tell_all(time_s, "down", self._entries.acknowledge(header.log_cursor & 0xFFFF, time_s))

    def _take_update(self, header: Any, sections: Sequence[Any], time_s: float, is_newest: bool) -> None:
        for section in sections:
            if section.type == UpdateSection.LOG_RANGE:
                for entry in section.body.entries:
                    self._entries.send(entry.header.index, time_s)
            elif section.type == UpdateSection.PAGE:
                self._take_page(section.body.header, header.tick, time_s)
        if is_newest:
            self._tell_all(time_s, "up", self._messages.acknowledge(header.message_ack, time_s))

    def _take_page(self, header: Any, tick: int, time_s: float) -> None:
        if header.since == 0:
            self._num_full_pages += 1
            return
        age_ticks = tick - header.since
        age_s = age_ticks / self._tick_rate()
        self._oldest_baseline_ticks = max(self._oldest_baseline_ticks, age_ticks)
        if age_s > OLD_BASELINE_S and not self._has_old_baseline:
            self._has_old_baseline = True
            text = f"page {header.page} builds upon a state {age_s:.1f} s old: no acknowledgement reached the relay"
            self._tell(time_s, f"down  {text}", "yellow")
        elif age_s < OLD_BASELINE_S / 2 and self._has_old_baseline:
            self._has_old_baseline = False
            self._tell(time_s, f"down  page {header.page} builds upon a fresh state again", "")

    def _tell_silence(self, time_s: float) -> None:
        """Tell which directions are silent when the session or the capture ends: no datagram will tell it after them.

        The streams know, not what the filter let pass. Whether more than a keepalive was due is not known, so one must
        be late.
        """
        if self._has_told_silence:
            return
        self._has_told_silence = True
        for direction, way in self._ways.items():
            newest_s = self._session.stream(direction).newest_s
            silent_s = time_s - (self._session.began_s if newest_s is None else newest_s)
            if silent_s > LATE_KEEPALIVE * self._keepalive_s() and way.is_stall(silent_s):
                since = ", since the session began" if newest_s is None else ""
                self._tell(time_s, f"{way.name:4}  has been silent for {silent_s * 1000:.0f} ms{since}", "yellow")

    def finish(self, capture_end_s: float) -> None:
        """Tell how it ended, and its sums. `capture_end_s`: when the last datagram of all was seen."""
        session = self._session
        end_s = capture_end_s if session.ended_s is None else session.ended_s
        self._tell_silence(end_s)
        ended = session.ended or "no end was captured"
        self._tell(end_s, f"      {id_text(session.session)} {session.name} ends: {ended}", "bold")
        rows = [
            ("lasted", f"{self._duration()}, room {session.code or 'not known'}, client {session.client}"),
            ("up", _stream_text(session.up, "round trip to the relay")),
            ("down", _stream_text(session.down, "round trip to the client")),
            ("messages", self._messages.summary()),
            ("entries", self._entries.summary()),
            ("pages", f"{self._num_full_pages} whole, oldest baseline {self._oldest_baseline_ticks} ticks"),
        ]
        if self._num_cut:
            rows.append(("cut", f"{self._num_cut} datagrams by the capture: what their sections said is not known"))
        for name, text in rows:
            self._tell(end_s, f"      {name:9} {text}", "")

    def _duration(self) -> str:
        session = self._session
        begin = "WELCOME" if session.up.knows_begin else "the first captured datagram"
        if session.ended_s is not None:
            return f"{session.ended_s - session.began_s:.3f} s from {begin} to its end"
        return f"{session.newest_s - session.began_s:.3f} s from {begin} to the newest"

    def _keepalive_s(self) -> float:
        welcome = self._session.welcome
        return float(welcome.keepalive_ms) / 1000 if welcome is not None else DEFAULT_KEEPALIVE_S

    def _tick_rate(self) -> int:
        welcome = self._session.welcome
        return int(welcome.tick_rate) if welcome is not None else DEFAULT_TICK_RATE

    def _say(self, seen: Seen, what: str) -> None:
        number = "" if seen.seq is None else f"seq {seen.seq & 0xFFFF} "
        text = f"{seen.direction.value:4}  {seen.kind_name}  {number}{what}"
        self._tell(seen.datagram.time_s, text, "" if what == "is the first" else "yellow")

    def _tell_all(self, time_s: float, way: str, texts: Sequence[str]) -> None:
        for text in texts:
            self._tell(time_s, f"{way:4}  {text}", "yellow")


def _stream_text(stream: Stream, trip_name: str) -> str:
    text = (
        f"{stream.num_datagrams} datagrams, {stream.num_bytes:,} bytes, {stream.num_missing} missing, "
        f"{stream.num_duplicate} doubled, {stream.num_late} late"
    )
    if stream.round_trips_s:
        p50, p99 = np.percentile(np.array(stream.round_trips_s), (50, 99)) * 1000
        text += f", {trip_name} p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    return text
