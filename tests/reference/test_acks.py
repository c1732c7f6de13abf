"""The engine's receive windows and ack processing against the reference."""

import pytest

from protocol import codec
from protocol.constants import Kind
from protocol.drops import DropReason
from relay import acks, ingress
from relay.rooms import RoomOptions
from tests.reference.acks import Window
from tests.reference.rig import Rig, batch_of

OPTIONS = RoomOptions(max_players=4, entities_per_player=1, max_state_bytes=8)


def bare_data(session: int, seq: int) -> bytes:
    fields = {"kind": Kind.DATA, "shard": 0, "seq": seq & 0xFFFF, "session": session, "ack": 0, "ack_bits": 0}
    fields |= {"ack_delay": 0, "flags": 1, "log_cursor": 0, "reserved": 0}
    return codec.encode(Kind.DATA, header=fields, sections=[])


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
        hot, _ = ingress.split_kinds(batch, rig.stats)
        received, _ = ingress.find_sessions(ingress.read_headers(batch, hot, rig.stats), rig.sessions, rig.stats)
        accepted, _ = acks.accept(ingress.check_window(received, rig.sessions, rig.stats), rig.sessions, rig.stats, 1.0)
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
    """Order datagrams as the engine takes those of one batch: a session's newest first, so that it decides what is old."""
    return sorted(offered, key=lambda pair: -pair[1])
