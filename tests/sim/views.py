"""What is known of a room in one place, the server or a client: when all is quiet it is the same everywhere."""

from dataclasses import dataclass, fields

from protocol.client import ClientConnection
from protocol.constants import NO_PLAYER
from protocol.properties import Value, decode_value
from relay.engine import Engine
from tests.sim.lives import Life, uid_of


@dataclass(frozen=True, kw_only=True)
class RoomView:
    """A room as somebody sees it."""

    members: dict[int, str]
    """Player id -> name."""
    away: frozenset[int]
    host: int | None
    properties: dict[tuple[int, str], Value]
    """(owner, key) -> value."""
    owners: dict[int, int]
    """Entity id -> owner, of those that were handed over."""
    kept: dict[int, int]
    """Log index -> uid of the messages that are kept."""
    is_locked: bool
    table: dict[int, bytes]
    """Entity id -> state."""

    def differences(self, other: "RoomView") -> list[str]:
        """Name what is not the same in another view."""
        texts = []
        for one in fields(self):
            mine, others = getattr(self, one.name), getattr(other, one.name)
            if mine != others:
                texts.append(f"{one.name} {mine} instead of {others}" if one.name != "table" else "the table")
        return texts


def view_of_engine(engine: Engine, code: str) -> RoomView | None:
    """See a room as the server does; None if there is none."""
    world = engine.world
    room = world.rooms.by_code.get(code.encode())
    if room is None:
        return None
    player_id = world.sessions.table.player_id
    properties = {
        (owner, key.decode()): decode_value(found.type, found.value)
        for owner, of_owner in room.belongings.properties.by_owner.items()
        for key, found in of_owner.items()
    }
    return RoomView(
        members=engine.room_members(code),
        away=frozenset(int(player_id[row]) for row in world.away if row in room.joined),
        host=None if room.host is None else int(player_id[room.host]),
        properties=properties,
        owners=dict(room.belongings.owners),
        kept={index: uid_of(b"M", kept.payload) or 0 for index, kept in room.belongings.kept.by_index.items()},
        is_locked=room.belongings.is_locked,
        table=engine.room_table(code),
    )


def view_of_client(life: Life, connection: ClientConnection) -> RoomView:
    """See a room as a client does, and its game."""
    owners = {}
    for entity_id in range(connection.player_slots * connection.entities_per_player):
        owner = connection.owner_of(entity_id)
        if owner != entity_id % connection.player_slots:
            owners[entity_id] = owner
    by_owner = {NO_PLAYER: connection.room_properties} | {
        player_id: connection.player_properties(player_id) for player_id in connection.members
    }
    return RoomView(
        members=dict(connection.members),
        away=connection.away,
        host=connection.host,
        properties={(owner, key): value for owner, of_owner in by_owner.items() for key, value in of_owner.items()},
        owners=owners,
        kept=dict(life.kept),
        is_locked=connection.is_locked,
        table=dict(connection.table),
    )


def versions_of_engine(engine: Engine, code: str) -> dict[tuple[int, str], int]:
    """Return (owner, key) -> version of every property, as the server holds it."""
    room = engine.world.rooms.by_code.get(code.encode())
    if room is None:
        return {}
    by_owner = room.belongings.properties.by_owner
    return {(owner, key.decode()): one.version for owner, of_owner in by_owner.items() for key, one in of_owner.items()}
