"""Snapshots: which pages are due, who shares a body, and the bytes of a page as a client reads them."""

from random import Random

import pytest

from protocol import dtypes
from protocol.records import Page, RoomShape, read_sections
from relay.items import Order
from relay.rooms import RoomOptions
from relay.snapshots import Due, build_items, encode_pages, find_due, note_sent, share_bodies, whose_turn
from tests.reference.rig import Rig
from tests.relay.bench import TICK, Bench
from tests.relay.tables import ints, write

SMALL = RoomOptions(max_players=2, entities_per_player=3, max_state_bytes=24)
"""One page of 12 ids."""
PAGED = RoomOptions(max_players=4, entities_per_player=64, max_state_bytes=255)
"""128 pages of 4 ids."""


def pages_of(rig: Rig, *wanted: tuple[int, int, int], tick: int = 100) -> list[Page]:
    """Encode PAGE sections of (room number, page, since) and read each as a client does."""
    room = ints(*[rig.room_list[number].row for number, _, _ in wanted])
    page, since = ints(*[page for _, page, _ in wanted]), ints(*[since for _, _, since in wanted])
    bodies = encode_pages(rig.rooms, rig.entities, room, page, since, tick, TICK)
    pages = []
    for (number, _, _), at, length in zip(wanted, bodies.at.tolist(), bodies.length.tolist(), strict=True):
        options, table = rig.room_list[number].options, rig.rooms.table
        row = rig.room_list[number].row
        shape = RoomShape(
            options.slots, int(table.num_entities[row]), int(table.page_ids[row]), options.max_state_bytes
        )
        body = bodies.data[at : at + length].tobytes()
        sections = read_sections(bytes(dtypes.UPDATE_HEADER.size) + body, shape)
        assert sections is not None and len(sections.pages) == 1
        pages += sections.pages
    assert int(bodies.length.sum()) == len(bodies.data)
    return pages


def states(page: Page) -> dict[int, bytes]:
    return {entity_id: state for entity_id, _, state in page.states}


# --- the bytes of a page


def test_since_0_is_the_whole_page_without_removals() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"zero"), (two, 5, 1, b"five!"), (one, 8, 1, b"gone"), stamp=3)
    write(rig, (one, 8, 2, b""), stamp=5)
    [page] = pages_of(rig, (0, 0, 0))
    assert (page.page, page.since, page.removed) == (0, 0, ())
    assert states(page) == {0: b"zero", 5: b"five!"}


def test_a_page_since_a_tick_holds_what_is_stamped_after_it() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"at 3"), (one, 4, 1, b"gone"), stamp=3)
    write(rig, (one, 8, 2, b"at 4"), (one, 4, 2, b""), stamp=4)
    write(rig, (two, 1, 1, b"at 5"), stamp=5)
    since_2, since_3, since_4, since_5 = pages_of(rig, *[(0, 0, since) for since in (2, 3, 4, 5)])
    assert (states(since_2), since_2.removed) == ({0: b"at 3", 8: b"at 4", 1: b"at 5"}, (4,))
    assert (states(since_3), since_3.removed) == ({8: b"at 4", 1: b"at 5"}, (4,))
    assert (states(since_4), since_4.removed) == ({1: b"at 5"}, ())
    assert (states(since_5), since_5.removed) == ({}, ())


def test_an_id_that_was_removed_and_lives_again_stands_in_both() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 1, b"old"), stamp=3)
    write(rig, (one, 0, 2, b""), stamp=5)
    write(rig, (one, 0, 3, b"new"), stamp=6)
    [page] = pages_of(rig, (0, 0, 4))
    assert page.removed == (0,) and states(page) == {0: b"new"}
    [later] = pages_of(rig, (0, 0, 5))
    assert later.removed == () and states(later) == {0: b"new"}


def test_states_of_one_length_are_one_group_in_order_of_their_ids() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(
        rig,
        (one, 8, 1, b"aa"),
        (two, 1, 1, b"b"),
        (one, 0, 1, b"cc"),
        (two, 5, 1, b"d" * 24),
        (one, 4, 1, b"e"),
        stamp=1,
    )
    room = ints(rig.room_list[0].row)
    bodies = encode_pages(rig.rooms, rig.entities, room, ints(0), ints(0), 1, TICK)
    body = bodies.data.tobytes()
    assert body[3 + 13 :] == bytes.fromhex(
        "00 02 01  0100 0400  10 10  62 65"  # encoding, count, stride; ids; ages; states
        "00 02 02  0000 0800  10 10  6363 6161"
        "00 01 18  0500  10" + "64" * 24
    )


def test_an_age_is_in_steps_of_2_ms_and_stops_at_510() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    tick_ms = 100 * TICK * 1000
    for local_index, age_ms in enumerate((0, 510.5, 900)):
        write(rig, (one, 4 * local_index, 1, b"x"), sample_ms=round(tick_ms - age_ms))
    assert [age for _, age, _ in pages_of(rig, (0, 0, 0))[0].states] == [0, 255, 255]
    for seq, (age_ms, age) in enumerate(((0, 0), (3, 1), (5, 2), (509, 254), (-20, 0)), start=2):
        write(rig, (one, 0, seq, b"x"), sample_ms=int(tick_ms) - age_ms)
        assert pages_of(rig, (0, 0, 0))[0].states[0][1] == age


def test_a_page_tells_the_newest_log_index() -> None:
    rig = Rig(1, [SMALL, SMALL], players=1)
    rig.rooms.table.log_head[rig.room_list[1].row] = 70_000
    first, second = pages_of(rig, (0, 0, 0), (1, 0, 0))
    assert (first.log_index, second.log_index) == (0, 70_000)


def test_an_empty_page_is_a_header() -> None:
    rig = Rig(1, [SMALL], players=1)
    [page] = pages_of(rig, (0, 0, 0))
    assert page.states == [] and page.removed == ()
    assert pages_of(rig) == []


def test_the_last_page_of_a_room_ends_with_its_last_id() -> None:
    options = RoomOptions(max_players=3, entities_per_player=3, max_state_bytes=255)  # 18 ids, 4 a page
    rig = Rig(1, [options, options], players=2)
    (_, two), (other, _) = rig.rows
    write(rig, (two, 13, 1, b"last"), (other, 0, 1, b"of the next room"), stamp=1)
    assert int(rig.rooms.table.num_pages[rig.room_list[0].row]) == 5
    assert [states(page) for page in pages_of(rig, *[(0, n, 0) for n in range(5)])] == [{}, {}, {}, {13: b"last"}, {}]


def test_the_fullest_page_fits_one_datagram() -> None:
    options = RoomOptions(max_players=70, entities_per_player=1, max_state_bytes=8)
    rig = Rig(1, [options], players=69)
    rows = rig.rows[0]
    writes = [(row, n, 1, b"x" * 8) for n, row in enumerate(rows)]
    write(rig, *writes, stamp=1)
    write(rig, *[(row, n, 2, b"") for row, n, _, _ in writes], stamp=2)
    write(rig, *[(row, n, 3, b"x" * (1 + n % 8)) for row, n, _, _ in writes], stamp=3)
    page_ids = int(rig.rooms.table.page_ids[rig.room_list[0].row])
    assert page_ids == 69
    [page] = pages_of(rig, (0, 0, 1))
    assert len(page.states) == len(page.removed) == 69
    bodies = encode_pages(rig.rooms, rig.entities, ints(rig.room_list[0].row), ints(0), ints(1), 3, TICK)
    assert bodies.length[0] + dtypes.UPDATE_HEADER.size <= 1160


@pytest.mark.parametrize("seed", range(6))
def test_any_pages_hold_what_a_walk_over_the_table_finds(seed: int) -> None:
    rng = Random(seed)
    options = [SMALL, PAGED, RoomOptions(max_players=4, entities_per_player=9, max_state_bytes=60)]
    rig = Rig(seed, options, players=3)
    for stamp in range(1, 30):
        writes = []
        for number, rows in enumerate(rig.rows):
            for player, row in enumerate(rows):
                entity_id = player + options[number].slots * rng.randrange(options[number].entities_per_player)
                state = rng.randbytes(rng.choice((0, 1, 24, options[number].max_state_bytes)))
                writes.append((row, entity_id, stamp, state))
        write(rig, *writes, stamp=stamp)
    wanted = []
    for number, room in enumerate(rig.room_list):
        num_pages = int(rig.rooms.table.num_pages[room.row])
        wanted += [(number, rng.randrange(num_pages), rng.choice((0, 1, 15, 28))) for _ in range(30)]
    table = rig.entities.table
    for (number, page, since), got in zip(wanted, pages_of(rig, *wanted), strict=True):
        room, rooms = rig.room_list[number], rig.rooms.table
        first, size = int(rooms.entities_first[room.row]), int(rooms.page_ids[room.row])
        ids = range(page * size, min((page + 1) * size, int(rooms.num_entities[room.row])))
        alive = {i for i in ids if table.length[first + i] and table.changed_tick[first + i] > since}
        assert set(states(got)) == alive and len(got.states) == len(alive)
        assert set(got.removed) == {i for i in ids if since and table.removed_tick[first + i] > since}
        for entity_id, state in states(got).items():
            at = int(rooms.states_first[room.row]) + entity_id * room.options.max_state_bytes
            assert state == rig.entities.states.byte[at : at + len(state)].tobytes()
            assert len(state) == table.length[first + entity_id]


# --- what is due


def due_pages(rig: Rig, tick: int, session: int | None = None) -> list[int]:
    receivers = whose_turn(rig.sessions.table, rig.sessions.live, tick, tick - 1)
    due = find_due(rig.sessions.table, receivers, rig.rooms, rig.entities, tick, TICK)
    return [int(page) for row, page in zip(due.session, due.page, strict=True) if session is None or row == session]


def seat(rig: Rig, session: int, page: int = 0) -> int:
    return int(rig.sessions.table.pages_first[session]) + page


def test_nothing_is_due_in_a_room_in_which_nothing_changed() -> None:
    rig = Rig(1, [SMALL, PAGED], players=2)
    assert due_pages(rig, 1) == []
    assert len(find_due(rig.sessions.table, rig.sessions.live[:0], rig.rooms, rig.entities, 1, TICK).session) == 0


def test_a_change_is_due_at_once_and_then_after_a_round_trip_until_it_is_acknowledged() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    rig.sessions.table.rtt_s[one], rig.sessions.table.rtt_var_s[one] = 0.080, 0.010  # 100 ms: 3 ticks
    write(rig, (one, 0, 1, b"x"), stamp=10)
    sent = []
    for tick in range(10, 20):
        if due_pages(rig, tick):
            sent.append(tick)
            note_sent(rig.sessions, rig.rooms, rig.entities, ints(one), ints(0), tick)
    assert sent == [10, 14, 18]
    rig.entities.seats.acked_tick[seat(rig, one)] = 10
    assert due_pages(rig, 40) == []


def test_before_a_round_trip_was_measured_it_is_taken_for_200_ms() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 1, b"x"), stamp=10)
    note_sent(rig.sessions, rig.rooms, rig.entities, ints(one), ints(0), 10)
    assert [tick for tick in range(11, 18) if due_pages(rig, tick)] == [17]


def test_a_page_that_changed_again_is_due_again_at_once() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    for tick in range(10, 15):
        write(rig, (one, 0, tick, b"x"), stamp=tick)
        assert due_pages(rig, tick) == [0]
        note_sent(rig.sessions, rig.rooms, rig.entities, ints(one), ints(0), tick)
        assert due_pages(rig, tick) == []


def test_a_client_of_a_slower_rate_is_served_every_so_many_ticks() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    rig.sessions.table.tick_interval[two] = 4
    write(rig, (one, 0, 1, b"x"), stamp=10)
    served = {row: [tick for tick in range(10, 19) if due_pages(rig, tick, row)] for row in (one, two)}
    assert served == {one: list(range(10, 19)), two: [12, 16]}


def test_only_pages_that_changed_are_due_and_what_was_longest_unsent_goes_first() -> None:
    rig = Rig(1, [PAGED], players=1)
    [[one]] = rig.rows
    for local_index in (0, 20, 40, 60):  # pages 0, 40, 80, 120
        write(rig, (one, 8 * local_index, 1, b"x"), stamp=10)
    assert due_pages(rig, 10) == [0, 40, 80, 120]
    note_sent(rig.sessions, rig.rooms, rig.entities, ints(one, one), ints(0, 40), 10)
    assert due_pages(rig, 10) == [80, 120]
    assert due_pages(rig, 30) == [80, 120, 0, 40]  # a round trip later
    note_sent(rig.sessions, rig.rooms, rig.entities, ints(one, one), ints(80, 120), 30)
    assert due_pages(rig, 31) == [0, 40]


def test_the_round_goes_on_behind_the_last_page_of_the_table() -> None:
    rig = Rig(1, [PAGED], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 1, b"x"), (one, 8 * 63, 1, b"y"), stamp=10)
    assert due_pages(rig, 10) == [0, 126]
    note_sent(rig.sessions, rig.rooms, rig.entities, ints(one), ints(127), 10)
    assert rig.sessions.table.page_next[one] == 0
    note_sent(rig.sessions, rig.rooms, rig.entities, ints(one), ints(126), 9)
    assert rig.sessions.table.page_next[one] == 127
    rig.entities.seats.sent_tick[:] = 0
    assert due_pages(rig, 10) == [0, 126]
    rig.sessions.table.page_next[one] = 1
    assert due_pages(rig, 10) == [126, 0]


def test_noting_nothing_sent_changes_nothing() -> None:
    rig = Rig(1, [PAGED], players=1)
    note_sent(rig.sessions, rig.rooms, rig.entities, ints(), ints(), 9)
    assert not rig.entities.seats.sent_tick.any()


# --- who shares a body


def due_of(rig: Rig, *since: tuple[int, int, int]) -> Due:
    """Build due pages of (session, page, since)."""
    session = ints(*[row for row, _, _ in since])
    return Due(session, rig.sessions.table.room[session], *(ints(*[one[n] for one in since]) for n in (1, 2)))


def test_baselines_without_a_change_between_them_share_a_body_of_the_older() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"x"), stamp=10)
    write(rig, (two, 1, 1, b"y"), stamp=20)
    body_of, _, page, since = share_bodies(due_of(rig, (one, 0, 17), (two, 0, 12)), rig.rooms, rig.entities)
    assert body_of.tolist() == [0, 0] and since.tolist() == [12] and page.tolist() == [0]
    body_of, _, _, since = share_bodies(due_of(rig, (one, 0, 9), (two, 0, 12)), rig.rooms, rig.entities)
    assert since[body_of].tolist() == [9, 12]


def test_who_has_nothing_shares_with_nobody_who_has_something() -> None:
    """Since 0 means that absent ids are gone; since 5 does not, although both have all states."""
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"x"), stamp=10)
    body_of, _, _, since = share_bodies(due_of(rig, (one, 0, 0), (two, 0, 5)), rig.rooms, rig.entities)
    assert since[body_of].tolist() == [0, 5]


def test_a_removal_between_two_baselines_parts_them() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"x"), stamp=10)
    write(rig, (one, 0, 2, b""), stamp=15)
    write(rig, (two, 1, 1, b"y"), stamp=20)
    body_of, _, _, since = share_bodies(due_of(rig, (one, 0, 14), (two, 0, 15)), rig.rooms, rig.entities)
    assert since[body_of].tolist() == [14, 15]


def test_rooms_and_pages_never_share() -> None:
    rig = Rig(1, [PAGED, PAGED], players=1)
    [one], [two] = rig.rows
    write(rig, (one, 0, 1, b"x"), (one, 8, 1, b"x"), (two, 0, 1, b"x"), stamp=10)
    due = due_of(rig, (one, 0, 0), (one, 2, 0), (two, 0, 0))
    body_of, room, page, _ = share_bodies(due, rig.rooms, rig.entities)
    assert len(set(body_of.tolist())) == 3
    assert room[body_of].tolist() == due.room.tolist() and page[body_of].tolist() == due.page.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_everybody_gets_the_bytes_that_its_own_baseline_needs(seed: int) -> None:
    rng = Random(seed)
    rig = Rig(seed, [SMALL, SMALL], players=2)
    for stamp in range(1, 40):
        number, player = rng.randrange(2), rng.randrange(2)
        entity_id = player + 4 * rng.randrange(3)
        write(rig, (rig.rows[number][player], entity_id, stamp, rng.randbytes(rng.choice((0, 3, 24)))), stamp=stamp)
    asked = [(row, 0, rng.randrange(40)) for _ in range(20) for row in rig.sessions.live.tolist()]
    due = due_of(rig, *sorted(asked))
    body_of, room, page, since = share_bodies(due, rig.rooms, rig.entities)
    number_of = {room.row: number for number, room in enumerate(rig.room_list)}
    shared = pages_of(rig, *[(number_of[r], p, s) for r, p, s in zip(room.tolist(), page.tolist(), since.tolist())])
    own = pages_of(rig, *[(number_of[int(r)], 0, int(s)) for r, s in zip(due.room, due.since, strict=True)])
    for got, needed, own_since in zip((shared[b] for b in body_of.tolist()), own, due.since.tolist(), strict=True):
        assert got.states == needed.states and got.removed == needed.removed
        assert got.since <= own_since and (got.since == 0) == (own_since == 0)
    assert len(shared) < len(own)


def test_pages_of_another_block_of_64_begin_a_datagram() -> None:
    rig = Rig(1, [PAGED], players=2)
    [[one, two]] = rig.rows
    due = due_of(rig, *[(one, page, 0) for page in (62, 63, 64, 127, 0)], *[(two, page, 0) for page in (64, 65)])
    items, _ = build_items(due, rig.rooms, rig.entities, 1, TICK)
    assert items.apart.tolist() == [False, False, True, False, True, False, False]
    assert items.last.tolist() == [62, 63, 64, 127, 0, 64, 65]
    assert set(items.order.tolist()) == {Order.PAGE}


def test_no_due_pages_need_no_bodies() -> None:
    rig = Rig(1, [SMALL], players=1)
    items, data = build_items(due_of(rig), rig.rooms, rig.entities, 1, TICK)
    assert len(items) == len(data) == 0


# --- through the engine


def test_a_room_of_many_pages_arrives_whole_and_each_page_once() -> None:
    bench = Bench(client_bytes_per_s=2**31)
    writer, reader = bench.join_all(2, max_players=4, entities_per_player=64, max_state_bytes=255)
    for local_index in range(64):
        writer.say(writer.state(b"%03d" % local_index * 20, local_index))
    for _ in range(8):
        bench.tick()
        bench.receive(writer.listen(), reader.listen())
    assert reader.table == bench.engine.room_table("ROOM") and len(reader.table) == 64
    pages = [page.page for update in reader.updates for page in update.pages]
    assert len(pages) == len(set(pages)) == 64


def test_a_lost_page_comes_again_and_the_others_do_not() -> None:
    bench = Bench()
    writer, reader = bench.join_all(2, max_players=4, entities_per_player=64, max_state_bytes=255)
    writer.say(writer.state(b"a" * 255, 0))
    bench.tick()
    bench.receive(reader.listen())
    writer.say(writer.state(b"b" * 255, 32))
    bench.tick()
    assert len(bench.take(reader.address)) == 1  # lost
    num_heard = len(reader.updates)
    for _ in range(30):
        bench.tick()
        bench.receive(reader.listen())
    assert [page.page for update in reader.updates[num_heard:] for page in update.pages] == [64]
    assert reader.table == bench.engine.room_table("ROOM")


def test_players_of_one_baseline_are_sent_the_same_bytes_of_memory() -> None:
    bench = Bench()
    clients = bench.join_all(6)
    clients[0].say(clients[0].state(b"x" * 30))
    bench.now += TICK
    outgoing = bench.engine.tick(bench.now)
    pointers = [pieces.tolist() for pieces in outgoing.pieces if int(pieces[1]) > dtypes.UPDATE_HEADER.size]
    assert len(pointers) == 6 and len({tuple(pointer) for pointer in pointers}) == 1
