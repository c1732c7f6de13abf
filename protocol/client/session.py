"""What a client is from WELCOME to the end: the parts of a session and the datagrams they share (SPEC 5, 7 to 11).

Down: `handle_update` runs the checks of SPEC 11 in their order, then moves the window, and only then lets the parts
see what came. Up: `build_tick` lets the parts fill at most two DATA. In the first, states and signals go before
messages; in the second it is the other way round: so neither many states nor a large message can starve the other.
"""

import hmac
from collections import Counter

from protocol import codec
from protocol.client.acks import Flight, Receipts
from protocol.client.clock import ServerClock
from protocol.client.events import Event, Message, PlayerJoined, PlayerLeft
from protocol.client.handshake import Welcome
from protocol.client.inbox import Inbox
from protocol.client.outbox import Outbox
from protocol.client.parcel import Parcel
from protocol.client.roster import Roster
from protocol.client.signals import SignalInbox, SignalOutbox
from protocol.client.table import Table
from protocol.client.uploads import Uploads
from protocol.constants import ACK_WITHIN_S, MAX_PLAYER_KIND, ByeReason, DataSection, Kind
from protocol.drops import DropReason
from protocol.dtypes import DATA_HEADER, UPDATE_HEADER
from protocol.proofs import path_proof, shard_of
from protocol.records import Entry, RoomShape, Sections, SignalPart, read_sections
from protocol.sequence import extend

MAX_EVENTS = 16_384
"""Events that may wait for the game (chosen: minutes of a busy room). Then UPDATEs are dropped unacknowledged, so that
the server keeps what they held: nothing is lost unless the game sleeps past the session's timeout."""


class Session:
    """One session, from WELCOME on."""

    def __init__(self, welcome: Welcome, now: float, dropped: Counter[DropReason], events: list[Event]) -> None:
        shape = RoomShape(
            player_slots=welcome.player_slots,
            num_ids=welcome.player_slots * welcome.entities_per_player,
            page_ids=welcome.page_ids,
            max_state_bytes=welcome.max_state_bytes,
        )
        self.welcome = welcome
        self.tick = welcome.tick
        """The server's newest tick that we know of."""
        self.receipts = Receipts()
        self.flight = Flight()
        self.clock = ServerClock(welcome.tick_rate, now)
        self.clock.add(welcome.tick, now)
        self.table = Table(shape, welcome.player_id, welcome.tick_rate)
        self.roster = Roster(welcome.player_slots)
        self.inbox = Inbox(welcome.log_index)
        self.signals = SignalInbox(dropped, self.roster.members)
        self.uploads = Uploads()
        self.outbox = Outbox(welcome.message_id, welcome.message_credit)
        self.signals_out = SignalOutbox()
        # A server that asks for a keepalive of 1 ms must not turn its clients into a flood.
        self._keepalive_s = max(welcome.keepalive_s, ACK_WITHIN_S)
        self._shape = shape
        self._shard = shard_of(welcome.code.encode())
        self._dropped = dropped
        self._events = events
        self._received_at = now
        self._sent_at = now

    # --- time

    def timeout_at(self) -> float:
        """Tell when the session is over if nothing arrives, monotonic seconds."""
        return self._received_at + self.welcome.timeout_s

    def speak_at(self) -> float:
        """Tell when a DATA must go out at the latest: an acknowledgement or a keepalive."""
        return min(self.receipts.due_at, self._sent_at + self._keepalive_s)

    def server_time(self, now: float) -> float:
        """Estimate the server's time, seconds."""
        return self.clock.server_time(now, self.flight.rtt_s or 0.0)

    # --- down

    def handle_update(self, data: bytes, now: float) -> DropReason | None:
        """Take an UPDATE, or tell why not; then nothing has changed."""
        if len(data) < UPDATE_HEADER.size:
            return DropReason.TOO_SHORT
        header = UPDATE_HEADER.decode(data)
        if header.session != self.welcome.session:
            return DropReason.UNKNOWN_SESSION
        if len(self._events) >= MAX_EVENTS:
            return DropReason.HOLD_FULL
        seq = extend(header.seq, self.receipts.window.newest)
        is_new = self.receipts.window.check(seq)
        if not is_new:
            return DropReason.TOO_OLD if is_new is None else DropReason.DUPLICATE
        if not self.flight.may_be_acked(header) or not self.outbox.may_be_acked(header.message_ack):
            return DropReason.BAD_ACK
        sections = read_sections(data, self._shape)
        if sections is None or not self.table.fits(header.tick, sections.pages):
            return DropReason.BAD_SECTION
        is_newest = seq > self.receipts.window.newest
        self.receipts.accept(seq, now, is_bare=len(data) == UPDATE_HEADER.size)
        self._received_at = now
        self.tick = max(self.tick, header.tick)
        self.clock.add(header.tick, now)
        if is_newest:
            self.uploads.on_acked(self.flight.on_acked(header, now))
            self.outbox.on_acked(header.message_ack, header.message_bits, header.message_credit)
        self._apply(header.tick, sections, now)
        return None

    def handle_path_challenge(self, challenge: int, now: float) -> bytes:
        """Answer a challenge: proves to the server that we are at the address it went to."""
        self._received_at = now
        session = self.welcome.session
        proof = path_proof(self.welcome.secret, challenge, session)
        return codec.encode(Kind.PATH_RESPONSE, shard=self._shard, session=session, challenge=challenge, proof=proof)

    def build_bye(self, reason: ByeReason) -> bytes:
        """Build the datagram that ends the session on our side."""
        return codec.encode(Kind.BYE, shard=self._shard, session=self.welcome.session, reason=reason, text=b"")

    def is_own_reset(self, reset_token: bytes) -> bool:
        """Tell whether a reset token is the one from WELCOME, in constant time."""
        return hmac.compare_digest(reset_token, self.welcome.reset_token)

    def expire(self, now: float) -> None:
        """Drop signals that waited too long for the log."""
        self._events.extend(self.signals.release(self.inbox.done, now))

    def _apply(self, tick: int, sections: Sections, now: float) -> None:
        state_changed = self.table.apply(tick, sections.pages)
        if state_changed is not None:
            self._events.append(state_changed)
        # what waits for no entry goes first: a signal sent before an entry of the same UPDATE must not be seen after it
        reached: list[SignalPart] = []
        waiting: list[SignalPart] = []
        for signal in sections.signals:
            (reached if self.signals.is_reached(signal, self.inbox.done) else waiting).append(signal)
        self._take_signals(reached, now)
        for part in sections.ranges:
            for entry in self.inbox.take(part):
                self._hand_over(entry)
        self._events.extend(self.signals.release(self.inbox.done, now))
        self._take_signals(waiting, now)

    def _take_signals(self, parts: list[SignalPart], now: float) -> None:
        for part in parts:
            signal = self.signals.take(part, self.inbox.done, now)
            if signal is not None:
                self._events.append(signal)

    def _hand_over(self, entry: Entry) -> None:
        if 1 <= entry.kind <= MAX_PLAYER_KIND:
            self._events.append(Message(entry.sender, entry.kind, entry.channel, entry.payload, entry.log_index))
            return
        events = self.roster.apply(entry)
        if events is None:
            self._dropped[DropReason.MALFORMED] += 1
            return
        for event in events:
            self._events.append(event)
            if isinstance(event, PlayerJoined):
                self.signals.on_joined(event.player_id)
                withheld = self.table.announce(event.player_id, self.tick)
                if withheld is not None:
                    self._events.append(withheld)
            elif isinstance(event, PlayerLeft):
                self.signals.on_left(event.player_id)
                self.table.retire(event.player_id)

    # --- up

    def build_tick(self, now: float) -> list[bytes]:
        """Pack what is due into at most two DATA; none if nothing is due and no acknowledgement is owed."""
        states = self.uploads.due()
        messages = self.outbox.due(now)
        newest_message = self.outbox.newest_permitted
        rtt_s = self.flight.rtt_s
        datagrams: list[bytes] = []

        first = self._open_parcel()
        states = self.uploads.pack(states, first, self.flight.newest + 1)
        self.signals_out.pack(first, newest_message)
        messages = self.outbox.pack(messages, first, now, rtt_s)
        if not first.is_empty or self.receipts.is_owed:
            datagrams.append(self._seal(first, now))

        if states or messages or self.signals_out.has_due(newest_message):
            second = self._open_parcel()
            self.outbox.pack(messages, second, now, rtt_s)
            self.signals_out.pack(second, newest_message)
            self.uploads.pack(states, second, self.flight.newest + 1)
            datagrams.append(self._seal(second, now))
        return datagrams

    def build_word(self, now: float) -> bytes:
        """Build a DATA that only acknowledges: what is owed between ticks, and the keepalive."""
        return self._seal(self._open_parcel(), now)

    def _open_parcel(self) -> Parcel:
        parcel = Parcel()
        log_bits = self.inbox.log_bits()
        if log_bits:
            parcel.add(DataSection.LOG_BITS, log_bits)
        return parcel

    def _seal(self, parcel: Parcel, now: float) -> bytes:
        """Put the header before a parcel and count the datagram as sent."""
        ack, ack_bits, ack_delay, flags = self.receipts.report(now)
        seq = self.flight.add(now, parcel.states)
        self._sent_at = now
        header = DATA_HEADER.encode(
            kind=Kind.DATA,
            shard=self._shard,
            seq=seq & 0xFFFF,
            session=self.welcome.session,
            ack=ack,
            ack_bits=ack_bits,
            ack_delay=ack_delay,
            flags=flags,
            log_cursor=self.inbox.cursor,
            reserved=0,
        )
        return header + parcel.body()
