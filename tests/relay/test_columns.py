"""Tables that grow, rows and slabs that are used again, and the vectorised loops that everything else is made of."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.columns import (
    Columns,
    Ints,
    RowPool,
    Slabs,
    copy_runs,
    expand,
    grouped,
    rank_in_run,
    run_ends,
    run_starts,
    windows,
)


class Pairs(Columns):
    """A table with a plain column, a wide one and a mask."""

    COLUMNS = {"number": ("i8", ()), "wide": ("u4", (3,)), "flag": ("?", ())}
    number: Ints
    wide: np.ndarray
    flag: np.ndarray


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def test_a_table_that_grows_at_least_doubles_keeps_its_rows_and_zeroes_the_new_ones() -> None:
    table = Pairs(4)
    table.number[:] = [1, 2, 3, 4]
    table.wide[:] = np.arange(12).reshape(4, 3)
    table.flag[:] = True
    table.grow_to(5)
    assert table.rows == len(table.number) == len(table.wide) == len(table.flag) == 8
    assert table.number.tolist() == [1, 2, 3, 4, 0, 0, 0, 0]
    assert table.wide.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]] + [[0, 0, 0]] * 4
    assert table.flag.tolist() == [True] * 4 + [False] * 4
    table.grow_to(100)
    assert table.rows == 100 and table.number[:4].tolist() == [1, 2, 3, 4]


def test_a_table_that_is_large_enough_stays_as_it_is() -> None:
    table = Pairs(4)
    number = table.number
    table.grow_to(4)
    table.grow_to(0)
    assert table.number is number and table.rows == 4


def test_clearing_rows_touches_no_others_in_any_column() -> None:
    table = Pairs(5)
    table.number[:], table.wide[:], table.flag[:] = 7, 7, True
    table.clear(1, 2)
    table.clear(4)
    assert table.number.tolist() == [7, 0, 0, 7, 0]
    assert table.wide[:, 2].tolist() == [7, 0, 0, 7, 0]
    assert table.flag.tolist() == [True, False, False, True, False]


def test_the_bytes_of_a_row_are_the_sum_of_its_columns() -> None:
    assert Pairs.row_bytes() == 8 + 3 * 4 + 1
    table = Pairs(10)
    assert 10 * Pairs.row_bytes() == table.number.nbytes + table.wide.nbytes + table.flag.nbytes


def test_rows_are_given_out_in_order_and_returned_ones_before_new_ones() -> None:
    table = Pairs(1)
    pool = RowPool(table)
    assert [pool.take() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert pool.used == 5 <= table.rows
    pool.give(3)
    pool.give(1)
    assert sorted(pool.take() for _ in range(2)) == [1, 3]
    assert pool.take() == 5 and pool.used == 6


def test_a_row_that_is_used_again_comes_zeroed() -> None:
    table = Pairs(2)
    pool = RowPool(table)
    row = pool.take()
    table.number[row], table.wide[row], table.flag[row] = 9, 9, True
    pool.give(row)
    assert pool.take() == row
    assert (table.number[row], table.wide[row].tolist(), table.flag[row]) == (0, [0, 0, 0], False)


def test_live_rows_keep_their_values_while_the_table_grows_under_them() -> None:
    table = Pairs(1)
    pool = RowPool(table)
    for number in range(1000):
        row = pool.take()
        table.number[row] = number
    assert table.number[:1000].tolist() == list(range(1000))


@pytest.mark.parametrize(
    ("count", "size"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048)]
)
def test_a_slab_has_the_next_power_of_two_of_rows(count: int, size: int) -> None:
    assert Slabs.size_of(count) == size


@pytest.mark.parametrize("seed", range(5))
def test_slabs_never_overlap_keep_their_values_and_come_zeroed(seed: int) -> None:
    rng = Random(seed)
    table = Pairs(1)
    slabs = Slabs(table)
    live: dict[int, int] = {}
    for _ in range(400):
        if live and rng.random() < 0.5:
            first = rng.choice(sorted(live))
            count = live.pop(first)
            assert table.number[first : first + count].tolist() == [first + 1] * count
            slabs.give(first, count)
        else:
            count = rng.randint(1, 40)
            foreseen = slabs.would_reach(count)
            first = slabs.take(count)
            assert first + count <= foreseen <= table.rows
            assert not table.number[first : first + count].any()
            table.number[first : first + count] = first + 1
            live[first] = count
    taken = sorted((first, first + count) for first, count in live.items())
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))


def test_a_slab_of_a_size_that_was_returned_costs_no_new_rows() -> None:
    table = Pairs(1)
    slabs = Slabs(table)
    first = slabs.take(5)
    assert slabs.would_reach(8) == 16
    slabs.give(first, 5)
    assert slabs.would_reach(8) == 8
    assert slabs.take(7) == first
    assert slabs.would_reach(8) == 16


def test_counts_expand_to_two_nested_loops() -> None:
    which, k = expand(ints(2, 0, 1))
    assert which.tolist() == [0, 0, 2] and k.tolist() == [0, 1, 0]


@given(st.lists(st.integers(0, 5), max_size=20))
def test_any_counts_expand_as_loops_do(counts: list[int]) -> None:
    which, k = expand(ints(*counts))
    expected = [(i, j) for i, count in enumerate(counts) for j in range(count)]
    assert list(zip(which.tolist(), k.tolist(), strict=True)) == expected


def test_an_element_is_ranked_within_its_run_and_not_among_all_equal_ones() -> None:
    assert rank_in_run(ints(5, 5, 7, 5)).tolist() == [0, 1, 0, 0]


@given(st.lists(st.integers(0, 2), max_size=30))
def test_runs_begin_end_and_count_as_a_walk_would_find(keys: list[int]) -> None:
    column = ints(*keys)
    starts, ranks = [], []
    for i, key in enumerate(keys):
        starts.append(i == 0 or keys[i - 1] != key)
        ranks.append(0 if starts[-1] else ranks[-1] + 1)
    assert run_starts(column).tolist() == starts
    assert run_ends(column).tolist() == starts[1:] + [True] * bool(keys)
    assert rank_in_run(column).tolist() == ranks


def test_items_are_gathered_from_any_byte_and_written_through() -> None:
    buffer = np.arange(10, dtype=np.uint8)
    words = windows(buffer, "<u2")
    assert len(words) == 9
    assert words[[0, 8, 3]].tolist() == [0x0100, 0x0908, 0x0403]
    words[[1, 5]] = [0xBBAA, 0xDDCC]
    assert buffer.tolist() == [0, 0xAA, 0xBB, 3, 4, 0xCC, 0xDD, 7, 8, 9]


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 0), (2, 1), (3, 2)])
def test_a_buffer_shorter_than_an_item_has_no_windows(size: int, count: int) -> None:
    assert len(windows(np.zeros(size, np.uint8), "<u2")) == count


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=12))
def test_runs_of_bytes_are_copied_as_slices_are(runs: list[tuple[int, int]]) -> None:
    source = np.arange(40, dtype=np.uint8)
    lengths = ints(*[length for _, length in runs])
    target_at = np.cumsum(lengths) - lengths + 2
    target = np.full(int(lengths.sum()) + 4, 255, np.uint8)
    copy_runs(target, target_at, source, ints(*[at for at, _ in runs]), lengths)
    copied = b"".join(bytes(range(at, at + length)) for at, length in runs)
    assert target.tobytes() == b"\xff\xff" + copied + b"\xff\xff"


@given(st.lists(st.integers(0, 5), max_size=30))
def test_equal_keys_are_one_group_and_groups_ascend(keys: list[int]) -> None:
    group, first = grouped(np.array(keys, np.int64))
    distinct = sorted(set(keys))
    assert [distinct[g] for g in group] == keys
    assert [int(f) for f in first] == [keys.index(key) for key in distinct]
