"""The rooms' logs: entries where they lie, rings that grow, segments used again, and credit that comes back."""

from random import Random

import numpy as np
import pytest

from protocol.constants import NO_PLAYER, PART_MORE, EntryKind
from relay.audience import only
from relay.columns import Ints
from relay.log import (
    FIRST_CAPACITY,
    LEAST_CHARGE_BYTES,
    LOG_CAP_ENTRIES,
    NO_SESSION,
    SEGMENT_BYTES,
    Arena,
    OwnEntry,
)
from relay.rooms import RoomOptions
from tests.reference.rig import Rig
from tests.relay.bench import Bench
from tests.relay.tables import append, ints, read_entry

OPTIONS = RoomOptions(max_players=4, entities_per_player=1, max_state_bytes=8)
LARGEST = 11 + 1024


def read_by(rig: Rig, session: int, index: int) -> None:
    rig.sessions.table.log_effective[session] = index


def release(rig: Rig) -> None:
    rig.log.release(rig.rooms, rig.sessions, rig.sessions.live)


def bounds(rig: Rig, number: int = 0) -> tuple[int, int]:
    """Return (newest index forgotten, newest index) of a room."""
    table, row = rig.rooms.table, rig.room_list[number].row
    return int(table.log_tail[row]), int(table.log_head[row])


# --- entries


def test_entries_are_numbered_from_1_by_room_and_keep_their_bytes() -> None:
    rig = Rig(1, [OPTIONS] * 3, players=1)
    assert append(rig, (0, b"a"), (0, b""), (2, b"c" * 1024)).tolist() == [1, 2, 1]
    assert append(rig, (2, b"d"), (0, b"e")).tolist() == [2, 3]
    assert [read_entry(rig, 0, index) for index in (1, 2, 3)] == [(1, 0, 0, b"a"), (2, 0, 0, b""), (3, 0, 0, b"e")]
    assert [read_entry(rig, 2, index)[3] for index in (1, 2)] == [b"c" * 1024, b"d"]
    assert [bounds(rig, number) for number in range(3)] == [(0, 3), (0, 0), (0, 2)]


def test_an_index_beyond_16_bits_is_written_with_its_low_ones() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    row = rig.room_list[0].row
    rig.rooms.table.log_head[row] = rig.rooms.table.log_tail[row] = 65_534
    assert append(rig, (0, b"a"), (0, b"b"), (0, b"c")).tolist() == [65_535, 65_536, 65_537]
    assert [read_entry(rig, 0, index)[0] for index in (65_535, 65_536, 65_537)] == [65_535, 0, 1]


def test_a_fragment_remembers_its_messages_first_index_and_that_more_follow() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    append(rig, (0, b"x"))
    append(rig, (0, b"one"), part=PART_MORE)
    append(rig, (0, b"two"), part=1, first=2)
    table = rig.log.table
    rows = rig.log.entry_rows(rig.rooms, np.full(3, rig.room_list[0].row), ints(1, 2, 3))
    assert table.first[rows].tolist() == [1, 2, 2]
    assert table.more[rows].tolist() == [False, True, False]


def test_an_entry_of_the_servers_is_for_whom_it_was_written() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    row = rig.room_list[0].row
    for_one = OwnEntry(EntryKind.ROSTER, b"for one", only(3))
    assert rig.log.append_own(rig.rooms, row, [for_one, OwnEntry(EntryKind.PLAYER_LEFT, b"for all")]) == 2
    assert rig.log.append_own(rig.rooms, row, []) == 2
    first, second = rig.log.entry_rows(rig.rooms, ints(row, row), ints(1, 2))
    table = rig.log.table
    assert table.audience[first].tolist() == only(3).tolist() and (~table.audience[second] == 0).all()
    assert (table.owner[first], table.owner[second]) == (NO_SESSION, NO_SESSION)
    header = rig.log.arena.bytes[int(table.at[first]) :][:11]
    assert header[2] == EntryKind.ROSTER and int.from_bytes(header[4:6].tobytes(), "little") == NO_PLAYER


def test_a_ring_grows_before_it_is_full_and_keeps_what_is_unread() -> None:
    rig = Rig(1, [OPTIONS, OPTIONS], players=1)
    append(rig, (1, b"neighbour"))
    for n in range(1, 200):
        append(rig, (0, b"%d" % n))
        tail, head = bounds(rig)
        capacity = int(rig.rooms.table.log_capacity[rig.room_list[0].row])
        assert head - tail <= capacity and capacity & (capacity - 1) == 0
        for index in {1, n // 2 or 1, n}:
            assert read_entry(rig, 0, index)[3] == b"%d" % index
    assert read_entry(rig, 1, 1)[3] == b"neighbour"


@pytest.mark.parametrize("count", [FIRST_CAPACITY, FIRST_CAPACITY + 1, 500, 3000])
def test_one_pass_may_append_more_than_the_ring_holds(count: int) -> None:
    rig = Rig(1, [OPTIONS], players=1)
    append(rig, *[(0, b"%d" % n) for n in range(1, count + 1)])
    assert [read_entry(rig, 0, index)[3] for index in (1, 2, count)] == [b"1", b"2", b"%d" % count]


def test_a_ring_that_is_read_in_time_does_not_grow() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    for n in range(1, 1000):
        append(rig, (0, b"%d" % n))
        read_by(rig, rig.rows[0][0], max(0, n - 5))
        release(rig)
    assert rig.rooms.table.log_capacity[rig.room_list[0].row] == FIRST_CAPACITY
    assert read_entry(rig, 0, 995)[3] == b"995"


# --- release


def test_what_every_member_has_read_is_forgotten_and_no_more() -> None:
    rig = Rig(1, [OPTIONS, OPTIONS], players=3)
    append(rig, *[(0, b"x")] * 5, *[(1, b"y")] * 5)
    for session, index in zip(rig.rows[0], (5, 2, 4), strict=True):
        read_by(rig, session, index)
    release(rig)
    assert bounds(rig, 0) == (2, 5) and bounds(rig, 1) == (0, 5)


def test_a_member_that_stands_still_pins_its_own_rooms_entries_only() -> None:
    rig = Rig(1, [OPTIONS, OPTIONS], players=2)
    for n in range(3000):
        append(rig, (0, b"pinned"), (1, b"z" * 1024))
        read_by(rig, rig.rows[0][0], n + 1)
        for session in rig.rows[1]:
            read_by(rig, session, n + 1)
        release(rig)
        rig.log.tidy(rig.rooms)
    assert bounds(rig, 0) == (0, 3000) and bounds(rig, 1) == (3000, 3000)
    assert len(rig.log.arena.bytes) <= 8 * SEGMENT_BYTES  # 3 MB, 12 segments, went through the other room's log
    assert all(read_entry(rig, 0, index)[3] == b"pinned" for index in range(1, 3001, 100))


def test_credit_comes_back_to_who_wrote_when_the_slowest_has_read() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    [[one, two]] = rig.rows
    table = rig.sessions.table
    append(rig, (0, b"x" * 100), owner=one)
    append(rig, (0, b"x" * 30), owner=two)
    table.unread_bytes[one], table.unread_bytes[two] = 100 + LEAST_CHARGE_BYTES, 30 + LEAST_CHARGE_BYTES
    read_by(rig, one, 2)
    read_by(rig, two, 1)
    release(rig)
    assert (table.unread_bytes[one], table.unread_bytes[two]) == (0, 94)
    read_by(rig, two, 2)
    release(rig)
    assert table.unread_bytes[two] == 0


def test_entries_of_who_left_give_credit_to_nobody() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    [[one, two]] = rig.rows
    append(rig, (0, b"x"), owner=one)
    append(rig, (0, b"y"), owner=two)
    rig.sessions.table.unread_bytes[[one, two]] = 65
    rig.log.disown(rig.rooms, rig.room_list[0].row, one)
    for session in (one, two):
        read_by(rig, session, 2)
    release(rig)
    assert rig.sessions.table.unread_bytes[[one, two]].tolist() == [65, 0]


def test_nothing_to_release_is_released() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    release(rig)
    append(rig, (0, b"x"))
    release(rig)
    release(rig)
    assert bounds(rig) == (0, 1)


def test_a_closed_room_gives_its_entries_back_and_its_ring_starts_empty_in_the_next() -> None:
    rig = Rig(1, [OPTIONS], players=0)
    free = rig.log.arena.free_bytes()
    append(rig, *[(0, b"x" * 1000)] * 1000)
    assert rig.log.arena.free_bytes() < free
    rig.log.close_room(rig.rooms, rig.room_list[0].row)
    rig.rooms.close(rig.room_list[0])
    assert rig.log.arena.free_bytes() >= free - SEGMENT_BYTES
    rig.room_list[0] = rig.rooms.open(b"NEXT", OPTIONS)
    rig.log.open_room(rig.rooms, rig.room_list[0])
    assert append(rig, (0, b"first")).tolist() == [1]
    assert read_entry(rig, 0, 1)[3] == b"first"


@pytest.mark.parametrize("seed", range(4))
def test_rooms_that_grow_read_and_close_never_mix_their_entries(seed: int) -> None:
    rng = Random(seed)
    rig = Rig(seed, [OPTIONS] * 5, players=1)
    written: list[dict[int, bytes]] = [{} for _ in range(5)]
    for _ in range(300):
        numbers = sorted(rng.sample(range(5), rng.randint(1, 5)))
        entries = [(n, rng.randbytes(rng.choice((0, 9, 1024)))) for n in numbers for _ in range(rng.randint(1, 30))]
        for (n, payload), index in zip(entries, append(rig, *entries).tolist(), strict=True):
            written[n][index] = payload
        for n in numbers:
            tail, head = bounds(rig, n)
            read_by(rig, rig.rows[n][0], rng.randint(tail, head))
        release(rig)
        for n in range(5):
            tail, head = bounds(rig, n)
            assert head == max(written[n], default=0)
            index = rng.randint(tail + 1, head) if head > tail else 0
            assert not index or read_entry(rig, n, index)[3] == written[n][index]


# --- the arena


class Model:
    """An arena and the bytes that it must keep."""

    def __init__(self, max_bytes: int) -> None:
        self.arena = Arena(max_bytes)
        self.live: dict[int, bytes] = {}

    def take(self, rng: Random, lengths: list[int]) -> None:
        for at, length in zip(self.arena.take(ints(*lengths)).tolist(), lengths, strict=True):
            assert at // SEGMENT_BYTES == (at + length - 1) // SEGMENT_BYTES
            data = rng.randbytes(length)
            self.arena.bytes[at : at + length] = np.frombuffer(data, np.uint8)
            self.live[at] = data

    def give(self, some: list[int]) -> None:
        self.arena.give(ints(*some), ints(*(len(self.live.pop(at)) for at in some)))

    def check(self) -> None:
        end = 0
        for at, data in sorted(self.live.items()):
            assert at >= end and self.arena.bytes[at : at + len(data)].tobytes() == data
            end = at + len(data)


@pytest.mark.parametrize("seed", range(4))
def test_what_the_arena_says_is_free_can_be_taken_without_passing_its_cap(seed: int) -> None:
    rng = Random(seed)
    model = Model(rng.choice((1 << 20, 3 << 19, 5 * SEGMENT_BYTES)))
    refused = 0
    for _ in range(300):
        lengths = [rng.choice((11, 200, LARGEST)) for _ in range(rng.randint(1, 900))]
        if sum(lengths) <= model.arena.free_bytes():
            model.take(rng, lengths)
        else:
            refused += 1
        oldest = sorted(model.live)
        model.give(rng.sample(oldest, rng.randint(0, len(oldest) // 2)) if rng.random() < 0.8 else oldest)
        assert len(model.arena.bytes) <= model.arena.max_bytes
        assert model.arena.free_bytes() >= 0
    model.check()
    assert refused


def test_an_arena_filled_with_the_largest_entries_keeps_its_word_to_the_last() -> None:
    arena = Arena(1 << 20)
    taken = 0
    while arena.free_bytes() >= LARGEST:
        arena.take(ints(LARGEST))
        taken += LARGEST
    assert (1 << 20) // 2 < taken <= 1 << 20
    assert len(arena.bytes) <= arena.max_bytes


def test_a_segment_whose_entries_were_all_read_is_used_again() -> None:
    rng = Random(1)
    model = Model(4 * SEGMENT_BYTES)
    for _ in range(40):
        model.take(rng, [LARGEST] * 200)
        model.check()
        model.give(list(model.live)[: len(model.live) // 2])
        model.give(list(model.live))
    assert len(model.arena.bytes) <= 2 * SEGMENT_BYTES


def test_one_old_entry_keeps_its_segment_and_no_other() -> None:
    rng = Random(1)
    model = Model(8 * SEGMENT_BYTES)
    model.take(rng, [500])
    for _ in range(30):
        model.take(rng, [LARGEST] * 250)
        model.give([at for at in model.live if at != 0])
    model.check()
    assert len(model.arena.bytes) <= 4 * SEGMENT_BYTES


def test_nothing_taken_and_nothing_given_leave_the_arena_as_it_is() -> None:
    arena = Arena(1 << 20)
    nothing: Ints = ints()
    free = arena.free_bytes()
    assert len(arena.take(nothing)) == 0
    arena.give(nothing, nothing)
    assert arena.free_bytes() == free


def test_the_current_segment_begins_anew_when_all_of_it_was_read() -> None:
    arena = Arena(1 << 20)
    for _ in range(3):
        at = arena.take(ints(1000, 500))
        assert at.tolist() == [0, 1000]
        arena.give(at[:1], ints(1000))
        assert arena.take(ints(20)).tolist() == [1500]
        arena.give(ints(1000, 1500), ints(500, 20))


def test_an_entry_exactly_as_large_as_what_is_left_still_fits_the_segment() -> None:
    arena = Arena(1 << 20)
    arena.take(ints(SEGMENT_BYTES - 100))
    assert arena.take(ints(100)).tolist() == [SEGMENT_BYTES - 100]
    assert arena.take(ints(11)).tolist() == [SEGMENT_BYTES]


# --- through the engine


def test_a_room_that_closes_is_no_part_of_the_gauge_any_more() -> None:
    bench = Bench()
    [client] = bench.join_all(1)
    client.say(*[client.message(b"%d" % n) for n in range(9)])
    assert bench.engine.gauges()["log_entries_of_a_room"][0] == 9
    bench.receive(client.bye())
    assert bench.engine.num_rooms == 0
    assert bench.engine.gauges()["log_entries_of_a_room"][0] == 0


def test_a_rooms_log_stays_below_its_cap_however_much_its_members_send_in_one_tick() -> None:
    """Credit is for 64 KiB a session: 256 sessions of tiny messages have credit for many times the cap of a room."""
    bench = Bench(max_room_players=256, max_sessions_per_host=256)
    clients = [bench.join(max_players=256)]
    for n in range(255):
        clients.append(bench.join())
        if n % 32 == 0:
            bench.tick()
            bench.receive(*[client.listen() for client in clients])
    bench.tick()
    bench.receive(*[client.listen() for client in clients])
    bench.tick()
    for _ in range(3):
        bench.receive(*[client.data(*[client.message(b"") for _ in range(24)]) for client in clients])
        bench.flush()
        value, cap = bench.engine.gauges()["log_entries_of_a_room"]
        assert value <= cap == 2 * LOG_CAP_ENTRIES
