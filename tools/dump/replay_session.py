"""A captured client, alive again: joins as a new session and plays the recorded uploads. No sockets, no clock.

The handshake is the client library's. Afterwards every DATA is a recorded one with a header of its own: session, seq,
and acknowledgements of what the new relay really sent. It is the least client that is correct (SPEC 15): ranges that
begin beyond its cursor are ignored, and come again.
"""

import math
from bisect import bisect_left
from typing import Any

from protocol import codec
from protocol.client.acks import Receipts
from protocol.client.handshake import Handshake, Welcome
from protocol.client.request import JoinRequest
from protocol.constants import ACK_WITHIN_S, ByeReason, Kind, Refusal, UpdateSection
from protocol.drops import DropReason
from protocol.dtypes import DATA_HEADER
from protocol.proofs import shard_of
from protocol.sequence import extend
from tools.dump.sessions import name_of, printable
from tools.dump.uploads import Recording, Rewriter

LINGER_S = 0.5
"""After the last upload we stay this long, for what comes back (chosen: several round trips)."""
BYE_COPIES = 3


class ReplaySession:
    """One player of a recording."""

    def __init__(self, recording: Recording, request: JoinRequest, *, nonce: int, speed: float, now: float) -> None:
        """Begin to join.

        Args:
            recording: What to play; at least one upload.
            request: As whom, and into what room.
            nonce: A fresh random number, 0 ... 2**64 - 1.
            speed: 1 is as it was, 2 twice as fast; above 0.
            now: Monotonic seconds.
        """
        self._recording = recording
        self._handshake = Handshake(request, nonce, now)
        self._speed = speed
        self._rewriter: Rewriter | None = None
        self._receipts = Receipts()
        self._began_at = math.inf
        self._sent_at = now
        self._next = 0
        """Upload that is due next."""
        self._newest = 0
        """Highest seq sent."""
        self._insertions: list[int] = []
        """After which recorded seqs we had to speak without a recorded datagram."""
        self._newest_recorded = 0
        self._log_cursor = 0
        self._tick: tuple[int, float] = (0, now)
        self.welcome: Welcome | None = None
        """None until we are in."""
        self.ended = ""
        """Why it is over; empty while it is not."""
        self.is_done = False
        """Whether all was played."""
        self.num_updates = 0
        """UPDATEs that came back."""

    # --- the network and the clock

    def receive(self, data: bytes, now: float) -> None:
        """Take a datagram. Raises: nothing, whatever the bytes; what is not ours or malformed is ignored."""
        value = codec.decode(data)
        if isinstance(value, DropReason) or self.ended:
            return
        kind = data[0]
        if kind == Kind.CHALLENGE and self.welcome is None:
            self._handshake.handle_challenge(value, now)
        elif kind == Kind.WELCOME and self.welcome is None:
            welcome = self._handshake.handle_welcome(value)
            if isinstance(welcome, Welcome):
                self._begin(welcome, now)
        elif kind == Kind.REFUSE and self.welcome is None and self._handshake.is_own(value.nonce):
            self.ended = f"the relay refused: {name_of(Refusal, value.reason)}, {printable(value.text)}"
        elif self.welcome is None:
            return
        elif kind == Kind.UPDATE and value.header.session == self.welcome.session:
            self._handle_update(value, now)
        elif kind == Kind.BYE and value.session == self.welcome.session:
            self.ended = f"the relay ended it: {name_of(ByeReason, value.reason)}, {printable(value.text)}"
        elif kind == Kind.RESET and value.session == self.welcome.session:
            self.ended = "the relay does not know the session any more: it was restarted"

    def poll(self, now: float) -> list[bytes]:
        """Build what is due."""
        if self.ended:
            return []
        if self.welcome is None:
            if now >= self._handshake.deadline_at:
                self.ended = "no answer: is the relay running, are host and port right?"
                return []
            return self._handshake.poll(now)
        return self._poll_uploads(self.welcome, now)

    def close(self) -> list[bytes]:
        """Give up. Returns: what says goodbye, if we are in."""
        if self.welcome is None or self.ended:
            return []
        self.ended = "interrupted"
        return self._build_byes(self.welcome)

    def next_at(self) -> float:
        """Tell when `poll` has something to do, monotonic seconds."""
        if self.ended:
            return math.inf
        if self.welcome is None:
            return self._handshake.next_at()
        return min(self._due_at(), self._receipts.due_at, self._sent_at + self._keepalive_s(self.welcome))

    # --- inside

    def _begin(self, welcome: Welcome, now: float) -> None:
        self.welcome = welcome
        self._rewriter = Rewriter(self._recording, welcome)
        self._began_at = self._sent_at = now
        self._log_cursor = welcome.log_index
        self._tick = welcome.tick, now

    def _handle_update(self, value: Any, now: float) -> None:
        header = value.header
        seq = extend(header.seq, self._receipts.window.newest)
        if not self._receipts.window.check(seq):
            return
        self.num_updates += 1
        self._receipts.accept(seq, now, is_bare=not value.sections)
        if header.tick > self._tick[0]:
            self._tick = header.tick, now
        for section in value.sections:
            if section.type == UpdateSection.LOG_RANGE and section.body.header.first <= self._log_cursor + 1:
                self._log_cursor = max(self._log_cursor, section.body.header.last)

    def _due_at(self) -> float:
        """When the next upload is due, or, after the last, the end."""
        if self._next < len(self._recording.uploads):
            return self._began_at + self._recording.uploads[self._next].at_s / self._speed
        return self._began_at + self._recording.duration_s / self._speed + LINGER_S

    def _poll_uploads(self, welcome: Welcome, now: float) -> list[bytes]:
        datagrams = []
        while self._next < len(self._recording.uploads) and self._due_at() <= now:
            datagrams.append(self._build_upload(welcome, now))
            self._next += 1
        if self._next == len(self._recording.uploads) and self._due_at() <= now:
            self.is_done = True
            self.ended = "all was played"
            return datagrams + self._build_byes(welcome)
        if not datagrams and now >= min(self._receipts.due_at, self._sent_at + self._keepalive_s(welcome)):
            # At a low speed, or in a gap of the capture, the relay must not think that we are gone.
            self._insertions.append(self._newest_recorded)
            datagrams.append(self._header(welcome, self._newest + 1, now))
        return datagrams

    def _build_byes(self, welcome: Welcome) -> list[bytes]:
        shard = self._shard(welcome)
        return [
            codec.encode(Kind.BYE, shard=shard, session=welcome.session, reason=ByeReason.LEFT, text=b"")
        ] * BYE_COPIES

    def _build_upload(self, welcome: Welcome, now: float) -> bytes:
        assert self._rewriter is not None
        upload = self._recording.uploads[self._next]
        seq = upload.seq + bisect_left(self._insertions, upload.seq)
        self._newest_recorded = max(self._newest_recorded, upload.seq)
        tick, tick_at = self._tick
        server_ms = int(tick * 1000 / welcome.tick_rate + (now - tick_at) * 1000)
        return self._header(welcome, seq, now) + self._rewriter.rewrite_sections(upload, server_ms)

    def _header(self, welcome: Welcome, seq: int, now: float) -> bytes:
        self._newest = max(self._newest, seq)
        self._sent_at = now
        ack, ack_bits, ack_delay, flags = self._receipts.report(now)
        header: bytes = DATA_HEADER.encode(
            kind=Kind.DATA,
            shard=self._shard(welcome),
            seq=seq & 0xFFFF,
            session=welcome.session,
            ack=ack,
            ack_bits=ack_bits,
            ack_delay=ack_delay,
            flags=flags,
            log_cursor=self._log_cursor,
            reserved=0,
        )
        return header

    @staticmethod
    def _shard(welcome: Welcome) -> int:
        return shard_of(welcome.code.encode())

    @staticmethod
    def _keepalive_s(welcome: Welcome) -> float:
        return max(welcome.keepalive_s, ACK_WITHIN_S)
