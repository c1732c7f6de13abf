"""A few rooms and sessions laid out in the engine's own tables, for handing random input to one stage at a time."""

from random import Random

from relay.addresses import pack_address
from relay.batch import Batch
from relay.entities import Entities
from relay.log import Log
from relay.rooms import Room, RoomOptions, Rooms
from relay.sessions import Sessions
from relay.stats import Stats


class Rig:
    """Tables with rooms of the given options, each with `players` members whose player ids are 0, 1, 2, ..."""

    def __init__(self, seed: int, options: list[RoomOptions], players: int) -> None:
        self.rng = Random(seed)
        self.stats = Stats()
        self.rooms = Rooms()
        self.sessions = Sessions(Random(seed + 1))
        self.entities = Entities()
        self.log = Log(16 << 20)
        self.room_list = [self._open(number, option) for number, option in enumerate(options)]
        self.rows = [[self._seat(room, player) for player in range(players)] for room in self.room_list]
        """Session rows by room and player id."""

    def _open(self, number: int, options: RoomOptions) -> Room:
        room = self.rooms.open(b"ROOM%d" % number, options)
        self.entities.open_room(self.rooms, room)
        self.log.open_room(self.rooms, room)
        return room

    def _seat(self, room: Room, player_id: int) -> int:
        row = self.sessions.open(pack_address("10.0.0.1", 1000 + player_id), f"p{player_id}", player_id, 0.0)
        table = self.sessions.table
        table.room[row], table.player_id[row] = room.row, player_id
        self.rooms.add_member(room, row, player_id)
        table.pages_first[row] = self.entities.take_seat(self.rooms, room, row, player_id)
        return row

    def session_id(self, row: int) -> int:
        """Return the 64 bits that name a session on the wire."""
        return int(self.sessions.table.id[row])


def batch_of(payloads: list[bytes]) -> Batch:
    """Put datagrams into a batch, all from one address."""
    batch = Batch(max(1, len(payloads)))
    for payload in payloads:
        batch.append(payload, pack_address("10.0.0.1", 1000))
    return batch
