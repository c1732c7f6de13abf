"""Reads one room's log as it was seen on the wire, and finds for every entry who was to get it.

An entry may have been sent to nobody, for instance if all of its audience had vanished: then the log has a hole there.
"""

from typing import TYPE_CHECKING

from protocol import schemas
from protocol.constants import EntryKind
from tests.sim.lives import Life, SentMessage, covers, uid_of
from tests.sim.roomstate import RoomState
from tests.sim.wiretap import Entry, TappedSession, WiretapError

if TYPE_CHECKING:
    from tests.sim.invariants import Witness


TOLD_BEFORE = (EntryKind.ROSTER, EntryKind.PROPERTIES, EntryKind.OWNERS)
"""What one alone is told before its own arrival, as are copies of kept messages."""
TOLD_ALONE = (EntryKind.ROOM_READY, EntryKind.REQUEST_REFUSED)
"""What one alone is told at any time."""


class RoomLog:
    """Walks one room's log by index, and finds who was to get each entry."""

    def __init__(self, witness: "Witness", room: int) -> None:
        self._witness = witness
        self._tap = witness.tap
        self._room = room
        self._life_of = witness.life_of
        self._arrivals = self._find_arrivals()
        self.state = RoomState(witness)
        self._audience: dict[int, list[Life]] = {}
        """Sender -> who gets its unfinished message."""
        self._message: dict[int, SentMessage] = {}
        self._parts: dict[int, dict[int, bytes]] = {}
        """Sender -> fragments seen of its unfinished message, by number."""
        self._num_known = 0
        """Entries walked, the present one too."""
        self._next_order: dict[int, int] = {}
        """Sending life -> least order that its next message may have."""

    def _find_arrivals(self) -> dict[int, TappedSession]:
        try:
            return self._tap.arrivals(self._room)
        except WiretapError as error:
            self._witness.broken(str(error))

    def arrival_index(self) -> dict[int, int]:
        """Tell the log index at which every life arrived."""
        return {self._life_of[session.session].number: index for index, session in self._arrivals.items()}

    def walk(self, expected: dict[int, list[tuple[int, object]]]) -> None:
        """Add to `expected` what every life was to be handed of this log: (index, message uid or other entry)."""
        newest = 0
        for index, entry in sorted(self._tap.logs[self._room].items()):
            self._num_known += 1
            audience, what = self._walk_entry(index, entry)
            if audience is not None:
                self._check_sent(index, entry, audience)
            for life in audience if audience is not None and what is not None else ():
                expected[life.number].append((index, what))
            newest = index
        self.state.finish(newest)

    def _walk_entry(self, index: int, entry: Entry) -> tuple[list[Life] | None, object]:
        """Returns: who may be sent an entry, None if that is not known; and what a game is handed of it."""
        if entry.by_player:
            return self._walk_fragment(index, entry)
        if entry.is_copy or entry.kind in TOLD_BEFORE:
            return self._arriving_after(index), None
        if entry.kind in TOLD_ALONE:
            return self._walk_told_alone(index, entry), None
        arriving = self._life_of[self._arrivals[index].session] if index in self._arrivals else None
        if arriving is not None:
            self._note_unseen_leave(index, entry)
            self._check_told(index, arriving)
        if entry.kind == EntryKind.PLAYER_LEFT or arriving is not None:
            self._parts.pop(entry.about, None)
        what = self.state.apply(index, entry, arriving, self._has_hole(index))
        return list(self.state.members.values()), what

    def _walk_told_alone(self, index: int, entry: Entry) -> list[Life]:
        """Check an entry whose payload does not say for whom it is: it went to one player and nobody else."""
        told = [
            session
            for session in self._tap.sessions.values()
            if session.room == self._room and index in session.indexes
        ]
        if len({id(session.seat) for session in told}) > 1:
            self._witness.broken(f"index {index} (kind {entry.kind}) is for one alone, but was sent to {len(told)}")
        if told and entry.kind == EntryKind.REQUEST_REFUSED:
            message_id = schemas.REQUEST_REFUSED_PAYLOAD.parse(entry.payload).message_id
            keys = [(session.session, message_id) for session in told[0].seat.sessions]
            asked = [self._tap.requests[key] for key in keys if key in self._tap.requests]
            self.state.check_refused(index, entry, asked)
        return [self._life_of[session.session] for session in told]

    # --- arriving

    def _check_told(self, index: int, life: Life) -> None:
        """Check what an arriving life was told about what was there already; nothing if it was told nothing yet."""
        if not life.handed:
            return
        self._check_roster(index, life)
        state = self.state
        told_away = {about for kind, about, *_ in life.roster if kind == EntryKind.PLAYER_AWAY}  # type: ignore[misc]
        if told_away != state.away and not self._has_hole(index):
            self._witness.broken(f"{life} was told that {told_away} are away, but {state.away} were")
        told = {(entry[1], entry[2]): entry[3] for entry in life.roster if entry[0] == EntryKind.PROPERTY_CHANGED}  # type: ignore[index]
        properties = {what: found.value for what, found in state.properties.items()}
        if told != properties:
            self._witness.broken(f"{life} was told of properties {told}, but there were {properties}")
        self._check_kept(life)

    def _note_unseen_leave(self, index: int, entry: Entry) -> None:
        """Find out that somebody has left in a hole of the log from that its number is given to another."""
        former = self.state.members.get(entry.about)
        if entry.kind == EntryKind.PLAYER_JOINED and former is not None and not former.alive and self._has_hole(index):
            self.state.leave_unseen(entry.about)

    def _check_roster(self, index: int, life: Life) -> None:
        """Check the members that it was told of.

        A leave that was visible to nobody but a session that had gone itself may never have been sent, so there is a
        hole in the log as we know it: then a member whom the roster lacks has left there.
        """
        state = self.state
        told = [about for kind, about, *_ in life.roster if kind == EntryKind.PLAYER_JOINED]  # type: ignore[misc]
        gone = [player_id for player_id, member in state.members.items() if player_id not in told and not member.alive]
        if gone and self._has_hole(index):
            for player_id in gone:
                state.leave_unseen(player_id)
        if sorted(told) != sorted(state.members):
            self._witness.broken(f"{life} was told of members {told}, but there were {list(state.members)}")

    def _check_kept(self, life: Life) -> None:
        """Check the kept messages that it was told of: each once and in order."""
        kept = [message.uid for message, _ in self.state.kept.values()]
        if life.kept_handed != kept:
            self._witness.broken(f"{life} was told of the kept messages {life.kept_handed}, but there were {kept}")

    def _has_hole(self, index: int) -> bool:
        """Tell whether some entry up to this index, at which the walk is, was never sent to anybody."""
        return self._num_known < index

    def _arriving_after(self, index: int) -> list[Life]:
        """Find who is arriving at this index: the one whose own arrival is the next after it."""
        later = [(arrived, session.session) for arrived, session in self._arrivals.items() if arrived > index]
        return [self._life_of[min(later)[1]]] if later else []

    # --- messages

    def _walk_fragment(self, index: int, entry: Entry) -> tuple[list[Life] | None, int | None]:
        """Follow a message through its fragments.

        Returns: who may be sent this one, None if that is not known; and the uid of the message that it completes.
        """
        witness, sender = self._witness, entry.sender
        if entry.number == 0:
            self._begin_message(index, entry)
        parts = self._parts.get(sender, {})
        if entry.number and not parts:
            return None, None  # its beginning was never sent to anybody: all of its audience went away
        if entry.number <= max(parts, default=-1):
            witness.broken(f"index {index} is fragment {entry.number} of player id {sender}, after {max(parts)}")
        parts[entry.number] = entry.payload
        members = self.state.members
        audience = [life for life in self._audience[sender] if members.get(life.player_id) is life]
        if entry.more:
            return audience, None
        del self._parts[sender]
        if len(parts) <= entry.number:
            return audience, None  # fragments in between were never sent to anybody
        message = self._message[sender]
        if b"".join(parts.values()) != message.payload:
            witness.broken(f"the fragments that end at index {index} are not message {message.uid}")
        self.state.keep(index, message, entry.flags)
        return audience, message.uid

    def _begin_message(self, index: int, entry: Entry) -> None:
        """Take the first fragment of a message: it fixes who gets all of it."""
        witness, sender = self._witness, entry.sender
        uid = uid_of(b"M", entry.payload)
        message = witness.messages.get(uid) if uid is not None else None
        if message is None or self.state.members.get(sender) is not message.life:
            witness.broken(f"index {index} is a message of player id {sender} that it did not send")
        if message.order < self._next_order.get(message.life.number, 0):
            witness.broken(f"index {index} is message {uid} of {message.life}, out of order or for a second time")
        self._next_order[message.life.number] = message.order + 1
        self._message[sender], self._parts[sender] = message, {}
        members = self.state.members.items()
        self._audience[sender] = [life for pid, life in members if covers(message.target, message.players, pid)]

    def _check_sent(self, index: int, entry: Entry, audience: list[Life]) -> None:
        """Check (4) on the wire: an entry was sent to nobody else."""
        meant = {session for life in audience for session in life.sessions}
        for session in self._tap.sessions.values():
            if session.room == self._room and index in session.indexes and session.session not in meant:
                self._witness.broken(
                    f"index {index} (kind {entry.kind} of {entry.sender}) was sent to "
                    f"{self._life_of[session.session]}, for whom it is not"
                )
