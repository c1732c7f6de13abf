"""What is known of the room and what we have for it: all that outlives a session (SPEC 4, "Coming back").

A session is a stretch of connection; when it is lost and continued, the room goes on behind the same cursor, with the
same messages and states under way. Only a resume that is AFRESH makes a new Room.
"""

from collections import Counter
from typing import Any

from protocol.client import owners, properties, roster
from protocol.client.entries import is_owner, parse_kept_copy, parse_payload
from protocol.client.events import (
    Event,
    Joined,
    KeptCleared,
    Message,
    PlayerBack,
    PlayerJoined,
    PlayerLeft,
    RequestRefused,
    Resumed,
    RoomLocked,
    RoomShown,
)
from protocol.client.handshake import Welcome
from protocol.client.inbox import Inbox
from protocol.client.outbox import MAX_MESSAGE_KIND, Outbox
from protocol.client.owners import Owners
from protocol.client.properties import Properties
from protocol.client.roster import Roster
from protocol.client.signals import SignalInbox, SignalOutbox
from protocol.client.table import Table
from protocol.client.uploads import Uploads
from protocol.constants import NO_PLAYER, EntryKind, MessageFlag, RequestKind, RequestRefusal
from protocol.constants import Resumed as Resumption
from protocol.drops import DropReason
from protocol.records import Entry, RoomShape, Sections, SignalPart
from protocol.sequence import extend
from protocol.texts import REQUEST_TEXTS

_NOTICES = (
    EntryKind.ROOM_LOCKED,
    EntryKind.ROOM_SHOWN,
    EntryKind.REQUEST_REFUSED,
    EntryKind.ROOM_READY,
    EntryKind.KEPT_CLEARED,
)
_MAY_CHANGE_OWNERS = (*roster.KINDS, *owners.KINDS, EntryKind.ROOM_READY)


class Room:
    """The room as the log and the pages tell it, and what goes up."""

    def __init__(self, welcome: Welcome, dropped: Counter[DropReason], events: list[Event]) -> None:
        self.shape = shape_of(welcome)
        self.player_id = welcome.player_id
        self.events = events
        """What the game has not taken yet."""
        self.tick = welcome.tick
        """The server's newest tick that we know of."""
        self.is_locked = False
        """Nobody can join now."""
        self.is_listed = False
        """All who play this game find the room."""
        self.roster = Roster(welcome.player_slots)
        self.properties = Properties(welcome.player_slots)
        self.owners = Owners(welcome.player_slots, self.shape.num_ids)
        self.table = Table(self.shape, welcome.tick_rate, self._is_owner_known)
        self.inbox = Inbox(welcome.log_index)
        self.signals = SignalInbox(dropped, self.roster.members)
        self.uploads = Uploads()
        self.outbox = Outbox(welcome.message_id, welcome.message_credit)
        self.signals_out = SignalOutbox()
        self._dropped = dropped
        self._is_told = False  # ROOM_READY was handed over: we know all owners
        self._pages: list[int] | None = None  # those that ROOM_READY of this session listed
        is_new = welcome.resumed is Resumption.NO
        self._is_behind = not is_new  # we came back, and may not have read yet that what we publish is another's now
        self._owners_index = 0  # log index of the newest entry that may have changed owners
        self._arrival: Joined | Resumed | None = (
            Joined(welcome.player_id, welcome.code) if is_new else Resumed(welcome.player_id, True)
        )

    # --- its life

    @property
    def is_whole(self) -> bool:
        """Whether Joined, or Resumed of the newest session, was told."""
        return self._arrival is None

    def continues(self, welcome: Welcome) -> bool:
        """Tell whether a WELCOME that says CONTINUED can be of this room."""
        return (
            welcome.player_id == self.player_id
            and shape_of(welcome) == self.shape
            and welcome.log_index <= self.inbox.cursor
            and self.outbox.continues(welcome.message_id)
        )

    def on_continued(self, welcome: Welcome) -> None:
        """Go on in a new session: what is not acknowledged is sent again, pages and ROOM_READY come again."""
        self.outbox.on_resumed(welcome.message_id, welcome.message_credit)
        self.uploads.on_resumed()
        self.table.on_resumed()
        self._pages = None
        self._is_behind = True
        if self._arrival is None:
            self._arrival = Resumed(self.player_id, False)

    def begin_afresh(self, welcome: Welcome) -> "Room":
        """Make the room that a new session begins with, after too much was missed.

        What we publish is published again (SPEC 4); messages that were not acknowledged are lost.
        """
        room = Room(welcome, self._dropped, self.events)
        message_id = max(0, extend(welcome.message_id, self.outbox.acked_id))  # so that ids still mean one message each
        room.outbox = Outbox(message_id, welcome.message_credit)
        if isinstance(self._arrival, Joined):
            room._arrival = Joined(welcome.player_id, welcome.code)
        if (room.shape, room.player_id) == (self.shape, self.player_id):
            room.uploads = self.uploads
            room.uploads.on_resumed()
            for entity_id in room.uploads.entity_ids:
                room.table.claim(entity_id)
        return room

    # --- down

    def expire(self, now: float) -> None:
        """Drop signals that waited too long for the log."""
        self.events.extend(self.signals.release(self.inbox.done, now))

    def apply(self, tick: int, sections: Sections, now: float) -> None:
        """Take the sections of an UPDATE that passed every check."""
        self.tick = max(self.tick, tick)
        state_changed = self.table.apply(tick, sections.pages)
        if state_changed is not None:
            self.events.append(state_changed)
        # what waits for no entry goes first: a signal sent before an entry of the same UPDATE must not be seen after it
        reached: list[SignalPart] = []
        waiting: list[SignalPart] = []
        for signal in sections.signals:
            (reached if self.signals.is_reached(signal, self.inbox.done) else waiting).append(signal)
        self._take_signals(reached, now)
        for part in sections.ranges:
            for entry in self.inbox.take(part):
                self._hand_over(entry)
        self.expire(now)
        self._take_signals(waiting, now)
        self._announce_arrival()

    def _take_signals(self, parts: list[SignalPart], now: float) -> None:
        for part in parts:
            signal = self.signals.take(part, self.inbox.done, now)
            if signal is not None:
                self.events.append(signal)

    def _announce_arrival(self) -> None:
        """Tell the game that the room is whole, once it is (SPEC 9, Joining)."""
        if self._arrival is not None and self._pages is not None and self.table.has_all(self._pages):
            self.events.append(self._arrival)
            self._arrival = None

    def _hand_over(self, entry: Entry) -> None:
        is_message = 1 <= entry.kind <= MAX_MESSAGE_KIND
        events: list[Any] | None = self._take_message(entry) if is_message else self._take_entry(entry)
        if events is None:
            self._dropped[DropReason.MALFORMED] += 1
            return
        for event in events:
            self.events.append(event)
            self._follow(event)
        if entry.kind == EntryKind.OWNERS:  # before we came back AFRESH others may have set these
            self._let_go([event.entity_id for event in events if event.entity_id in self.table.claimed])
        if entry.kind in _MAY_CHANGE_OWNERS:
            self._owners_index = entry.log_index
            self._settle()

    @staticmethod
    def _take_message(entry: Entry) -> list[Message] | None:
        """Make the event of a player's message. Returns: None if it is malformed."""
        index, payload, is_copy = entry.log_index, entry.payload, bool(entry.flags & MessageFlag.KEPT)
        if is_copy:
            copy = parse_kept_copy(entry)
            if copy is None:
                return None
            index, payload = copy.log_index, copy.payload
        flags = MessageFlag(entry.flags) & (MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER)
        return [Message(entry.sender, entry.kind, entry.channel, payload, index, is_copy, flags)]

    def _take_entry(self, entry: Entry) -> "list[Any] | None":
        """Let the part that an entry is for take it. Returns: what the game must hear; None if it is malformed."""
        if entry.kind in roster.KINDS:
            return self.roster.apply(entry)
        if entry.kind in properties.KINDS:
            return self.properties.apply(entry)
        if entry.kind in owners.KINDS:
            return self.owners.apply(entry)
        if entry.kind not in _NOTICES:
            return []  # of a later revision
        value = parse_payload(entry)
        if value is None:
            return None
        if entry.kind == EntryKind.ROOM_LOCKED:
            return self._set_locked(bool(value.is_locked))
        if entry.kind == EntryKind.ROOM_SHOWN:
            return self._set_listed(bool(value.is_listed))
        if entry.kind == EntryKind.KEPT_CLEARED:
            return self._take_cleared(value)
        return [self._refused(value)] if entry.kind == EntryKind.REQUEST_REFUSED else self._take_ready(value)

    def _follow(self, event: Event) -> None:
        """Do what follows from somebody's coming and going."""
        if isinstance(event, PlayerJoined):
            self.signals.on_joined(event.player_id)
            self.events.extend(self.owners.on_joined(event.player_id))
        elif isinstance(event, PlayerLeft):
            self.signals.on_left(event.player_id)
            self.properties.forget(event.player_id)
            self.events.extend(self.owners.on_left(event.player_id))
        elif isinstance(event, PlayerBack) and event.is_afresh:
            self.signals.on_new_life(event.player_id)

    def _set_locked(self, is_locked: bool) -> list[RoomLocked]:
        if is_locked == self.is_locked:
            return []
        self.is_locked = is_locked
        return [RoomLocked(is_locked)]

    def _set_listed(self, is_listed: bool) -> list[RoomShown]:
        if is_listed == self.is_listed:
            return []  # the host shows other properties of it
        self.is_listed = is_listed
        return [RoomShown(is_listed)]

    def _take_cleared(self, value: Any) -> list[KeptCleared] | None:
        if not is_owner(value.player_id, self.shape.player_slots):
            return None
        return [KeptCleared(tuple(one.log_index for one in value.cleared), value.player_id)]

    def _take_ready(self, value: Any) -> list[RoomLocked] | None:
        pages = [8 * at + bit for at, byte in enumerate(value.pages) for bit in range(8) if byte >> bit & 1]
        if pages and pages[-1] * self.shape.page_ids >= self.shape.num_ids:
            return None
        self._pages = pages
        self._is_told = True
        self._is_behind = False
        return self._set_locked(bool(value.is_locked))

    def _refused(self, value: Any) -> RequestRefused:
        request_id = extend(value.message_id, self.outbox.acked_id)
        return refused(request_id, value.request, value.reason)

    # --- entities

    def is_ours(self, entity_id: int) -> bool:
        """Tell whether we publish an entity."""
        owner = self.owners.owner_of(entity_id)
        return self.player_id == (self.roster.host if owner == NO_PLAYER else owner)

    def publish(self, entity_id: int, state: bytes, sample_ms: int) -> bool:
        """Set the newest state of an entity. Returns: whether it is ours; if not, nothing happens."""
        if not self.is_ours(entity_id):
            return False
        self.uploads.publish(entity_id, state, sample_ms)
        self.table.claim(entity_id)
        return True

    def remove(self, entity_id: int) -> bool:
        """Take an entity out of the table. Returns: whether it is ours; if not, nothing happens."""
        if not self.is_ours(entity_id):
            return False
        self.uploads.remove(entity_id, is_there=entity_id in self.table.states)
        self.table.claim(entity_id)
        return True

    @property
    def may_send_states(self) -> bool:
        """Whether the server takes our states: it does once our cursor says that we have read who owns what (SPEC 7).

        It does not say so at once while an entry before is missing that holds up only itself.
        """
        return not self._is_behind and self.inbox.cursor >= self._owners_index

    def _is_owner_known(self, entity_id: int) -> bool:
        owner = self.owners.owner_of(entity_id)
        return owner == NO_PLAYER or owner in self.roster.members

    def _settle(self) -> None:
        """Let go of what is not ours any more, and show what has an owner now."""
        if self._is_told:  # before, we do not know what was handed over to us
            self._let_go([entity_id for entity_id in self.table.claimed if not self.is_ours(entity_id)])
        shown = self.table.show(self.tick)
        if shown is not None:
            self.events.append(shown)

    def _let_go(self, entity_ids: list[int]) -> None:
        """Throw away what waits for entities that are or were another's, and show them as the server has them."""
        for entity_id in entity_ids:
            self.uploads.forget(entity_id)
            self.table.give_up(entity_id)


def shape_of(welcome: Welcome) -> RoomShape:
    """Return what of a room decides how its sections look."""
    return RoomShape(
        player_slots=welcome.player_slots,
        num_ids=welcome.player_slots * welcome.entities_per_player,
        page_ids=welcome.page_ids,
        max_state_bytes=welcome.max_state_bytes,
    )


def refused(request_id: int, kind: int, reason: int) -> RequestRefused:
    """Build the event for a request that is not done; numbers of a later revision stay numbers."""
    kind = RequestKind(kind) if kind in set(RequestKind) else kind
    if reason not in set(RequestRefusal):
        return RequestRefused(request_id, kind, reason, "")
    known = RequestRefusal(reason)
    return RequestRefused(request_id, kind, known, REQUEST_TEXTS[known])
