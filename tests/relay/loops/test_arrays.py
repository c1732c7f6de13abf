"""Columns in boxes: the same box while tables stay, and a new one when one grows."""

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from relay.columns import Columns  # noqa: E402
from relay.loops.arrays import Arrays, Box  # noqa: E402


class Small(Columns):
    """A table of two columns."""

    COLUMNS = {"one": ("i8", ()), "two": ("u1", (3,))}


Both = namedtuple("Both", "one two")
Group = namedtuple("Group", "first only")


@numba.njit
def write(box: Any, row: int, value: int) -> int:
    """Write through a box, and tell how many rows there are."""
    tables = box.value
    tables.first.one[row] = value
    tables.only[row, 2] = value
    return len(tables.first.one)


@pytest.fixture
def tables() -> tuple[Small, Small, Arrays]:
    """Two tables of four rows and their columns in one box."""
    first, second = Small(4), Small(4)
    return first, second, Arrays(Group, (first, Both), (second, "two"))


def test_a_loop_writes_into_the_tables(tables: tuple[Small, Small, Arrays]) -> None:
    first, second, arrays = tables
    assert write(arrays.get(), 3, 7) == 4
    assert first.one.tolist() == [0, 0, 0, 7]  # type: ignore[attr-defined]
    assert second.two[3].tolist() == [0, 0, 7]  # type: ignore[attr-defined]


def test_the_box_is_made_once(tables: tuple[Small, Small, Arrays]) -> None:
    assert tables[2].get() is tables[2].get()


@pytest.mark.parametrize("which", [0, 1])
def test_the_box_is_replaced_when_a_table_grows(tables: tuple[Small, Small, Arrays], which: int) -> None:
    first, second, arrays = tables
    before = arrays.get()
    write(before, 0, 5)
    tables[which].grow_to(9)  # type: ignore[union-attr]
    after = arrays.get()
    assert after is not before
    assert write(after, 1, 6) == first.rows
    assert first.one[:2].tolist() == [5, 6]  # type: ignore[attr-defined]
    assert second.two[:2, 2].tolist() == [5, 6]  # type: ignore[attr-defined]
    assert arrays.get() is after


def test_an_old_box_holds_its_arrays_when_the_table_has_let_go_of_them(tables: tuple[Small, Small, Arrays]) -> None:
    first, second, arrays = tables
    old = arrays.get()
    for rows in (100, 10_000, 100_000):
        first.grow_to(rows)
        second.grow_to(rows)
        arrays.get()
    assert write(old, 2, 9) == 4
    assert not first.one.any()  # type: ignore[attr-defined]


def test_boxes_of_one_kind_are_of_one_type_whatever_their_size() -> None:
    before = len(write.signatures)
    for rows in (1, 2, 64, 100_000):
        table = Small(rows)
        write(Arrays(Group, (table, Both), (table, "two")).get(), 0, 1)
    assert len(write.signatures) <= max(before, 1)
    assert numba.typeof(Box(Both(np.zeros(1), np.zeros(2)))) == numba.typeof(Box(Both(np.zeros(5), np.zeros(6))))
