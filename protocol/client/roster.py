"""Who is in the room: what the server's own log entries say (SPEC 9)."""

from construct import Construct, ConstructError, Container

from protocol import schemas
from protocol.client.events import HostChanged, PlayerJoined, PlayerLeft
from protocol.constants import NO_PLAYER, ByeReason, EntryKind
from protocol.records import Entry

RosterEvent = PlayerJoined | PlayerLeft | HostChanged

_PAYLOADS: dict[int, Construct] = {
    EntryKind.PLAYER_JOINED: schemas.PLAYER_JOINED_PAYLOAD,
    EntryKind.PLAYER_LEFT: schemas.PLAYER_LEFT_PAYLOAD,
    EntryKind.HOST_CHANGED: schemas.HOST_CHANGED_PAYLOAD,
    EntryKind.ROSTER: schemas.ROSTER_PAYLOAD,
}


def reason_of(number: int) -> ByeReason | int:
    """Name a reason of BYE or PLAYER_LEFT; one of a later revision stays a number."""
    try:
        return ByeReason(number)
    except ValueError:
        return number


class Roster:
    """Members and host of the room, as of the last entry handed over."""

    def __init__(self, player_slots: int) -> None:
        self.members: dict[int, str] = {}
        """Player id -> name, us included once the log says so."""
        self.host: int | None = None
        """Player id, None if nobody is."""
        self._player_slots = player_slots

    def apply(self, entry: Entry) -> list[RosterEvent] | None:
        """Take a server's entry, in log order.

        Returns: what the game must hear: nothing for an entry of unknown kind; None if the payload is malformed or
            names a player whom the room cannot have.
        """
        schema = _PAYLOADS.get(entry.kind)
        if schema is None:
            return []
        try:
            value = schema.parse(entry.payload)
        except ConstructError:
            return None
        if entry.kind == EntryKind.ROSTER:
            return self._apply_roster(value)
        is_nobody = entry.kind == EntryKind.HOST_CHANGED and value.player_id == NO_PLAYER
        if value.player_id >= self._player_slots and not is_nobody:
            return None
        if entry.kind == EntryKind.PLAYER_JOINED:
            return [self._add(value.player_id, value.name)]
        if entry.kind == EntryKind.PLAYER_LEFT:
            return self._apply_left(value)
        return self._set_host(value.player_id)

    def _apply_roster(self, value: Container[object]) -> list[RosterEvent] | None:
        if any(member.player_id >= self._player_slots for member in value.members):
            return None
        events: list[RosterEvent] = [self._add(member.player_id, member.name) for member in value.members]
        if value.host in self.members:  # with many players the host may stand in a later ROSTER
            events += self._set_host(value.host)
        return events

    def _add(self, player_id: int, name: bytes) -> PlayerJoined:
        self.members[player_id] = name.decode(errors="replace")
        return PlayerJoined(player_id, self.members[player_id])

    def _apply_left(self, value: Container[object]) -> list[RosterEvent]:
        if self.members.pop(value.player_id, None) is None:
            return []
        return [PlayerLeft(value.player_id, reason_of(value.reason))]

    def _set_host(self, player_id: int) -> list[RosterEvent]:
        host = None if player_id == NO_PLAYER else player_id
        if host == self.host:
            return []
        self.host = host
        return [HostChanged(player_id)]
