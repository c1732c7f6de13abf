"""Signals both ways (SPEC 10): at most once, never sent again, newest-first on request."""

import math
from collections import Counter, deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

from protocol.client.events import Signal
from protocol.client.parcel import Parcel, fragment_bytes
from protocol.client.targets import encode_targets, split
from protocol.constants import MAX_SIGNAL_FRAGMENTS, DataSection, SignalFlag, Target
from protocol.drops import DropReason
from protocol.dtypes import SIGNAL_UP_HEADER
from protocol.records import SignalPart
from protocol.sequence import extend

MAX_QUEUED = 256
"""Fragments that wait to be sent; then the oldest signal is dropped, for the newest matters most (chosen)."""
MAX_HELD = 256
"""Signals that wait for the log (SPEC 10)."""
HOLD_S = 2.0
"""Longest wait of a signal for the log, seconds (SPEC 10)."""
REMEMBERED_S = 5.0
"""How long a sequence number means the same signal, seconds (SPEC 10): nothing is under way for longer, and 65,536
signals later it is another one's."""
MAX_UNFINISHED = 64
"""Fragmented signals being put together; then the oldest is dropped (chosen)."""


@dataclass(slots=True)
class _Unsent:
    after: int
    """Whole id of the message that it follows; 0 = none."""
    bodies: deque[bytes]
    """Fragments that are left to send."""


class SignalOutbox:
    """Signals that the game has queued and no DATA has carried yet."""

    def __init__(self) -> None:
        self.num_dropped = 0
        """Signals that were dropped because the queue was full."""
        self._queue: deque[_Unsent] = deque()
        self._num_bodies = 0
        self._sequence = 0

    @property
    def num_waiting(self) -> int:
        """Fragments that wait to be sent."""
        return self._num_bodies

    def queue(
        self,
        payload: bytes,
        kind: int,
        channel: int,
        target: Target,
        players: Sequence[int],
        flags: SignalFlag,
        after_message: int,
    ) -> None:
        """Cut a signal into fragments and queue them; the oldest signals give way when too many wait.

        `after_message`: whole id of the message before it, with AFTER_LOG.
        Raises: ValueError for a number out of range or a payload that needs more than 8 fragments.
        """
        targets = encode_targets(kind, channel, target, players)
        size = fragment_bytes(SIGNAL_UP_HEADER.size, len(players))
        pieces = split(payload, size)
        if len(pieces) > MAX_SIGNAL_FRAGMENTS:
            raise ValueError(f"payload is {len(payload)} bytes; permitted: 0 to {MAX_SIGNAL_FRAGMENTS * size}")
        self._sequence += 1
        last = len(pieces) - 1
        bodies: deque[bytes] = deque()
        for number, piece in enumerate(pieces):
            header = SIGNAL_UP_HEADER.encode(
                kind=kind,
                flags=flags,
                channel=channel,
                fragment=last << 4 | number,
                target=target,
                target_count=len(players),
                sequence=self._sequence & 0xFFFF,
                after_message=after_message & 0xFFFF,
            )
            bodies.append(header + targets + piece)
        self._queue.append(_Unsent(after_message, bodies))
        self._num_bodies += len(bodies)
        while self._num_bodies > MAX_QUEUED:
            self._num_bodies -= len(self._queue.popleft().bodies)
            self.num_dropped += 1

    def has_due(self, newest_message: int) -> bool:
        """Tell whether `pack` has anything to send."""
        return any(signal.after <= newest_message for signal in self._queue)

    def pack(self, parcel: Parcel, newest_message: int) -> None:
        """Move what fits into a DATA, in order; it is never sent again.

        `newest_message`: the newest that the server takes now. What follows a later one waits for that here: the
        server would drop it (SPEC 10).
        """
        waiting = deque[_Unsent]()
        while self._queue:
            signal = self._queue[0]
            if signal.after <= newest_message:
                while signal.bodies and parcel.fits(len(signal.bodies[0])):
                    parcel.add(DataSection.SIGNAL, signal.bodies.popleft())
                    self._num_bodies -= 1
                if signal.bodies:
                    break
            else:
                waiting.append(signal)
            self._queue.popleft()
        self._queue.extendleft(reversed(waiting))


@dataclass(slots=True)
class _Held:
    part: SignalPart
    position: int
    """Whole log index that must have been handed over first."""
    expires_at: float


@dataclass(slots=True)
class _Unfinished:
    begun_at: float
    parts: dict[int, SignalPart]
    """By the fragment's number."""


class SignalInbox:
    """Signals that arrive: put together, held until the log is there, checked for newest-first.

    A signal may overtake its sender's PLAYER_JOINED, and a late one may follow its PLAYER_LEFT: the game hears of
    members only, so the first waits and the second is dropped.
    """

    def __init__(self, dropped: Counter[DropReason], members: Container[int]) -> None:
        """Start with nothing. `members`: player ids announced at `done`, kept up to date by the roster."""
        self.num_superseded = 0
        """Signals not handed over because a newer one had been: normal for NEWEST_FIRST."""
        self.num_unfinished_dropped = 0
        """Fragmented signals that never became whole and had to make room."""
        self._dropped = dropped
        self._members = members
        self._left: set[int] = set()  # ids whose last player left: at most one per slot of the room
        self._unfinished: dict[tuple[int, int], _Unfinished] = {}  # by (sender, sequence)
        self._held: list[_Held] = []
        self._newest: dict[int, dict[int, tuple[int, float]]] = {}  # sender -> channel -> newest sequence, and when

    def take(self, part: SignalPart, done: int, now: float) -> Signal | None:
        """Take a section that arrived.

        Args:
            part: The section.
            done: Everything up to this log index has been handed over.
            now: Monotonic seconds.
        Returns: the signal, if it is whole and due.
        """
        if part.sender in self._left:
            self._dropped[DropReason.SIGNAL_LATE] += 1
            return None
        whole = self._assemble(part, now)
        if whole is None:
            return None
        position = extend(whole.position, done) if whole.flags & SignalFlag.AFTER_LOG else 0
        waiting = _Held(whole, position, now + HOLD_S)
        if self._is_due(waiting, done):
            return self._hand_over(whole, now)
        self._hold(waiting)
        return None

    def is_reached(self, part: SignalPart, done: int) -> bool:
        """Tell whether a section waits for nothing when everything up to `done` has been handed over."""
        position = extend(part.position, done) if part.flags & SignalFlag.AFTER_LOG else 0
        return position <= done and part.sender in self._members

    def release(self, done: int, now: float) -> list[Signal]:
        """Hand over what waited for the log up to `done`, in order of arrival; drop what waited too long."""
        if not self._held:
            return []
        signals = []
        held, self._held = self._held, []
        for waiting in held:
            if waiting.expires_at <= now:
                self._dropped[DropReason.SIGNAL_LATE] += 1
            elif self._is_due(waiting, done):
                signals.append(self._hand_over(waiting.part, now))
            else:
                self._held.append(waiting)
        return [signal for signal in signals if signal is not None]

    def on_joined(self, sender: int) -> None:
        """A player was announced: what it sent may be handed over."""
        self._left.discard(sender)

    def on_new_life(self, sender: int) -> None:
        """A player came back afresh: it counts its signals anew (SPEC 4)."""
        self._newest.pop(sender, None)
        for key in [key for key in self._unfinished if key[0] == sender]:
            del self._unfinished[key]

    def on_left(self, sender: int) -> None:
        """A player has gone: what is still here of it is dropped, and who gets its id next starts anew."""
        self._left.add(sender)
        self.on_new_life(sender)
        kept = [waiting for waiting in self._held if waiting.part.sender != sender]
        self._dropped[DropReason.SIGNAL_LATE] += len(self._held) - len(kept)
        self._held = kept

    def _is_due(self, waiting: _Held, done: int) -> bool:
        return waiting.position <= done and waiting.part.sender in self._members

    def _assemble(self, part: SignalPart, now: float) -> SignalPart | None:
        if part.last == 0:
            return part
        key = (part.sender, part.sequence)
        unfinished = self._unfinished.get(key)
        if unfinished is None or now - unfinished.begun_at > REMEMBERED_S:
            unfinished = self._unfinished[key] = _Unfinished(now, {})
        parts = unfinished.parts
        parts[part.number] = part
        if len(parts) <= part.last:
            if len(self._unfinished) > MAX_UNFINISHED:
                del self._unfinished[next(iter(self._unfinished))]
                self.num_unfinished_dropped += 1
            return None
        del self._unfinished[key]
        return part._replace(payload=b"".join(parts[number].payload for number in sorted(parts)))

    def _hold(self, waiting: _Held) -> None:
        if len(self._held) >= MAX_HELD:
            self._dropped[DropReason.SIGNAL_QUEUE_FULL] += 1
        else:
            self._held.append(waiting)

    def _hand_over(self, part: SignalPart, now: float) -> Signal | None:
        channels = self._newest.setdefault(part.sender, {})
        newest, since = channels.get(part.channel, (0, -math.inf))
        if now - since > REMEMBERED_S or 0 < (part.sequence - newest) & 0xFFFF < 0x8000:
            channels[part.channel] = part.sequence, now
        elif part.flags & SignalFlag.NEWEST_FIRST:
            self.num_superseded += 1
            return None
        return Signal(part.sender, part.kind, part.channel, part.payload, part.sequence)
