"""The session table: ids that cannot be guessed, and rows that are used again without a trace of who had them."""

from random import Random

import numpy as np
import pytest

from relay.addresses import pack_address
from relay.sessions import ROW_BITS, Sessions, SessionTable

HERE = pack_address("192.0.2.1", 1)


class Zeros:
    """A random source that gives nothing but zeros."""

    def getrandbits(self, k: int, /) -> int:
        """Return 0."""
        return 0


def open_sessions(count: int, seed: int = 1) -> tuple[Sessions, list[int]]:
    sessions = Sessions(Random(seed))
    return sessions, [sessions.open(HERE, f"name {n}", n, 0.0) for n in range(count)]


def test_an_id_is_its_row_and_random_bits_above() -> None:
    sessions, rows = open_sessions(3)
    session_ids = [int(sessions.table.id[row]) for row in rows]
    assert rows == [0, 1, 2]
    assert [session_id & ((1 << ROW_BITS) - 1) for session_id in session_ids] == rows
    assert len({session_id >> ROW_BITS for session_id in session_ids}) == 3
    assert max(session_ids) >> 54  # the random bits reach the top


def test_a_session_is_found_by_its_whole_id_only() -> None:
    sessions, rows = open_sessions(3)
    for row in rows:
        session_id = int(sessions.table.id[row])
        assert sessions.find(session_id) == row
        for bit in (0, 1, 19, 20, 43, 63):
            assert sessions.find(session_id ^ 1 << bit) is None
    assert sessions.find(0) is None
    assert sessions.find((1 << 64) - 1) is None


def test_an_id_of_a_free_row_or_of_one_beyond_the_table_is_nobodys() -> None:
    sessions, _ = open_sessions(3)
    asked = [0, 5, 1 << ROW_BITS | 5, 63, 64, (1 << ROW_BITS) - 1, (1 << 64) - 1]
    assert [sessions.find(session_id) for session_id in asked] == [None] * len(asked)
    rows, known = sessions.find_rows(np.array(asked, np.uint64))
    assert not known.any() and not rows.any()


def test_the_array_form_finds_what_the_single_one_finds() -> None:
    sessions, rows = open_sessions(100)
    for row in rows[::3]:
        sessions.close(row)
    rng = Random(5)
    asked = [int(sessions.table.id[rng.choice(rows)]) ^ rng.choice((0, 0, 1, 1 << 30)) for _ in range(300)]
    found, known = sessions.find_rows(np.array(asked, np.uint64))
    singly = [sessions.find(session_id) for session_id in asked]
    assert known.tolist() == [row is not None for row in singly]
    assert found.tolist() == [row or 0 for row in singly]


def test_no_ids_find_no_rows() -> None:
    sessions, _ = open_sessions(1)
    rows, known = sessions.find_rows(np.zeros(0, np.uint64))
    assert len(rows) == len(known) == 0


def test_a_random_source_of_zeros_still_names_a_session() -> None:
    sessions = Sessions(Zeros())
    row = sessions.open(HERE, "a", 1, 0.0)
    session_id = int(sessions.table.id[row])
    assert session_id != 0 and sessions.find(session_id) == row
    assert sessions.live.tolist() == [row]


def test_a_row_that_is_used_again_has_a_new_id_and_nothing_of_its_last_session() -> None:
    sessions, rows = open_sessions(3)
    old_id, old_secret = int(sessions.table.id[1]), sessions.secret[1]
    for name in SessionTable.COLUMNS:
        if name != "id":
            getattr(sessions.table, name)[1] = 7
    sessions.close(1)
    assert sessions.find(old_id) is None and len(sessions) == 2
    row = sessions.open(pack_address("192.0.2.9", 9), "new", 99, 12.5)
    assert row == 1
    fresh, [other] = open_sessions(1)
    fresh.table.heard_at[other] = fresh.table.sent_at[other] = fresh.table.log_marked_at[other] = 12.5
    fresh.table.acked_at[other] = fresh.table.recv_at[other] = 12.5
    for name in SessionTable.COLUMNS:
        if name not in ("id", "address"):
            assert np.array_equal(getattr(sessions.table, name)[1], getattr(fresh.table, name)[other]), name
    assert sessions.find(old_id) is None and int(sessions.table.id[1]) != old_id
    assert sessions.secret[1] != old_secret
    assert (sessions.name[1], sessions.nonce[1]) == ("new", 99)
    assert rows == [0, 1, 2]


def test_a_new_session_was_heard_now_owes_no_ack_and_may_be_challenged() -> None:
    sessions = Sessions(Random(1))
    row = sessions.open(HERE, "a", 1, 77.0)
    table = sessions.table
    assert (table.heard_at[row], table.sent_at[row]) == (77.0, 77.0)
    assert (table.log_marked_at[row], table.log_mark[row], table.acked_at[row]) == (77.0, 0, 77.0)
    assert table.ack_due_at[row] == np.inf and table.challenged_at[row] == -np.inf
    assert table.tick_interval[row] == 1
    assert table.address[row].tobytes() == HERE


@pytest.mark.parametrize("count", [64, 65, 129, 500])
def test_sessions_keep_their_columns_while_the_table_grows(count: int) -> None:
    sessions = Sessions(Random(1))
    expected = []
    for n in range(count):
        row = sessions.open(pack_address("192.0.2.1", n), f"n{n}", n, float(n))
        sessions.table.history_at[row] = n
        sessions.table.log_bits[row] = n
        expected.append(int(sessions.table.id[row]))
    assert len(sessions) == count and sessions.table.rows >= count
    assert [int(session_id) for session_id in sessions.table.id[sessions.live]] == expected
    assert (sessions.table.history_at[:count] == np.arange(count)[:, None]).all()
    assert (sessions.table.log_bits[:count] == np.arange(count)[:, None]).all()
    assert all(sessions.find(session_id) == row for row, session_id in enumerate(expected))


def test_live_rows_are_ascending_and_known_anew_after_every_change() -> None:
    sessions, _ = open_sessions(5)
    sessions.close(3)
    sessions.close(1)
    assert sessions.live.tolist() == [0, 2, 4]
    sessions.open(HERE, "back", 9, 0.0)
    assert len(sessions.live) == len(sessions) == 4
    assert sessions.live.tolist() == sorted(sessions.live.tolist())


def test_an_address_is_replaced_whole() -> None:
    sessions, _ = open_sessions(2)
    there = pack_address("fe80::1", 65535, 4)
    sessions.set_address(1, there)
    assert [address.tobytes() for address in sessions.table.address[:2]] == [HERE, there]


def test_secrets_are_16_bytes_and_differ() -> None:
    sessions, rows = open_sessions(50)
    assert {len(secret) for secret in sessions.secret.values()} == {16}
    assert len(set(sessions.secret.values())) == len(rows)
