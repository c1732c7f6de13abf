"""From due items to datagrams: the cut, the ranges, the headers, and what is remembered of each."""

from random import Random
from typing import Any

import numpy as np
import pytest

from protocol import dtypes
from protocol.constants import MAX_BODY_BYTES, WINDOW, Kind
from protocol.records import RoomShape, read_sections
from relay.batch import Outgoing
from relay.columns import Bytes
from relay.egress import (
    RANGE_BYTES,
    SPACE_BYTES,
    Cut,
    build_datagrams,
    cut,
    has_news_of_credit,
    nothing,
    with_answers,
)
from relay.items import PAGE_BLOCK, Items, Order, merged
from relay.rooms import RoomOptions
from tests.reference.rig import Rig
from tests.relay.bench import Bench
from tests.relay.tables import ints

OPTIONS = RoomOptions(max_players=4, entities_per_player=1, max_state_bytes=8)
SHAPE = RoomShape(8, 8, 8, 8)
MANY = np.full(16, 40, np.int64)
"""Datagrams allowed: more than any test has."""


def pages(session: int, *lengths: int, first_page: int = 0, apart: tuple[int, ...] = ()) -> Items:
    n = len(lengths)
    number = first_page + np.arange(n)
    is_apart = np.isin(np.arange(n), apart)
    return Items.build(
        np.full(n, session), Order.PAGE, np.zeros(n, np.uint64), ints(*lengths), last=number, apart=is_apart
    )


def signals(session: int, *lengths: int) -> Items:
    return Items.build(np.full(len(lengths), session), Order.SIGNAL, np.zeros(len(lengths), np.uint64), ints(*lengths))


def entries(session: int, *lengths: int, first: int = 1, linked: bool = True, order: Order = Order.ENTRY) -> Items:
    """Build entries of consecutive indexes, as one run."""
    n = len(lengths)
    index = first + np.arange(n)
    built = Items.build(
        np.full(n, session),
        Order.ENTRY,
        np.zeros(n, np.uint64),
        ints(*lengths),
        linked=(np.arange(n) > 0) & linked,
        first=index.copy(),
        last=index.copy(),
        after=index - 1,
        index=index,
    )
    built.order[:] = order
    return built


def sizes(chosen: Cut) -> list[tuple[int, list[int]]]:
    """List every datagram as (session, lengths of its items)."""
    return [
        (int(session), chosen.items.length[chosen.datagram == d].tolist()) for d, session in enumerate(chosen.session)
    ]


# --- the cut


def test_nothing_due_and_nobody_bare_is_no_datagram() -> None:
    chosen = cut(Items.empty(), ints(), MANY)
    assert len(chosen.session) == len(chosen.items) == 0


def test_items_that_fill_a_datagram_exactly_stay_together_and_one_byte_more_does_not() -> None:
    assert SPACE_BYTES == MAX_BODY_BYTES - 32 == 1128
    assert sizes(cut(pages(1, 600, 528), ints(), MANY)) == [(1, [600, 528])]
    assert sizes(cut(pages(1, 600, 529), ints(), MANY)) == [(1, [600]), (1, [529])]
    assert sizes(cut(pages(1, 1128, 1128), ints(), MANY)) == [(1, [1128]), (1, [1128])]


def test_a_range_header_costs_its_bytes_once_per_run_and_again_in_every_datagram() -> None:
    assert RANGE_BYTES == 15
    room = SPACE_BYTES - RANGE_BYTES
    assert sizes(cut(entries(1, 1000, room - 1000), ints(), MANY)) == [(1, [1000, room - 1000])]
    assert sizes(cut(entries(1, 1000, room - 999), ints(), MANY)) == [(1, [1000]), (1, [room - 999])]
    # the second datagram begins in the middle of a run: its range header must be counted there
    assert sizes(cut(entries(1, 1000, 1000, room - 1000, 1), ints(), MANY)) == [
        (1, [1000]),
        (1, [1000, room - 1000]),
        (1, [1]),
    ]
    apart = entries(1, 500, 500, linked=False)
    assert sizes(cut(apart, ints(), MANY)) == [(1, [500, 500])]
    assert sizes(cut(entries(1, 550, 549, linked=False), ints(), MANY)) == [(1, [550]), (1, [549])]
    assert sizes(cut(entries(1, 550, 548, linked=False), ints(), MANY)) == [(1, [550, 548])]


def test_sessions_are_cut_each_for_itself() -> None:
    items = merged([pages(7, 1000, 1000), pages(2, 500), signals(2, 300, 300, 300)])
    assert sizes(cut(items, ints(), MANY)) == [(2, [300, 300, 300]), (2, [500]), (7, [1000]), (7, [1000])]


def test_who_needs_a_datagram_gets_a_bare_one_only_if_no_item_makes_one() -> None:
    chosen = cut(pages(5, 100), ints(1, 5, 9), MANY)
    assert sizes(chosen) == [(1, []), (5, [100]), (9, [])]


def test_no_more_datagrams_than_allowed_are_cut_and_the_rest_is_left_out() -> None:
    allowed = np.zeros(16, np.int64)
    allowed[2], allowed[3] = 2, 1
    items = merged([pages(1, 900), pages(2, 900, 900, 900), pages(3, 100, 100, 1000)])
    assert sizes(cut(items, ints(), allowed)) == [(2, [900]), (2, [900]), (3, [100, 100])]


def test_a_page_of_another_block_begins_a_datagram_although_it_would_fit() -> None:
    assert sizes(cut(pages(1, 10, 10, 10, 10, apart=(2,)), ints(), MANY)) == [(1, [10, 10]), (1, [10, 10])]
    assert sizes(cut(pages(1, 10, 10, 10, apart=(1, 2)), ints(), MANY)) == [(1, [10]), (1, [10]), (1, [10])]
    both = merged([signals(1, 5), pages(1, 10, 10, apart=(1,)), pages(2, 10)])
    assert sizes(cut(both, ints(), MANY)) == [(1, [5, 10]), (1, [10]), (2, [10])]


@pytest.mark.parametrize("seed", range(8))
def test_any_items_are_cut_as_a_greedy_walk_would(seed: int) -> None:
    rng = Random(seed)
    parts = []
    for session in rng.sample(range(16), 8):
        first = 1
        for _ in range(rng.randint(0, 4)):
            lengths = [rng.choice((11, 60, 400, 1035)) for _ in range(rng.randint(1, 6))]
            parts.append(entries(session, *lengths, first=first))
            first += len(lengths) + 1
        parts.append(signals(session, *[rng.choice((14, 200, 1037)) for _ in range(rng.randint(0, 5))]))
        lengths = [rng.choice((20, 500, 1128)) for _ in range(rng.randint(0, 5))]
        parts.append(pages(session, *lengths, apart=tuple(n for n in range(1, len(lengths)) if rng.random() < 0.3)))
    rng.shuffle(parts)
    items = merged(parts)
    allowed = np.array([rng.choice((0, 1, 3, 40)) for _ in range(16)], np.int64)
    expected: list[tuple[int, list[int]]] = []
    used = 0
    for i in range(len(items)):
        session, logged = int(items.session[i]), items.order[i] % 2 == 0
        new_session = i == 0 or session != items.session[i - 1]
        cost = int(items.length[i]) + (RANGE_BYTES if logged and not items.linked[i] else 0)
        if new_session or items.apart[i] or used + cost > SPACE_BYTES:
            expected.append((session, []))
            used = 0
            cost = int(items.length[i]) + (RANGE_BYTES if logged else 0)
        expected[-1][1].append(int(items.length[i]))
        used += cost
    kept = [one for n, one in enumerate(expected) if sum(e[0] == one[0] for e in expected[:n]) < allowed[one[0]]]
    assert sizes(cut(items, ints(), allowed)) == kept


# --- datagrams


def send(
    rig: Rig, items: Items, bare: tuple[int, ...] = (), tick: int = 9, now: float = 1.0, data: Bytes | None = None
) -> Outgoing:
    """Cut items and build their datagrams; pointers of items are offsets into `data`."""
    data = np.zeros(4096, np.uint8) if data is None else data
    items.pointer = np.where(items.length > 0, items.pointer + np.uint64(data.ctypes.data), 0).astype(np.uint64)
    chosen = cut(items, ints(*bare), np.full(rig.sessions.table.rows, 40))
    return build_datagrams(chosen, rig.sessions, rig.rooms, tick, now, [data])


def headers(outgoing: Outgoing) -> list[Any]:
    return [dtypes.UPDATE_HEADER.decode(payload) for _, payload in outgoing.datagrams()]


def small_rig() -> tuple[Rig, int, int]:
    rig = Rig(1, [OPTIONS], players=2)
    one, two = rig.rows[0]
    rig.sessions.table.ack_due_at[[one, two]] = np.inf
    return rig, one, two


def test_a_bare_datagram_is_a_header_to_the_sessions_address() -> None:
    rig, one, two = small_rig()
    outgoing = send(rig, Items.empty(), bare=(one, two), tick=77)
    datagrams = list(outgoing.datagrams())
    assert [address for address, _ in datagrams] == [rig.sessions.table.address[row].tobytes() for row in (one, two)]
    assert [len(payload) for _, payload in datagrams] == [32, 32]
    first = headers(outgoing)[0]
    assert (first.kind, first.tick, first.seq, first.session) == (Kind.UPDATE, 77, 1, rig.session_id(one))
    assert (first.flags, first.ack, first.ack_bits, first.ack_delay) == (1, 0, 0, 0)  # nothing received
    assert first.shard == rig.rooms.table.shard[rig.room_list[0].row]
    assert outgoing.num_bytes() == 64


def test_a_header_reports_what_was_received_and_how_long_ago() -> None:
    rig, one, _ = small_rig()
    table = rig.sessions.table
    table.recv_newest[one], table.recv_mask[one], table.recv_at[one] = 65_537, (1 << 63) | 0b1011, 0.9
    [header] = headers(send(rig, Items.empty(), bare=(one,), now=1.0))
    assert (header.flags, header.ack, header.ack_bits) == (0, 1, 0b101)
    assert header.ack_delay in (99, 100)
    table.recv_mask[one] = (1 << 64) - 1
    [header] = headers(send(rig, Items.empty(), bare=(one,), now=100.0))
    assert (header.ack_bits, header.ack_delay) == (0xFFFFFFFF, 255)
    [header] = headers(send(rig, Items.empty(), bare=(one,), now=0.5))
    assert header.ack_delay == 0


def test_seqs_count_per_session_within_a_send_and_from_send_to_send_and_wrap_on_the_wire() -> None:
    rig, one, two = small_rig()
    rig.sessions.table.send_seq[one] = 65_534
    seqs = [
        (header.session, header.seq)
        for header in headers(send(rig, merged([pages(one, 900, 900, 900), pages(two, 9)])))
    ]
    ids = rig.session_id(one), rig.session_id(two)
    assert seqs == [(ids[0], 65_535), (ids[0], 0), (ids[0], 1), (ids[1], 1)]
    assert rig.sessions.table.send_seq[[one, two]].tolist() == [65_537, 1]


def test_a_header_tells_of_messages_and_credit_in_their_low_16_bits() -> None:
    rig, one, _ = small_rig()
    table = rig.sessions.table
    table.message_accepted[one], table.message_bits[one] = 65_536 + 5, 0b110
    [header] = headers(send(rig, Items.empty(), bare=(one,)))
    assert (header.message_ack, header.message_bits, header.message_credit) == (5, 0b110, 5 + 32)


def payloads(outgoing: Outgoing) -> list[Any]:
    """Read every datagram as a client does."""
    read = [read_sections(payload, SHAPE) for _, payload in outgoing.datagrams()]
    assert None not in read
    return read


def log_bytes(*entries: tuple[int, bytes]) -> tuple[Bytes, list[int], list[int]]:
    """Encode entries one behind another. Returns: bytes, offsets and lengths."""
    parts = [dtypes.ENTRY_HEADER.encode(index & 0xFFFF, 1, 0, 2, 0, 0, len(data)) + data for index, data in entries]
    lengths = [len(part) for part in parts]
    return np.frombuffer(b"".join(parts), np.uint8).copy(), [sum(lengths[:n]) for n in range(len(parts))], lengths


def test_a_run_of_entries_is_one_range_of_the_logs_own_bytes() -> None:
    rig, one, _ = small_rig()
    data, at, lengths = log_bytes((5, b"five"), (6, b""), (9, b"nine"))
    items = entries(one, *lengths)
    items.pointer, items.index = np.array(at, np.uint64), ints(5, 6, 9)
    items.first, items.last, items.after = ints(4, 6, 7), ints(5, 8, 12), ints(3, 5, 6)
    outgoing = send(rig, items, data=data)
    [sections] = payloads(outgoing)
    [log_range] = sections.ranges
    assert (log_range.first, log_range.last, log_range.after) == (4, 12, 3)
    assert [(entry.log_index, entry.payload) for entry in log_range.entries] == [(5, b"five"), (6, b""), (9, b"nine")]
    assert len(outgoing.pieces) == 3  # header, range header, one piece for the three entries


def test_a_run_that_is_split_over_datagrams_keeps_first_last_and_after_right_in_each() -> None:
    rig, one, _ = small_rig()
    data, at, lengths = log_bytes(*[(index, b"x" * 500) for index in (3, 4, 6, 8)])
    items = entries(one, *lengths)
    items.pointer, items.index = np.array(at, np.uint64), ints(3, 4, 6, 8)
    items.first, items.last, items.after = ints(1, 4, 5, 7), ints(3, 5, 7, 10), ints(0, 3, 4, 6)
    first, second = (sections.ranges for sections in payloads(send(rig, items, data=data)))
    assert [(r.first, r.last, r.after, [e.log_index for e in r.entries]) for r in first + second] == [
        (1, 5, 0, [3, 4]),
        (5 + 0, 10, 4, [6, 8]),
    ]


def test_ranges_around_a_signal_and_without_entries_are_whole_sections() -> None:
    rig, one, _ = small_rig()
    data, at, lengths = log_bytes((1, b"a"), (2, b"b"), (4, b"fragment"))
    signal = dtypes.SECTION_HEADER.encode(3, 12) + dtypes.SIGNAL_DOWN_HEADER.encode(1, 2, 0, 0, 3, 9, 3) + b"hi"
    everything = np.concatenate([data, np.frombuffer(signal, np.uint8)])
    run = entries(one, *lengths[:2])
    run.pointer = np.array(at[:2], np.uint64)
    empty = entries(one, 0, first=3, linked=False)
    empty.index[:], empty.last[:] = 0, 3
    sound = signals(one, len(signal))
    sound.pointer = np.array([len(data)], np.uint64)
    fragment = entries(one, lengths[2], first=4, order=Order.FRAGMENT)
    fragment.pointer = np.array(at[2:], np.uint64)
    [sections] = payloads(send(rig, merged([run, empty, sound, fragment]), data=everything))
    assert [(r.first, r.last, [e.payload for e in r.entries]) for r in sections.ranges] == [
        (1, 2, [b"a", b"b"]),
        (3, 3, []),
        (4, 4, [b"fragment"]),
    ]
    assert [(s.payload, s.position, s.sender) for s in sections.signals] == [(b"hi", 3, 3)]


# --- what is remembered


def test_every_datagram_is_remembered_with_its_tick_time_and_bytes() -> None:
    rig, one, _ = small_rig()
    table = rig.sessions.table
    table.send_seq[one], table.sent_bytes[one] = 126, 5000
    send(rig, pages(one, 900, 300), tick=50, now=2.5)
    assert table.send_seq[one] == 128 and table.sent_bytes[one] == 5000 + 932 + 332
    slots = [127 % WINDOW, 128 % WINDOW]
    assert table.history_tick[one, slots].tolist() == [50, 50] and table.history_at[one, slots].tolist() == [2.5, 2.5]
    assert table.history_bytes[one, slots].tolist() == [5932, 6264]
    assert table.sent_at[one] == 2.5


def test_what_is_under_way_is_marked_and_what_left_the_window_is_not() -> None:
    rig, one, _ = small_rig()
    table = rig.sessions.table
    table.flight_mask[one] = (1 << 63) | 0b101
    send(rig, pages(one, 900, 900))
    assert int(table.flight_mask[one]) == 0b10111


def test_a_send_pays_what_was_owed() -> None:
    rig, one, two = small_rig()
    table = rig.sessions.table
    table.ack_owed[[one, two]], table.ack_due_at[[one, two]] = 5, 1.01
    send(rig, Items.empty(), bare=(one,))
    assert table.ack_owed[[one, two]].tolist() == [0, 5]
    assert table.ack_due_at[[one, two]].tolist() == [np.inf, 1.01]


def test_the_pages_of_a_datagram_are_remembered_as_a_block_and_bits() -> None:
    rig, one, two = small_rig()
    table = rig.sessions.table
    table.history_pages[one], table.history_pages[two] = 123, 123  # left over from 64 datagrams ago
    items = merged([signals(one, 20), pages(one, 10, 10, first_page=62), pages(two, 10), signals(one, 900, 200)])
    high = pages(one, 10, 10, first_page=64 * 14 + 63, apart=(0, 1))
    send(rig, merged([items, high]))
    assert PAGE_BLOCK == 64
    remembered = [
        (int(table.history_page[one, seq]), int(table.history_pages[one, seq]))
        for seq in range(1, table.send_seq[one] + 1)
    ]
    carried = {block + bit for block, bits in remembered for bit in range(64) if bits >> bit & 1}
    assert carried == {62, 63, 64 * 14 + 63, 64 * 15}
    assert (int(table.history_page[two, 1]), int(table.history_pages[two, 1])) == (0, 1)


def test_a_datagram_without_pages_is_remembered_without_pages() -> None:
    rig, one, _ = small_rig()
    table = rig.sessions.table
    table.history_pages[one] = 0xFFFF
    send(rig, signals(one, 100))
    assert table.history_pages[one, 1] == 0 and table.history_pages[one, 2] == 0xFFFF


def test_entries_are_marked_with_the_tick_in_which_they_went_out_and_ranges_without_entries_are_not() -> None:
    rig, one, two = small_rig()
    table = rig.sessions.table
    empty = entries(two, 0, linked=False)
    empty.index[:] = 0
    send(rig, merged([entries(one, 20, 20, first=256), empty]), tick=33)
    assert table.log_sent_tick[one, [0, 1, 2]].tolist() == [33, 33, 0]
    assert not table.log_sent_tick[two].any()


def test_nothing_sent_is_nothing_remembered() -> None:
    rig, one, two = small_rig()
    outgoing = send(rig, Items.empty())
    assert len(outgoing) == 0 and list(outgoing.datagrams()) == []
    assert rig.sessions.table.send_seq[[one, two]].tolist() == [0, 0]


# --- answers and credit


def test_answers_go_out_before_updates_so_that_a_welcome_precedes_what_it_explains() -> None:
    rig, one, _ = small_rig()
    updates = send(rig, Items.empty(), bare=(one,))
    here = rig.sessions.table.address[one].tobytes()
    both = with_answers([(here, b"first"), (here, b""), (here, b"second")], updates)
    assert [payload[:6] for _, payload in both.datagrams()][:3] == [b"first", b"", b"second"]
    assert len(both) == 4 and list(both.datagrams())[3] == next(iter(updates.datagrams()))


def test_answers_alone_and_nothing_at_all() -> None:
    here = bytes(28)
    assert len(nothing()) == 0 and with_answers([], nothing()).num_bytes() == 0
    assert list(with_answers([(here, b"x" * 26)], nothing()).datagrams()) == [(here, b"x" * 26)]


def test_credit_is_news_for_who_was_told_of_little_and_may_send_more() -> None:
    rig, one, two = small_rig()
    table = rig.sessions.table
    table.message_accepted[[one, two]], table.message_permitted[[one, two]] = 100, [107, 108]
    assert has_news_of_credit(table, ints(one, two), 8).tolist() == [True, False]
    table.unread_bytes[one] = 1 << 20
    assert has_news_of_credit(table, ints(one, two), 8).tolist() == [False, False]


def test_a_client_can_read_every_datagram_of_a_busy_room() -> None:
    bench = Bench()
    clients = bench.join_all(4, entities_per_player=8, max_state_bytes=200)
    rng = Random(2)
    for _ in range(20):
        for client in clients:
            size = rng.choice((0, 30, 300))
            client.say(
                client.message(bytes(size)), client.signal(bytes(size)), client.state(b"x" * 200, rng.randrange(8))
            )
        bench.flush()
        bench.tick()
        bench.receive(*[client.listen() for client in clients])
    for client in clients:
        assert client.table == bench.engine.room_table("ROOM")
        assert len(client.messages) == len(client.signals) == 80
