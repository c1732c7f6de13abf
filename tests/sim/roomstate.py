"""What a room's log says of the room, entry by entry: members, away, host, properties, owners, kept messages, lock.

And what must be true of it on the way: the host is somebody who is here, and stays it while it is; of those who change
one version of a property one succeeds; nobody joins a locked room.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from protocol import schemas
from protocol.constants import (
    MAX_KEPT_BYTES,
    MAX_KEPT_MESSAGES,
    NO_PLAYER,
    ByeReason,
    EntryKind,
    MessageFlag,
    PropertyType,
    RequestRefusal,
    Target,
)
from protocol.properties import Value, decode_value
from tests.sim.lives import Life, SentMessage
from tests.sim.wiretap import Entry

if TYPE_CHECKING:
    from tests.sim.invariants import Witness


class Property(NamedTuple):
    """The newest value of one key."""

    version: int
    value: Value


class RoomState:
    """One room, as its log tells it up to some index."""

    def __init__(self, witness: "Witness") -> None:
        self._witness = witness
        self.members: dict[int, Life] = {}
        """Player id -> life, longest present first."""
        self.away: set[int] = set()
        self.host: int | None = None
        self.properties: dict[tuple[int, str], Property] = {}
        """(owner, key) -> newest value."""
        self.owners: dict[int, int] = {}
        """Entity id -> owner, of those that were handed over."""
        self.kept: dict[int, tuple[SentMessage, int]] = {}
        """Log index -> message and sender of those that are kept."""
        self.is_locked = False
        self._host_due_at = 0
        """Index at which somebody must become host; 0: none."""

    @property
    def here(self) -> list[int]:
        """Player ids of members who are not away, longest present first."""
        return [player_id for player_id in self.members if player_id not in self.away]

    def apply(self, index: int, entry: Entry, arriving: Life | None, has_hole: bool) -> object:
        """Take an entry of the server's that is for all.

        Args:
            arriving: Whose arrival this is, if it is one.
            has_hole: Some entry before was never sent to anybody: who seems to be here may have left there.
        Returns: what a game is handed of it, None if nothing that is compared.
        """
        kind = EntryKind(entry.kind)
        self._check_host_due(index, kind)
        value = schemas.ENTRY_PAYLOADS[kind].parse(entry.payload)
        if kind in (EntryKind.ENTITY_OWNER, EntryKind.ROOM_LOCKED, EntryKind.PROPERTY_CHANGED):
            return self._apply_belonging(index, kind, value)
        if kind == EntryKind.KEPT_CLEARED:
            return self._clear_kept(index, value.player_id, tuple(one.log_index for one in value.cleared))
        if kind == EntryKind.HOST_CHANGED:
            self._set_host(index, entry.about)
        elif kind == EntryKind.PLAYER_JOINED:
            self._join(index, entry.about, arriving)
        elif kind == EntryKind.PLAYER_LEFT:
            self._leave(index, entry.about, value.reason)
        else:
            self._come_and_go(index, entry, arriving)
        surely_here = [one for one in self.here if self.members[one].alive] if has_hole else self.here
        if surely_here and kind != EntryKind.HOST_CHANGED and self.host not in self.here:
            self._host_due_at = index + 1
        return kind, entry.about

    def keep(self, index: int, message: SentMessage, flags: int) -> None:
        """A message was written; check that it says whether it is kept."""
        num_bytes = sum(len(kept.payload) for kept, _ in self.kept.values()) + len(message.payload)
        is_fit = message.target == Target.ALL and len(self.kept) < MAX_KEPT_MESSAGES and num_bytes <= MAX_KEPT_BYTES
        expected = MessageFlag(0)
        if message.keep and is_fit:
            self.kept[index] = message, message.life.player_id
            expected = MessageFlag.KEEP | (MessageFlag.OUTLIVES_SENDER if message.outlives_sender else MessageFlag(0))
        if flags != expected:
            self._witness.broken(f"index {index}, message {message.uid}, has the flags {flags}, not {expected!r}")

    def finish(self, index: int) -> None:
        """Check what holds behind the last entry."""
        alive = [player_id for player_id in self.here if self.members[player_id].alive]
        if alive and self.host not in self.here:
            self._witness.broken(f"the host is {self.host} at index {index}, but those who are here are {self.here}")

    # --- who is here

    def _join(self, index: int, player_id: int, life: Life | None) -> None:
        if player_id in self.members:
            self._witness.broken(f"index {index} announces player id {player_id}, which {self.members[player_id]} has")
        if self.is_locked:
            self._witness.broken(f"index {index} announces player id {player_id}, but the room is locked")
        assert life is not None
        self.members[player_id] = life
        slots = life.player_slots
        self.owners = {id_: owner for id_, owner in self.owners.items() if id_ % slots != player_id}

    def _leave(self, index: int, player_id: int, reason: int) -> None:
        gone = self.members.pop(player_id, None)
        if gone is None:
            self._witness.broken(f"index {index} says that player id {player_id} left, which nobody had")
        if gone.alive:
            self._witness.broken(f"index {index} says that {gone} left, but it is alive")
        if reason in (ByeReason.KICKED, ByeReason.BANNED) and not self._witness.may_be_removed(gone):
            self._witness.broken(f"index {index} says that {gone} was removed, but nobody asked for that")
        self._forget(player_id)

    def leave_unseen(self, player_id: int) -> None:
        """Somebody has left, although no entry that was sent to anybody says so."""
        del self.members[player_id]
        self._forget(player_id)
        if self.host == player_id:
            self.host = next(iter(self.here), None)

    def _forget(self, player_id: int) -> None:
        """Do what follows from somebody's leaving."""
        self.away.discard(player_id)
        self.properties = {key: one for key, one in self.properties.items() if key[0] != player_id}
        self.owners = {id_: owner for id_, owner in self.owners.items() if owner != player_id}
        for at, (message, sender) in list(self.kept.items()):
            if sender == player_id and message.outlives_sender:
                self.kept[at] = message, NO_PLAYER
            elif sender == player_id:
                del self.kept[at]

    def _come_and_go(self, index: int, entry: Entry, arriving: Life | None) -> None:
        """Somebody is away or back."""
        player_id = entry.about
        if player_id not in self.members:
            self._witness.broken(f"index {index} says {EntryKind(entry.kind).name} of player id {player_id}")
        if entry.kind == EntryKind.PLAYER_AWAY:
            if player_id in self.away:
                self._witness.broken(f"index {index} says that player id {player_id} is away, but it was already")
            self.away.add(player_id)
            return
        self.away.discard(player_id)
        if arriving is not None:
            former = self.members[player_id]
            if former.alive:
                self._witness.broken(f"index {index} says that {former} is back afresh, but that is still alive")
            self.members[player_id] = arriving

    # --- the host

    def _check_host_due(self, index: int, kind: EntryKind) -> None:
        if self._host_due_at == index and kind != EntryKind.HOST_CHANGED:
            self._witness.broken(f"the host {self.host} is not here, but index {index} is {kind.name}")
        self._host_due_at = 0

    def _set_host(self, index: int, player_id: int) -> None:
        """Check a new host: handed over to, or longest here after the one before; these may have left in a hole."""
        former, self.host = self.host, player_id
        here = self.here
        if (
            former in here
            and (self.members[former].number, player_id) in self._witness.hand_overs
            and player_id in here
        ):
            return
        before = here[: here.index(player_id)] if player_id in here else here
        is_needless = former in here and self.members[former].alive
        if is_needless or player_id not in here or any(self.members[one].alive for one in before):
            self._witness.broken(
                f"the host is {player_id} at index {index} after {former}, but the order of those here is {here}"
            )

    # --- what belongs to it

    def _apply_belonging(self, index: int, kind: EntryKind, value: Any) -> object:
        if kind == EntryKind.ROOM_LOCKED:
            self.is_locked = bool(value.is_locked)
            return None
        if kind == EntryKind.ENTITY_OWNER:
            slots = next(iter(self.members.values())).player_slots if self.members else 1
            self.owners.pop(value.entity_id, None)
            if value.owner != value.entity_id % slots:
                self.owners[value.entity_id] = value.owner
            return None
        what = value.owner, value.key.decode()
        self._check_set(index, value)
        found = decode_value(value.type, value.value)
        if found is None:
            self.properties.pop(what, None)
        else:
            self.properties[what] = Property(index, found)
        return kind, *what, found

    def _clear_kept(self, index: int, player_id: int, cleared: tuple[int, ...]) -> object:
        """Check that who cleared messages had asked for each, and may, and that all were kept."""
        life = self.members.get(player_id)
        for at in cleared:
            _, sender = self.kept.pop(at, (None, NO_PLAYER))
            is_asked = life is not None and (life.number, at) in self._witness.clearings
            if not is_asked or player_id not in (sender, self.host):
                self._witness.broken(
                    f"index {index} clears {at} of player id {sender} for {life}; asked: {is_asked}, host: {self.host}"
                )
        return EntryKind.KEPT_CLEARED, player_id, cleared

    def version(self, owner: int, key: bytes) -> int:
        """Return the version of a property, 0 if there is none."""
        found = self.properties.get((owner, key.decode()))
        return 0 if found is None else found.version

    def _check_set(self, index: int, value: Any) -> None:
        """Check that somebody asked for this change, once, and that a condition held."""
        witness = self._witness
        if value.type == PropertyType.NONE:
            return
        uid = decode_value(value.type, value.value)
        request = witness.requests.get(uid) if isinstance(uid, int) else None
        if request is None or (request.owner, request.key) != (value.owner, value.key.decode()):
            witness.broken(f"index {index} sets a property as nobody asked: {value.owner}, {value.key}, {uid}")
        if self.members.get(value.player_id) is not request.life:
            witness.broken(f"index {index} says that player id {value.player_id} set what {request.life} asked for")
        if witness.done_requests.setdefault(request.uid, index) != index:
            witness.broken(f"request {request.uid} of {request.life} was done twice: {index} is the second time")
        asked = witness.tap.asked.get(value.value)
        is_stale = asked is not None and asked.version != self.version(value.owner, value.key)
        if request.is_conditional and is_stale:
            witness.broken(
                f"index {index} sets {value.key} for who asked to change version {asked.version}, "
                f"but it is {self.version(value.owner, value.key)}"
            )

    def check_refused(self, index: int, entry: Entry, asked: list[Any]) -> None:
        """Check that a condition that is said to be broken was.

        Args:
            asked: What its addressee may have asked for under this number.
        """
        refused = schemas.REQUEST_REFUSED_PAYLOAD.parse(entry.payload)
        if refused.reason != RequestRefusal.CHANGED or not asked:
            return
        if all(one.is_conditional and one.version == self.version(one.owner, one.key) for one in asked):
            self._witness.broken(f"index {index} refuses a change of {asked[0].key}, which nobody else has changed")
