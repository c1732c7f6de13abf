"""The engine's receive windows and ack processing against the reference."""

import numpy as np
import pytest

from protocol import codec
from protocol.constants import Kind
from protocol.drops import DropReason
from relay import acks, egress, ingress
from relay.batch import Batch
from relay.ingress import Received
from relay.items import Items, Order
from relay.rooms import RoomOptions
from tests.reference.acks import Flight, Window
from tests.reference.rig import Rig, batch_of

OPTIONS = RoomOptions(max_players=4, entities_per_player=1, max_state_bytes=8)


def bare_data(session: int, seq: int, **header: int) -> bytes:
    fields = {"kind": Kind.DATA, "shard": 0, "seq": seq & 0xFFFF, "session": session, "ack": 0, "ack_bits": 0}
    fields |= {"ack_delay": 0, "flags": 1, "log_cursor": 0, "reserved": 0}
    return codec.encode(Kind.DATA, header=fields | header, sections=[])


def received_of(rig: Rig, batch: Batch) -> Received:
    """Take a batch through the stages up to the window."""
    hot, _ = ingress.split_kinds(batch, rig.stats)
    received, _ = ingress.find_sessions(ingress.read_headers(batch, hot, rig.stats), rig.sessions, rig.stats)
    return ingress.check_window(received, rig.sessions, rig.stats)


@pytest.mark.parametrize("seed", range(6))
def test_the_windows_accept_what_the_reference_accepts(seed: int) -> None:
    rig = Rig(seed, [OPTIONS], players=3)
    rows, rng = rig.rows[0], rig.rng
    windows = {row: Window() for row in rows}
    sent = dict.fromkeys(rows, 0)
    outcomes = {"new": 0, "duplicate": 0, "too old": 0}
    for _ in range(300):
        offered = []
        for _ in range(rng.randint(1, 12)):
            row = rng.choice(rows)
            sent[row] += rng.choice((1, 1, 1, 2, 5, 30, 70) if rng.random() < 0.6 else (0,))
            offered.append((row, max(1, sent[row] - rng.choice((0, 0, 0, 1, 3, 40, 62, 63, 64, 65, 100)))))
        batch = batch_of([bare_data(rig.session_id(row), seq) for row, seq in offered])
        accepted, _ = acks.accept(received_of(rig, batch), rig.sessions, rig.stats, 1.0)
        taken = []
        for row, seq in in_the_order_of_a_batch(offered):
            outcome = windows[row].take(seq & 0xFFFF)
            outcomes[outcome] += 1
            taken += [(row, seq)] if outcome == "new" else []
        assert sorted(zip(accepted.session.tolist(), accepted.seq.tolist(), strict=True)) == sorted(taken)
        for row, window in windows.items():
            assert rig.sessions.table.recv_newest[row] == window.newest
            assert rig.sessions.table.recv_mask[row] == window.mask()
    # which of the two reasons a copy has that became old within its batch is nowhere said
    dropped = rig.stats.dropped[DropReason.DUPLICATE] + rig.stats.dropped[DropReason.TOO_OLD]
    assert dropped == outcomes["duplicate"] + outcomes["too old"]
    assert outcomes["duplicate"] > 0 < outcomes["too old"]


def in_the_order_of_a_batch(offered: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Order datagrams as the engine takes those of one batch: a session's newest first, which decides what is old."""
    return sorted(offered, key=lambda pair: -pair[1])


PAGED = RoomOptions(max_players=4, entities_per_player=100, max_state_bytes=255)
"""800 ids on 200 pages, more than one datagram's mask has bits for."""
SOME_PAGES = (0, 1, 2, 40, 63, 64, 65, 127, 128, 190, 198, 199)


def send_pages(rig: Rig, flights: dict[int, Flight], tick: int) -> None:
    """Let the engine send every session a datagram or two with a few pages, or none; note the same plainly."""
    rng, table = rig.rng, rig.sessions.table
    session, page = [], []
    for row in flights:
        pages = sorted(rng.sample(SOME_PAGES, rng.choice((0, 1, 3))))
        session += [row] * len(pages)
        page += pages
    count = len(session)
    bodies = np.zeros(700, np.uint8)  # so large that one datagram holds one page
    block = np.array(page, np.int64) // 64
    apart = np.zeros(count, np.bool_)
    apart[1:] = block[1:] != block[:-1]
    items = Items.build(
        np.array(session, np.int64),
        Order.PAGE,
        np.full(count, bodies.ctypes.data, np.uint64),
        np.full(count, rng.choice((20, 700)), np.int64),
        apart=apart,
        last=np.array(page, np.int64),
    )
    rows = np.array(list(flights), np.int64)
    chosen = egress.cut(items, rows, np.full(table.rows, 3))
    egress.build_datagrams(chosen, rig.sessions, rig.rooms, tick, tick / 30, [bodies])
    for n, row in enumerate(chosen.session.tolist()):
        flights[row].send(tick, chosen.items.last[chosen.datagram == n].tolist())


@pytest.mark.parametrize("seed", range(6))
def test_acks_move_the_pages_that_the_reference_moves(seed: int) -> None:
    rig = Rig(seed, [PAGED], players=3)
    rows, rng, table = rig.rows[0], rig.rng, rig.sessions.table
    flights = {row: Flight() for row in rows}
    acked = dict.fromkeys(rows, 0)
    for tick in range(1, 400):
        send_pages(rig, flights, tick)
        payloads = []
        for row in rows:
            if rng.random() < 0.5:
                continue
            acked[row] = min(flights[row].newest, max(acked[row], flights[row].newest - rng.choice((0, 1, 5, 40, 70))))
            if not acked[row]:
                continue
            bits = rng.getrandbits(32) & rng.getrandbits(32)
            fields = {"ack": acked[row] & 0xFFFF, "ack_bits": bits & (1 << acked[row] - 1) - 1, "flags": 0}
            payloads.append(bare_data(rig.session_id(row), tick, **fields))
            flights[row].on_ack(acked[row], fields["ack_bits"])
        received = received_of(rig, batch_of(payloads))
        accepted, newest = acks.accept(received, rig.sessions, rig.stats, tick / 30)
        acks.handle_acks(accepted, newest, rig.sessions, rig.entities, tick / 30)
        for row in rows:
            first = int(table.pages_first[row])
            got = rig.entities.seats.acked_tick[first : first + 200].tolist()
            assert got == [flights[row].page_ticks.get(page, 0) for page in range(200)]
    assert min(len(flight.page_ticks) for flight in flights.values()) == len(SOME_PAGES)
