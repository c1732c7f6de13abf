"""What a joiner is told of the room, and whether there is memory for it."""

from protocol.constants import (
    MAX_HANDED_OVER,
    MAX_KEPT_MESSAGES,
    NO_PLAYER,
    ByeReason,
    EntryKind,
    MessageFlag,
    PropertyType,
)
from relay.audience import only
from relay.belongings import LIST_BYTES, Kept, Property
from relay.log import LOG_CAP_ENTRIES, OwnEntry
from relay.membership import leave
from relay.rooms import Room
from relay.welcome import CROWD_SHARE, known_of_room, room_ready, welcome_fits
from relay.world import World
from tests.relay.bench import Bench, Client


def a_room(num_players: int = 2, **settings: int) -> tuple[World, Room]:
    bench = Bench(**settings)
    bench.join_all(num_players)
    return bench.engine.world, bench.engine.world.rooms.by_code[b"ROOM"]


def kinds(entries: list[OwnEntry]) -> list[int]:
    return [entry.kind for entry in entries]


def test_all_is_told_in_order_and_to_the_joiner_alone() -> None:
    world, room = a_room()
    room.belongings.properties.set(NO_PLAYER, b"map", Property(3, PropertyType.TEXT, b"sea"))
    room.belongings.owners[1] = NO_PLAYER
    room.belongings.kept.keep(7, Kept(0, 5, MessageFlag.KEEP, 2, b"hello"))
    entries = known_of_room(world, room, 1, [0])
    assert kinds(entries) == [EntryKind.ROSTER, EntryKind.PROPERTIES, EntryKind.OWNERS, 5]
    assert all((entry.audience == only(1)).all() for entry in entries)
    assert (entries[-1].sender, entries[-1].channel) == (0, 2) and entries[-1].payload.endswith(b"hello")
    assert entries[-1].flags == MessageFlag.KEEP | MessageFlag.KEPT
    assert room_ready(world, room, 1).payload == b"\0\0" and (room_ready(world, room, 1).audience == only(1)).all()


def test_properties_are_encoded_again_only_after_a_change() -> None:
    _, room = a_room()
    properties = room.belongings.properties
    properties.set(0, b"team", Property(3, PropertyType.TEXT, b"red"))
    first = properties.told()
    assert properties.told() is first
    properties.forget(1)
    assert properties.told() is first
    properties.set(0, b"team", Property(4, PropertyType.TEXT, b"blue"))
    assert b"blue" in properties.told()[0] and b"red" not in properties.told()[0]
    properties.forget(0)
    assert properties.told() == []


def test_lists_are_cut_into_entries_that_fit_a_datagram() -> None:
    world, room = a_room()
    room.belongings.owners.update((n, NO_PLAYER) for n in range(MAX_HANDED_OVER))
    for n in range(60):
        room.belongings.properties.set(NO_PLAYER, b"%030d" % n, Property(n, PropertyType.TEXT, b"x"))
    entries = known_of_room(world, room, 1, [])
    assert kinds(entries).count(EntryKind.OWNERS) == 2 and kinds(entries).count(EntryKind.PROPERTIES) > 1
    assert max(len(entry.payload) for entry in entries) <= LIST_BYTES
    assert sum(len(entry.payload) for entry in entries if entry.kind == EntryKind.OWNERS) == 4 * MAX_HANDED_OVER


def test_nobody_joins_while_members_have_much_to_read_and_its_join_comes_again() -> None:
    """Each of a crowd is told 128 kept messages, and others may be only so many entries behind."""
    bench = Bench(max_room_players=256, max_sessions_per_host=1000)
    reader = bench.join(max_players=256)
    for n in range(MAX_KEPT_MESSAGES):
        bench.now += 0.1
        reader.say(reader.message(b"%d" % n, flags=MessageFlag.KEEP))
        bench.tick()
        bench.receive(reader.listen())
    bench.tick(2)
    crowd = [Client(bench) for _ in range(60)]
    joins = [(client.join_datagram(client.get_cookie()), client.address) for client in crowd]
    bench.receive(*joins)
    seated = bench.engine.num_sessions
    assert 20 < seated < 40 and bench.dropped() == {"CROWDED": 61 - seated}
    room = bench.engine.world.rooms.by_code[b"ROOM"]
    table = bench.engine.world.rooms.table
    assert table.log_head[room.row] - table.log_tail[room.row] <= LOG_CAP_ENTRIES // CROWD_SHARE
    for row in bench.engine.world.sessions.live.tolist():
        if row != reader.row:
            leave(bench.engine.world, row, ByeReason.LEFT)
    for _ in range(20):
        bench.tick()
        bench.receive(reader.listen())
    bench.receive(*joins[-10:])
    assert bench.counted("joins") == seated + 10


def test_what_a_room_knows_must_fit_what_messages_may_use_and_names_the_reserve() -> None:
    world, room = a_room(log_memory_mib=1)
    arena = world.log.arena
    while arena.free_bytes():
        world.log.append_own(world.rooms, room.row, [OwnEntry(5, bytes(1024))])
    assert welcome_fits(world, room)
    room.belongings.owners[1] = NO_PLAYER
    assert not welcome_fits(world, room)
    room.belongings.owners.clear()
    while arena.free_bytes_for_names() > 0:
        world.log.append_own(world.rooms, room.row, [OwnEntry(5, bytes(1024))])
    assert not welcome_fits(world, room)
    assert len(arena.bytes) == 1 << 20
