"""Who is in the room: what the server's own log entries say (SPEC 9)."""

from typing import Any

from protocol.client.entries import parse_payload
from protocol.client.events import HostChanged, PlayerAway, PlayerBack, PlayerJoined, PlayerLeft
from protocol.constants import NO_PLAYER, ByeReason, EntryKind
from protocol.records import Entry

RosterEvent = PlayerJoined | PlayerLeft | PlayerAway | PlayerBack | HostChanged

KINDS = (
    EntryKind.PLAYER_JOINED,
    EntryKind.PLAYER_LEFT,
    EntryKind.HOST_CHANGED,
    EntryKind.ROSTER,
    EntryKind.PLAYER_AWAY,
    EntryKind.PLAYER_BACK,
)
"""Kinds of entries that are for `Roster.apply`."""


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
        self.away: set[int] = set()
        """Player ids of members whose connection is lost."""
        self.host: int | None = None
        """Player id, None if nobody is."""
        self._player_slots = player_slots

    def apply(self, entry: Entry) -> list[RosterEvent] | None:
        """Take a server's entry, in log order.

        Returns: what the game must hear: nothing for an entry of another kind than `KINDS`; None if the payload is
            malformed or names a player whom the room cannot have.
        """
        if entry.kind not in KINDS:
            return []
        value = parse_payload(entry)
        if value is None:
            return None
        if entry.kind == EntryKind.ROSTER:
            return self._apply_roster(value)
        is_nobody = entry.kind == EntryKind.HOST_CHANGED and value.player_id == NO_PLAYER
        if value.player_id >= self._player_slots and not is_nobody:
            return None
        if entry.kind == EntryKind.PLAYER_JOINED:
            return [self._add(value.player_id, value.name)]
        if entry.kind == EntryKind.HOST_CHANGED:
            return self._set_host(value.player_id)
        if value.player_id not in self.members:
            return []
        return [self._change(EntryKind(entry.kind), value)]

    def _apply_roster(self, value: Any) -> list[RosterEvent] | None:
        if any(member.player_id >= self._player_slots for member in value.members):
            return None
        events: list[RosterEvent] = []
        for member in value.members:
            events.append(self._add(member.player_id, member.name))
            if member.is_away:
                self.away.add(member.player_id)
                events.append(PlayerAway(member.player_id))
        if value.host in self.members:  # with many players the host may stand in a later ROSTER
            events += self._set_host(value.host)
        return events

    def _add(self, player_id: int, name: bytes) -> PlayerJoined:
        self.members[player_id] = name.decode(errors="replace")
        self.away.discard(player_id)
        return PlayerJoined(player_id, self.members[player_id])

    def _change(self, kind: EntryKind, value: Any) -> PlayerLeft | PlayerAway | PlayerBack:
        """Note what became of a member."""
        if kind is EntryKind.PLAYER_AWAY:
            self.away.add(value.player_id)
            return PlayerAway(value.player_id)
        self.away.discard(value.player_id)
        if kind is EntryKind.PLAYER_BACK:
            return PlayerBack(value.player_id, bool(value.is_afresh))
        del self.members[value.player_id]
        return PlayerLeft(value.player_id, reason_of(value.reason))

    def _set_host(self, player_id: int) -> list[RosterEvent]:
        host = None if player_id == NO_PLAYER else player_id
        if host == self.host:
            return []
        self.host = host
        return [HostChanged(player_id)]
