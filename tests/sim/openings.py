"""What may be found and who may come in, from the wire: which game each room is of, and what its host lists.

A page or a seat that must not be raises at once. What a room is of is what the JOIN said that opened it; whether it is
listed, what the newest ROOM_SHOWN in its log says, or before that JOIN's flag. Where a session landed the engine tells.
"""

from dataclasses import dataclass
from typing import Any

from protocol import codec
from protocol.constants import NO_PLAYER, EntryKind, JoinMode, Kind, ListFlag, Option, RoomFlag
from protocol.drops import DropReason
from relay.audience import EVERYBODY
from relay.engine import Engine
from relay.log import OwnEntry
from relay.roomoptions import Given, read_properties, read_tags
from relay.rooms import Room


class FindingBroken(AssertionError):
    """Something was found, or somebody got in, that must not have been."""


@dataclass(frozen=True)
class Wish:
    """What a JOIN or LIST says of itself."""

    game: bytes
    version: bytes
    tags: frozenset[bytes]
    properties: tuple[Given, ...]
    mode: int = 0
    is_listed: bool = False
    only_open: bool = False


@dataclass
class Opening:
    """A room from its opening to its close."""

    room: Room
    founder: Wish
    is_listed: bool


class Openings:
    """Watches one engine and all that it says."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wishes: dict[int, Wish] = {}
        """By nonce, of JOINs."""
        self._questions: dict[int, Wish] = {}
        """By nonce, of LISTs."""
        self.by_serial: dict[int, Opening] = {}
        self.num_pages = 0
        self.num_rooms_shown = 0
        self._seated: set[int] = set()
        """Sessions that were given."""
        self.num_quick = 0
        """Seats in rooms that were there before."""
        self._append_own = engine.world.log.append_own
        engine.world.log.append_own = self._on_entries  # type: ignore[method-assign]

    @property
    def num_seats(self) -> int:
        """How many got into rooms."""
        return len(self._seated)

    def live(self) -> list[Opening]:
        """List the rooms that are open."""
        rooms = self._engine.world.rooms
        open_now = {int(rooms.table.serial[row]) for row in rooms.by_row}
        return [opening for serial, opening in self.by_serial.items() if serial in open_now]

    def on_to_server(self, payload: bytes) -> None:
        """A datagram reached the server."""
        if payload[0] not in (Kind.JOIN, Kind.LIST):
            return
        value = codec.decode(payload)
        assert not isinstance(value, DropReason)
        wishes = self._wishes if payload[0] == Kind.JOIN else self._questions
        wishes.setdefault(value.fields.nonce, _wish_of(value))

    def on_from_server(self, payload: bytes) -> None:
        """The server sent a datagram. Raises: FindingBroken."""
        if payload[0] == Kind.WELCOME:
            self._on_welcome(codec.decode(payload))
        elif payload[0] == Kind.ROOMS:
            self._on_page(codec.decode(payload))

    def _on_entries(self, rooms: Any, row: int, entries: list[OwnEntry], *more: int) -> int:
        opening = self.by_serial.get(int(rooms.table.serial[row]))
        for entry in entries:
            if opening is not None and entry.kind == EntryKind.ROOM_SHOWN and entry.audience is EVERYBODY:
                opening.is_listed = entry.payload == b"\1"
        return self._append_own(rooms, row, entries, *more)

    def _on_welcome(self, value: Any) -> None:
        world, wish = self._engine.world, self._wishes[value.fields.nonce]
        session = world.sessions.find(value.fields.session)
        assert session is not None
        room = world.rooms.by_row[int(world.sessions.table.room[session])]
        serial = int(world.rooms.table.serial[room.row])
        opening = self.by_serial.get(serial)
        if value.fields.session in self._seated:
            return  # a WELCOME that is sent again
        self._seated.add(value.fields.session)
        if opening is None:
            is_listed = wish.is_listed or wish.mode == JoinMode.QUICK
            self.by_serial[serial] = Opening(room, wish, is_listed)
            return
        if (opening.founder.game, opening.founder.version) != (wish.game, wish.version):
            raise FindingBroken(f"{wish} got into room {room.code!r} of {opening.founder}")
        if wish.mode == JoinMode.QUICK:
            self.num_quick += 1
            self._check_suits(opening, wish)
            if room.belongings.is_locked or not opening.is_listed:
                raise FindingBroken(f"a quick match was seated in room {room.code!r}, which is locked or hidden")

    def _on_page(self, value: Any) -> None:
        wish = self._questions[value.fields.nonce]
        self.num_pages += 1
        live = {opening.room.options.name: opening for opening in self.live()}
        for one in value.rooms:
            self.num_rooms_shown += 1
            opening = live.get(one.body.name)
            if opening is None:
                raise FindingBroken(f"a page shows room {one.body.name!r}, which is closed")
            if opening.founder.game != wish.game:
                raise FindingBroken(f"a page for game {wish.game!r} shows a room of {opening.founder.game!r}")
            if not opening.is_listed:
                raise FindingBroken(f"a page shows room {one.body.name!r}, which is hidden")
            self._check_suits(opening, wish)

    def _check_suits(self, opening: Opening, wish: Wish) -> None:
        """Check that a room has what was asked for."""
        room = opening.room
        known = room.belongings.properties.by_owner.get(NO_PLAYER, {})
        has = all(
            given.key in known and (known[given.key].type, known[given.key].value) == (given.type, given.value)
            for given in wish.properties
        )
        is_open = len(room.joined) < room.options.max_players and not room.belongings.is_locked
        is_version = wish.version in (b"", opening.founder.version)
        if not (has and is_version and wish.tags <= opening.founder.tags and (is_open or not wish.only_open)):
            raise FindingBroken(f"room {room.code!r} of {opening.founder} was found by {wish}")


def _wish_of(value: Any) -> Wish:
    options, fields = codec.options_of(value), value.fields
    flags = options.get(Option.ROOM_FLAGS, b"\0")[0]
    return Wish(
        options.get(Option.GAME, b""),
        options.get(Option.GAME_VERSION, b""),
        frozenset(read_tags(options) or ()),
        read_properties(options) or (),
        fields.get("mode", 0),
        bool(flags & RoomFlag.LISTED),
        bool(fields.get("flags", 0) & ListFlag.OPEN_ONLY),
    )
