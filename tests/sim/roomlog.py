"""Reads one room's log as it was seen on the wire, and finds for every entry who was to get it.

An entry may have been sent to nobody, for instance if all of its audience had vanished: then the log has a hole there.
"""

from typing import TYPE_CHECKING

from protocol.constants import EntryKind
from tests.sim.lives import Life, SentMessage, covers, uid_of
from tests.sim.wiretap import Entry, TappedSession, WiretapError

if TYPE_CHECKING:
    from tests.sim.invariants import Witness


TOLD_BEFORE = (EntryKind.ROSTER, EntryKind.PROPERTIES, EntryKind.OWNERS)
"""What a joiner alone is told before its own PLAYER_JOINED."""


class RoomLog:
    """Walks one room's log by index, and finds who was to get each entry."""

    def __init__(self, witness: "Witness", room: int) -> None:
        self._witness = witness
        self._tap = witness.tap
        self._room = room
        self._life_of = {life.session: life for life in witness.lives if life.session}
        self._joins = self._find_joins()
        self._members: dict[int, Life] = {}
        """Player id -> life, at the index where the walk is."""
        self._audience: dict[int, list[Life]] = {}
        """Sender -> who gets its unfinished message."""
        self._message: dict[int, SentMessage] = {}
        self._parts: dict[int, dict[int, bytes]] = {}
        """Sender -> fragments seen of its unfinished message, by number."""
        self._host: int | None = None
        self._next_order: dict[int, int] = {}
        """Sending life -> least order that its next message may have."""

    def _find_joins(self) -> dict[int, TappedSession]:
        try:
            return self._tap.members_by_join(self._room)
        except WiretapError as error:
            self._witness.broken(str(error))

    def join_index(self) -> dict[int, int]:
        """Tell the log index at which every life joined."""
        return {self._life_of[session.session].number: index for index, session in self._joins.items()}

    def walk(self, expected: dict[int, list[tuple[int, object]]]) -> None:
        """Add to `expected` what every life was to be handed of this log: (index, message uid or presence entry)."""
        join_index = {session.session: index for index, session in self._joins.items()}
        newest = 0
        for index, entry in sorted(self._tap.logs[self._room].items()):
            if entry.by_player:
                audience, what = self._walk_fragment(index, entry)
            elif entry.kind in TOLD_BEFORE:
                audience, what = self._joiner_after(index, join_index), None
            elif entry.kind == EntryKind.ROOM_READY:
                audience, what = self._joiner_before(index, join_index), None
            else:
                audience, what = self._walk_presence(index, entry), (EntryKind(entry.kind), entry.about)
            if audience is not None:
                self._check_sent(index, entry, audience)
            for life in audience if audience is not None and what is not None else ():
                expected[life.number].append((index, what))
            newest = index
        if self._members:
            self._check_host(newest)

    def _walk_presence(self, index: int, entry: Entry) -> list[Life]:
        witness, members, about = self._witness, self._members, entry.about
        if entry.kind == EntryKind.PLAYER_JOINED:
            life = self._life_of[self._joins[index].session]
            if about in members:
                witness.broken(f"index {index} announces player id {about}, which {members[about]} has")
            self._check_roster(index, life)
            members[about] = life
        elif entry.kind == EntryKind.PLAYER_LEFT:
            gone = members.pop(about, None)
            self._parts.pop(about, None)
            if gone is None:
                witness.broken(f"index {index} says that player id {about} left, which nobody had")
            if gone.alive:
                witness.broken(f"index {index} says that {gone} left, but it is alive")
        else:
            self._host = about
            self._check_host(index)
        return list(members.values())

    def _check_host(self, index: int) -> None:
        """Check that the host is who is there longest; those before it may have left in a hole of the log."""
        order = list(self._members)
        before = order[: order.index(self._host)] if self._host in order else order
        if self._host not in order or (before and any(self._members[player_id].alive for player_id in before)):
            self._witness.broken(f"the host is {self._host} at index {index}, but the order of joining is {order}")

    def _check_roster(self, index: int, life: Life) -> None:
        """Check what a joining life was told about those who were there already; nothing if it was told nothing yet.

        A leave that was visible to nobody but a session that had gone itself may never have been sent, so there is a
        hole in the log as we know it: then a member whom the roster lacks has left there.
        """
        told = [player_id for kind, player_id in life.roster if kind == EntryKind.PLAYER_JOINED]  # type: ignore[misc]
        if not life.handed:
            return
        gone = [player_id for player_id, member in self._members.items() if player_id not in told and not member.alive]
        if gone and self._has_hole(index):
            for player_id in gone:
                del self._members[player_id]
            self._host = next(iter(self._members), None)
        if sorted(told) != sorted(self._members):
            self._witness.broken(f"{life} was told of members {told}, but there were {list(self._members)}")

    def _has_hole(self, index: int) -> bool:
        """Tell whether some entry up to this index was never sent to anybody."""
        return sum(known <= index for known in self._tap.logs[self._room]) < index

    def _joiner_before(self, index: int, join_index: dict[int, int]) -> list[Life]:
        """Find who has joined right before this index."""
        earlier = [(joined, session) for session, joined in join_index.items() if joined < index]
        return [self._life_of[max(earlier)[1]]] if earlier else []

    def _joiner_after(self, index: int, join_index: dict[int, int]) -> list[Life]:
        """Find who is joining at this index: the one whose own PLAYER_JOINED is the next after it."""
        later = [(joined, session) for session, joined in join_index.items() if joined > index]
        return [self._life_of[min(later)[1]]] if later else []

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
        audience = [life for life in self._audience[sender] if self._members.get(life.player_id) is life]
        if entry.more:
            return audience, None
        del self._parts[sender]
        if len(parts) <= entry.number:
            return audience, None  # fragments in between were never sent to anybody
        message = self._message[sender]
        if b"".join(parts.values()) != message.payload:
            witness.broken(f"the fragments that end at index {index} are not message {message.uid}")
        return audience, message.uid

    def _begin_message(self, index: int, entry: Entry) -> None:
        """Take the first fragment of a message: it fixes who gets all of it."""
        witness, sender = self._witness, entry.sender
        uid = uid_of(b"M", entry.payload)
        message = witness.messages.get(uid) if uid is not None else None
        if message is None or self._members.get(sender) is not message.life:
            witness.broken(f"index {index} is a message of player id {sender} that it did not send")
        if message.order < self._next_order.get(message.life.number, 0):
            witness.broken(f"index {index} is message {uid} of {message.life}, out of order or for a second time")
        self._next_order[message.life.number] = message.order + 1
        self._message[sender], self._parts[sender] = message, {}
        members = self._members.items()
        self._audience[sender] = [life for pid, life in members if covers(message.target, message.players, pid)]

    def _check_sent(self, index: int, entry: Entry, audience: list[Life]) -> None:
        """Check (4) on the wire: an entry was sent to nobody else."""
        meant = {life.session for life in audience}
        for session in self._tap.sessions.values():
            if session.room == self._room and index in session.indexes and session.session not in meant:
                self._witness.broken(
                    f"index {index} (kind {entry.kind} of {entry.sender}) was sent to "
                    f"{self._life_of[session.session]}, for whom it is not"
                )
