"""One session, a stretch of connection, and the datagrams in which it carries the room (SPEC 5, 7 to 11).

Down: `handle_update` runs the checks of SPEC 11 in their order, then moves the window, and only then lets the room
see what came. Up: `build_tick` lets the parts fill at most two DATA. In the first, states and signals go before
messages; in the second it is the other way round: so neither many states nor a large message can starve the other.
"""

import hmac

from protocol import codec
from protocol.client.acks import Flight, Receipts
from protocol.client.clock import ServerClock
from protocol.client.handshake import Welcome
from protocol.client.parcel import Parcel
from protocol.client.room import Room
from protocol.constants import ACK_WITHIN_S, ByeReason, DataSection, Kind
from protocol.drops import DropReason
from protocol.dtypes import DATA_HEADER, UPDATE_HEADER
from protocol.proofs import path_proof, shard_of
from protocol.records import read_sections
from protocol.sequence import extend

MAX_EVENTS = 16_384
"""Events that may wait for the game (chosen: minutes of a busy room). Then UPDATEs are dropped unacknowledged, so that
the server keeps what they held: nothing is lost unless the game sleeps past the session's timeout and grace."""


class Session:
    """One session, from its WELCOME on."""

    def __init__(self, welcome: Welcome, now: float, room: Room) -> None:
        self.welcome = welcome
        self.room = room
        self.receipts = Receipts()
        self.flight = Flight()
        self.clock = ServerClock(welcome.tick_rate, now)
        self.clock.add(welcome.tick, now)
        # A server that asks for a keepalive of 1 ms must not turn its clients into a flood.
        self._keepalive_s = max(welcome.keepalive_s, ACK_WITHIN_S)
        self._shard = shard_of(welcome.code.encode())
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
        room = self.room
        if len(room.events) >= MAX_EVENTS:
            return DropReason.HOLD_FULL
        seq = extend(header.seq, self.receipts.window.newest)
        is_new = self.receipts.window.check(seq)
        if not is_new:
            return DropReason.TOO_OLD if is_new is None else DropReason.DUPLICATE
        if not self.flight.may_be_acked(header) or not room.outbox.may_be_acked(header.message_ack):
            return DropReason.BAD_ACK
        sections = read_sections(data, room.shape)
        if sections is None or not room.table.fits(header.tick, sections.pages):
            return DropReason.BAD_SECTION
        is_newest = seq > self.receipts.window.newest
        self.receipts.accept(seq, now, is_bare=len(data) == UPDATE_HEADER.size)
        self._received_at = now
        self.clock.add(header.tick, now)
        if is_newest:
            room.uploads.on_acked(self.flight.on_acked(header, now))
            room.outbox.on_acked(header.message_ack, header.message_bits, header.message_credit)
        room.apply(header.tick, sections, now)
        return None

    def handle_path_challenge(self, challenge: int, now: float) -> bytes:
        """Answer a challenge: proves to the server that we are at the address it went to."""
        self._received_at = now
        session = self.welcome.session
        proof = path_proof(self.welcome.secret, challenge, session)
        return codec.encode(Kind.PATH_RESPONSE, shard=self._shard, session=session, challenge=challenge, proof=proof)

    def is_own_reset(self, reset_token: bytes) -> bool:
        """Tell whether a reset token is the one from WELCOME, in constant time."""
        return hmac.compare_digest(reset_token, self.welcome.reset_token)

    # --- up

    def build_tick(self, now: float) -> list[bytes]:
        """Pack what is due into at most two DATA; none if nothing is due and no acknowledgement is owed."""
        room = self.room
        states = room.uploads.due() if room.may_send_states else []
        messages = room.outbox.due(now)
        newest_message = room.outbox.newest_permitted
        rtt_s = self.flight.rtt_s
        datagrams: list[bytes] = []

        first = self._open_parcel()
        states = room.uploads.pack(states, first, self.flight.newest + 1)
        room.signals_out.pack(first, newest_message)
        messages = room.outbox.pack(messages, first, now, rtt_s)
        if not first.is_empty or self.receipts.is_owed:
            datagrams.append(self._seal(first, now))

        if states or messages or room.signals_out.has_due(newest_message):
            second = self._open_parcel()
            room.outbox.pack(messages, second, now, rtt_s)
            room.signals_out.pack(second, newest_message)
            room.uploads.pack(states, second, self.flight.newest + 1)
            datagrams.append(self._seal(second, now))
        return datagrams

    def build_word(self, now: float) -> bytes:
        """Build a DATA that only acknowledges: what is owed between ticks, and the keepalive."""
        return self._seal(self._open_parcel(), now)

    def _open_parcel(self) -> Parcel:
        parcel = Parcel()
        log_bits = self.room.inbox.log_bits()
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
            log_cursor=self.room.inbox.cursor,
            reserved=0,
        )
        return header + parcel.body()


def build_bye(welcome: Welcome, reason: ByeReason) -> bytes:
    """Build the datagram that ends a session on our side."""
    shard = shard_of(welcome.code.encode())
    return codec.encode(Kind.BYE, shard=shard, session=welcome.session, reason=reason, text=b"")
