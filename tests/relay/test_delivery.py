"""The receivers' side of the log: what each session lacks, what of it is sent now, and what a range may cover."""

from random import Random
from typing import Any

import numpy as np
import pytest

from protocol.constants import LOG_WINDOW, PART_MORE, Target
from relay.audience import EVERYBODY, only
from relay.delivery import (
    FRAGMENTS_PER_S,
    REPEAT_BYTES,
    Open,
    Tails,
    due_entries,
    empty_ranges,
    find_open,
)
from relay.items import Items, Order
from relay.rooms import RoomOptions
from tests.reference.rig import Rig
from tests.relay.bench import TICK, Bench, Client
from tests.relay.tables import append, ints

OPTIONS = RoomOptions(max_players=4, entities_per_player=1, max_state_bytes=8)


def look(rig: Rig, now: float = 0.0) -> tuple[Open, Tails]:
    return find_open(rig.log, rig.sessions, rig.rooms, 600, now)


def open_of(rig: Rig, session: int) -> list[int]:
    found, _ = look(rig)
    return [int(index) for row, index in zip(found.session, found.index, strict=True) if row == session]


def send(rig: Rig, tick: int, resend: bool = True) -> Items:
    """Take what is due and note that it went out in this tick."""
    found, _ = look(rig)
    items = due_entries(found, rig.log, rig.sessions.table, tick, TICK, resend)
    rig.sessions.table.log_sent_tick[items.session, items.index % LOG_WINDOW] = tick
    return items


def acknowledge(rig: Rig, session: int, cursor: int, *beyond: int) -> None:
    """Set what a session has reported: its cursor, and indexes beyond it."""
    table = rig.sessions.table
    table.log_cursor[session] = cursor
    table.log_effective[session] = max(int(table.log_effective[session]), cursor)
    table.log_bits[session] = 0
    for index in beyond:
        j = index - cursor - 1
        table.log_bits[session, j // 64] |= np.uint64(1 << j % 64)


def ranges(found: Open, session: int) -> list[tuple[int, int, int, int]]:
    """List (index, first, last, after) of a session's open entries."""
    mine = np.flatnonzero(found.session == session)
    return [tuple(int(column[i]) for column in (found.index, found.first, found.last, found.after)) for i in mine]  # type: ignore[misc]


# --- what is open


def test_nothing_is_open_in_an_empty_log_or_for_nobody() -> None:
    found, tails = look(Rig(1, [OPTIONS], players=2))
    assert len(found.index) == len(tails.session) == 0
    found, tails = look(Rig(1, [], players=0))
    assert len(found.index) == len(tails.session) == 0


def test_what_is_neither_hidden_nor_acknowledged_is_open() -> None:
    rig = Rig(1, [OPTIONS, OPTIONS], players=2)
    (one, two), (other, _) = rig.rows
    append(rig, *[(0, b"x")] * 2, (1, b"z"))
    append(rig, (0, b"private"), audience=only(1))
    append(rig, (0, b"y"))
    assert open_of(rig, one) == [1, 2, 4] and open_of(rig, two) == [1, 2, 3, 4] and open_of(rig, other) == [1]
    acknowledge(rig, one, 1, 4)
    acknowledge(rig, two, 0, 1, 3)
    assert open_of(rig, one) == [2] and open_of(rig, two) == [2, 4]


def test_entries_and_fragments_from_before_a_session_joined_are_not_open_for_it() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    [[one, two]] = rig.rows
    append(rig, (0, b"before"))
    append(rig, (0, b"begun"), part=PART_MORE)
    rig.sessions.table.log_start[two] = 2
    acknowledge(rig, two, 2)
    append(rig, (0, b"ended"), part=1, first=2)
    append(rig, (0, b"after"))
    assert open_of(rig, one) == [1, 2, 3, 4] and open_of(rig, two) == [4]


def test_the_effective_cursor_is_the_index_before_the_first_open_entry() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    [[one, two]] = rig.rows
    append(rig, *[(0, b"private")] * 5, audience=only(1))
    append(rig, (0, b"x"))
    look(rig)
    assert rig.sessions.table.log_effective[[one, two]].tolist() == [5, 0]
    acknowledge(rig, one, 6)
    append(rig, *[(0, b"private")] * 3, audience=only(1))
    look(rig)
    assert rig.sessions.table.log_effective[one] == 9


def test_a_session_looks_256_indexes_ahead_and_no_further() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    [[one]] = rig.rows
    append(rig, *[(0, b"x")] * 300)
    assert open_of(rig, one) == list(range(1, LOG_WINDOW + 1))
    acknowledge(rig, one, 3)
    assert open_of(rig, one) == list(range(4, 3 + LOG_WINDOW + 1))


def test_what_is_hidden_does_not_narrow_the_window() -> None:
    """1,000 private entries go by; the next public one is found within a few looks, and they read nothing."""
    rig = Rig(1, [OPTIONS], players=2)
    [[one, _]] = rig.rows
    append(rig, *[(0, b"private")] * 1000, audience=only(1))
    append(rig, (0, b"public"))
    looks = [open_of(rig, one) for _ in range(5)]
    assert looks[-1] == [1001] and rig.sessions.table.log_cursor[one] == 0


@pytest.mark.parametrize("player_id", [0, 63, 64, 511])
def test_visibility_is_right_at_the_edges_of_words(player_id: int) -> None:
    rig = Rig(1, [RoomOptions(max_players=256, entities_per_player=1, max_state_bytes=1)], players=1)
    [[one]] = rig.rows
    rig.sessions.table.player_id[one] = player_id
    append(rig, (0, b"a"), audience=only(player_id))
    append(rig, (0, b"b"), audience=~only(player_id))
    append(rig, (0, b"c"), audience=only(player_id ^ 1))
    append(rig, (0, b"d"), audience=EVERYBODY)
    assert open_of(rig, one) == [1, 4]


def test_progress_is_noted_and_standing_still_is_not() -> None:
    rig = Rig(1, [OPTIONS], players=3)
    [[one, two, three]] = rig.rows
    append(rig, (0, b"private"), audience=only(0))
    append(rig, (0, b"x"), (0, b"x"), audience=~only(2))
    table = rig.sessions.table
    look(rig, now=1.0)  # everybody's mark was at the log's beginning, and is at its head now
    assert table.log_mark[rig.rows[0]].tolist() == [3, 3, 3]
    acknowledge(rig, one, 1)
    look(rig, now=2.0)
    acknowledge(rig, two, 2)
    look(rig, now=3.0)
    assert table.log_marked_at[one] == 1.0  # reads, but not all that was there
    assert table.log_marked_at[two] == 1.0  # passed over what is hidden, and stands since
    assert table.log_marked_at[three] == 3.0  # has nothing outstanding
    append(rig, (0, b"later"))
    acknowledge(rig, one, 3)
    look(rig, now=4.0)
    assert (table.log_marked_at[one], table.log_mark[one]) == (4.0, 4)  # what came later is for the next mark


# --- what ranges cover


def test_a_range_covers_everything_around_an_entry_that_is_complete() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    [[one, _]] = rig.rows
    for visible in (0, 1, 0, 0, 1, 1, 0):  # open: 2, 5, 6
        append(rig, (0, b"x"), audience=EVERYBODY if visible else only(1))
    found, tails = look(rig)
    assert ranges(found, one) == [(2, 1, 4, 0), (5, 3, 5, 2), (6, 6, 7, 5)]
    mine = tails.session.tolist().index(one)
    assert (tails.first[mine], tails.last[mine], tails.after[mine]) == (7, 7, 6)


def test_a_range_begins_behind_the_cursor_even_if_more_than_256_are_hidden_there() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    [[one, _]] = rig.rows
    append(rig, *[(0, b"private")] * 600, audience=only(1))
    append(rig, (0, b"public"))
    for _ in range(4):
        found, _ = look(rig)
    assert ranges(found, one) == [(601, 1, 601, 0)]


def test_fragments_that_are_not_the_last_hold_nothing_up() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    [[one]] = rig.rows
    append(rig, (0, b"a"))
    append(rig, (0, b"f0"), part=PART_MORE)
    append(rig, (0, b"b"))
    append(rig, (0, b"f1"), part=PART_MORE | 1, first=2)
    append(rig, (0, b"last"), part=2, first=2)
    append(rig, (0, b"c"))
    found, tails = look(rig)
    afters = {index: after for index, _, _, after in ranges(found, one)}
    assert afters == {1: 0, 2: 1, 3: 1, 4: 3, 5: 3, 6: 5}
    assert found.fragment.tolist() == [False, True, False, True, False, False]
    assert tails.after.tolist() == [6]


def test_after_is_the_cursor_where_nothing_before_can_hold_up() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    [[one]] = rig.rows
    append(rig, (0, b"a"))
    append(rig, (0, b"f"), part=PART_MORE)
    append(rig, (0, b"b"))
    acknowledge(rig, one, 1)
    found, _ = look(rig)
    assert ranges(found, one) == [(2, 2, 2, 1), (3, 3, 3, 1)]


def test_sessions_do_not_look_at_each_others_entries() -> None:
    """The entry before a session's first is the last of the session before it in the columns."""
    rig = Rig(1, [OPTIONS, OPTIONS], players=1)
    [one], [two] = rig.rows
    append(rig, *[(0, b"x")] * 5, *[(1, b"y")] * 2)
    acknowledge(rig, two, 1)
    found, tails = look(rig)
    assert ranges(found, two) == [(2, 2, 2, 1)] and ranges(found, one)[0] == (1, 1, 1, 0)
    assert found.follows.tolist() == [False, True, True, True, True, False]
    assert tails.session.tolist() == [one, two] and tails.first.tolist() == [6, 3]


@pytest.mark.parametrize("seed", range(6))
def test_any_log_is_open_as_a_walk_finds(seed: int) -> None:
    rng = Random(seed)
    rig = Rig(seed, [OPTIONS] * 3, players=3)
    hidden: dict[tuple[int, int], set[int]] = {}
    for number in range(3):
        for index in range(1, rng.randint(2, 60)):
            target = rng.choice((EVERYBODY, only(0), only(1), ~only(2)))
            append(rig, (number, b"x"), audience=target)
            for player in range(3):
                if not target[0] >> np.uint64(player) & np.uint64(1):
                    hidden.setdefault((number, player), set()).add(index)
    complete: dict[tuple[int, int], set[int]] = {}
    for number, rows in enumerate(rig.rows):
        head = int(rig.rooms.table.log_head[rig.room_list[number].row])
        for player, row in enumerate(rows):
            cursor = rng.randint(0, head)
            beyond = [index for index in range(cursor + 2, head + 1) if rng.random() < 0.3]
            acknowledge(rig, row, cursor, *beyond)
            complete[number, player] = set(range(1, cursor + 1)) | set(beyond) | hidden.get((number, player), set())
    found, _ = look(rig)
    for number, rows in enumerate(rig.rows):
        head = int(rig.rooms.table.log_head[rig.room_list[number].row])
        for player, row in enumerate(rows):
            wanted = [index for index in range(1, head + 1) if index not in complete[number, player]]
            got = ranges(found, row)
            assert [index for index, *_ in got] == wanted
            for n, (index, first, last, after) in enumerate(got):
                before = wanted[n - 1] if n else int(rig.sessions.table.log_cursor[row])
                assert (first, after) == (before + 1, before)
                assert last == (wanted[n + 1] - 1 if n + 1 < len(wanted) else head)
                assert set(range(first, last + 1)) - {index} <= complete[number, player]


# --- what is due


def test_a_new_entry_is_due_at_once_and_little_is_repeated_every_tick() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    append(rig, (0, b"x" * (REPEAT_BYTES - 11)))
    assert send(rig, 1, resend=False).index.tolist() == [1]
    assert send(rig, 1, resend=False).index.tolist() == []
    assert [send(rig, tick).index.tolist() for tick in (2, 3)] == [[1], [1]]


def test_much_is_repeated_after_one_and_a_half_round_trips() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    [[one]] = rig.rows
    rig.sessions.table.rtt_s[one] = 0.1  # and 50 ms: 200 ms, 6 ticks
    append(rig, (0, b"x" * REPEAT_BYTES))
    assert [tick for tick in range(1, 16) if len(send(rig, tick))] == [1, 7, 13]


def test_before_a_round_trip_was_measured_much_is_repeated_after_350_ms() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    append(rig, (0, b"x" * REPEAT_BYTES))
    assert [tick for tick in range(1, 30) if len(send(rig, tick))] == [1, 12, 23]


def test_only_holes_are_sent_again() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    [[one]] = rig.rows
    append(rig, *[(0, b"x")] * 6)
    send(rig, 1)
    acknowledge(rig, one, 2, 4, 6)
    assert send(rig, 2).index.tolist() == [3, 5]


def test_fragments_go_out_a_few_a_tick_and_never_between_ticks() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    for part in range(12):
        append(rig, (0, b"x" * 1024), part=PART_MORE | part, first=0 if part == 0 else 1)
    append(rig, (0, b"chat"))
    assert send(rig, 1, resend=False).index.tolist() == [13]
    sent = [send(rig, tick) for tick in (1, 2, 3, 4)]
    assert [items.order.tolist().count(Order.FRAGMENT) for items in sent] == [round(FRAGMENTS_PER_S * TICK)] * 3 + [0]
    assert [index for items in sent for index in items.index.tolist() if index < 13] == list(range(1, 13))


@pytest.mark.parametrize(("tick_rate", "fragments"), [(1, 120), (30, 4), (60, 2), (240, 1)])
def test_fragments_of_a_tick_are_what_the_rate_gives_and_at_least_one(tick_rate: int, fragments: int) -> None:
    rig = Rig(1, [OPTIONS], players=1)
    for part in range(130):
        append(rig, (0, b"x" * 1024), part=PART_MORE | part, first=0 if part == 0 else 1)
    found, _ = look(rig)
    items = due_entries(found, rig.log, rig.sessions.table, 1, 1 / tick_rate, True)
    assert len(items) == fragments


def test_fragments_do_not_count_as_open_bytes_of_the_rest() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    append(rig, (0, b"x" * 1024), part=PART_MORE)
    append(rig, (0, b"chat"))
    send(rig, 1)
    assert send(rig, 2).index.tolist() == [2]


def test_entries_side_by_side_are_linked_and_a_gap_or_a_fragment_parts_them() -> None:
    rig = Rig(1, [OPTIONS], players=2)
    [[one, two]] = rig.rows
    append(rig, *[(0, b"x" * 600)] * 2)
    append(rig, (0, b"f"), part=PART_MORE)
    append(rig, (0, b"y"), (0, b"z"))
    items = send(rig, 1)
    mine = items.take(items.session == one)
    assert mine.index.tolist() == [1, 2, 4, 5, 3]  # what somebody waits for first, then fragments
    assert mine.linked.tolist() == [False, True, False, True, False]
    assert items.take(items.session == two).linked.tolist() == mine.linked.tolist()
    append(rig, (0, b"new"))
    later = send(rig, 2)
    assert later.take(later.session == one).index.tolist() == [6] and not later.linked.any()


def test_an_item_points_at_the_entrys_own_bytes() -> None:
    rig = Rig(1, [OPTIONS], players=1)
    append(rig, (0, b"abc"), (0, b""))
    items = send(rig, 1)
    offset = items.pointer.astype(np.int64) - rig.log.arena.bytes.ctypes.data
    assert items.length.tolist() == [14, 11]
    assert rig.log.arena.bytes[int(offset[0]) + 11 :][:3].tobytes() == b"abc"


def test_a_slot_of_the_window_that_is_used_again_is_not_taken_for_sent() -> None:
    """Index 257 has the slot of index 1: its entry is new although that slot was sent a tick ago."""
    rig = Rig(1, [OPTIONS], players=1)
    [[one]] = rig.rows
    rig.sessions.table.rtt_s[one] = 5.0
    append(rig, *[(0, b"x" * 100)] * 256)
    send(rig, 1)
    acknowledge(rig, one, 256)
    append(rig, *[(0, b"x" * 100)] * 10)
    assert send(rig, 2).index.tolist() == list(range(257, 267))


# --- ranges without entries


def tails_of(**columns: Any) -> Tails:
    return Tails(**{name: ints(*values) for name, values in columns.items()})


def test_a_range_without_entries_goes_only_to_who_waits_for_a_position_over_hidden_ones() -> None:
    tails = tails_of(session=[3, 5, 6, 7], first=[11, 21, 31, 41], last=[15, 25, 30, 45], after=[9, 20, 30, 40])
    wanted = np.zeros(8, np.bool_)
    wanted[[3, 6, 7]] = True
    items = empty_ranges(tails, Items.empty(), wanted)
    assert items.session.tolist() == [3, 7]  # 5 does not wait, 6 has nothing hidden there
    assert items.first.tolist() == [11, 41] and items.last.tolist() == [15, 45] and items.after.tolist() == [9, 40]
    assert items.length.tolist() == [0, 0] and items.index.tolist() == [0, 0] and not items.linked.any()


def test_who_is_sent_its_last_open_entry_now_needs_no_range_without_entries() -> None:
    tails = tails_of(session=[3, 4], first=[11, 11], last=[15, 15], after=[10, 10])
    due = Items.build(ints(3, 4), Order.ENTRY, ints(0, 0).astype(np.uint64), ints(9, 9), index=ints(10, 9))
    assert empty_ranges(tails, due, np.ones(8, np.bool_)).session.tolist() == [4]


def test_a_player_whose_first_entries_are_hidden_is_carried_over_them_too() -> None:
    tails = tails_of(session=[3], first=[1], last=[5], after=[0])
    assert empty_ranges(tails, Items.empty(), np.ones(8, np.bool_)).first.tolist() == [1]


# --- through the engine


def private(sender: Client, receiver: Client, payload: bytes) -> bytes:
    return sender.message(payload, Target.ONE, (receiver.welcome.player_id,))


def test_everybody_gets_what_it_may_see_in_one_order() -> None:
    bench = Bench()
    one, two, three = bench.join_all(3)
    one.say(one.message(b"to all"), private(one, two, b"to two"))
    two.say(two.message(b"but one", Target.ALL_BUT, (0,)), two.message(b"to some", Target.LIST, (0, 2)))
    for _ in range(2):
        bench.flush()
        bench.receive(*[client.listen() for client in (one, two, three)])
    assert [payload for _, payload in one.messages] == [b"to all", b"to some"]
    assert [payload for _, payload in two.messages] == [b"to all", b"to two", b"but one"]
    assert [payload for _, payload in three.messages] == [b"to all", b"but one", b"to some"]
    assert one.cursor == two.cursor == three.cursor == max(two.entries) + 1


def test_what_is_lost_comes_again_and_nothing_twice_in_the_game() -> None:
    bench = Bench()
    rng = Random(1)
    sender, reader = bench.join_all(2)
    for n in range(150):
        bench.receive(sender.listen())
        sender.say(*([sender.message(b"%d" % n * rng.randint(1, 60))] if n < 100 else []))
        bench.flush()
        bench.tick()
        if rng.random() < 0.3:
            bench.take(reader.address)
        bench.receive(reader.listen())
    assert [payload[: len(b"%d" % n)] for n, (_, payload) in enumerate(reader.messages)] == [
        b"%d" % n for n in range(100)
    ]
    assert reader.cursor == max(reader.entries)


def test_a_reader_far_behind_is_sent_256_indexes_and_then_the_rest() -> None:
    bench = Bench(messages_per_s=2000, client_bytes_per_s=2**31)
    sender, reader = bench.join_all(2, max_players=2)
    began = reader.cursor
    for _ in range(30):
        sender.say(*[sender.message(b"m%d" % n) for n in range(16)])
        bench.tick()
        bench.receive(sender.listen())
    reader.hear()
    assert max(reader.entries) == began + LOG_WINDOW
    for _ in range(3):
        bench.receive(reader.listen())
        bench.tick()
    reader.hear()
    assert len(reader.messages) == 480
