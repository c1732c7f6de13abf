"""Tables of numpy columns that grow together, and slabs of consecutive rows in them.

Everything the relay remembers per session, room, entity, page or log entry is a column across all rooms, so that one
numpy call of a stage serves the whole server.
"""

from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
"""Rows, indexes, counts and extended sequence numbers: int64 everywhere, so that no stage mixes widths."""
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Kind = TypeVar("Kind", bound=np.generic)


class Columns:
    """A struct of arrays. Subclasses list their columns; every column has the same number of rows.

    Growing replaces the arrays: a stage reads a column from the table each time and keeps no reference to it.
    """

    COLUMNS: ClassVar[dict[str, tuple[str, tuple[int, ...]]]]
    """Column name -> (dtype, shape of one row)."""
    num_grown: ClassVar[int] = 0
    """How often any table of this process grew: who keeps columns sees by one number that none was replaced."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        for name, (dtype, shape) in self.COLUMNS.items():
            setattr(self, name, np.zeros((rows, *shape), dtype))

    def grow_to(self, rows: int) -> None:
        """Make room for `rows` rows, at least doubling. New rows are zero."""
        if rows <= self.rows:
            return
        rows = max(rows, 2 * self.rows)
        for name in self.COLUMNS:
            old = getattr(self, name)
            new = np.zeros((rows, *old.shape[1:]), old.dtype)
            new[: self.rows] = old
            setattr(self, name, new)
        self.rows = rows
        Columns.num_grown += 1

    @classmethod
    def row_bytes(cls) -> int:
        """Return the memory that one row takes in all columns together."""
        return sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in cls.COLUMNS.values())

    def clear(self, first: int, count: int = 1) -> None:
        """Set `count` rows to zero in every column."""
        for name in self.COLUMNS:
            getattr(self, name)[first : first + count] = 0


class RowPool:
    """Single rows of a table, given out lowest first and used again after they were returned."""

    def __init__(self, table: Columns) -> None:
        self._table = table
        self._free: list[int] = []
        self._used = 0

    def take(self) -> int:
        """Give out one row, zeroed."""
        if self._free:
            row = self._free.pop()
        else:
            row = self._used
            self._used += 1
            self._table.grow_to(self._used)
        self._table.clear(row)
        return row

    def give(self, row: int) -> None:
        """Take a row back."""
        self._free.append(row)

    @property
    def used(self) -> int:
        """Rows ever given out: every live row is below it."""
        return self._used


class Slabs:
    """Runs of consecutive rows of a table, so that "all rows of a room" is an arange and never a sort.

    A buddy allocator: a slab has a power of two of rows and begins at a multiple of its size. Returned neighbours join
    again, so the rows of many small rooms can become those of a large one: nobody can use a table up by opening and
    closing rooms of odd sizes.
    """

    def __init__(self, table: Columns) -> None:
        self._table = table
        self._free: dict[int, dict[int, None]] = {}
        """Size -> first rows of free slabs; dicts as sets, for their order does not depend on hashes."""
        self._end = 0
        """All rows from here on are free."""

    @staticmethod
    def size_of(count: int) -> int:
        """Return the rows a slab for `count` really takes."""
        return 1 << max(0, count - 1).bit_length()

    def take(self, count: int) -> int:
        """Give out `count` consecutive rows, zeroed. Returns the first."""
        size = self.size_of(count)
        found = self._smallest_free(size)
        if found is None:
            first = self._extend(size)
        else:
            first, _ = self._free[found].popitem()
            while found > size:
                found //= 2
                self._free.setdefault(found, {})[first + found] = None
        self._table.grow_to(self._end)
        self._table.clear(first, size)
        return first

    def give(self, first: int, count: int) -> None:
        """Take back what `take(count)` returned."""
        size = self.size_of(count)
        while (first ^ size) in self._free.get(size, {}):
            del self._free[size][first ^ size]
            first &= ~size
            size *= 2
        self._free.setdefault(size, {})[first] = None
        self._shrink()

    def would_reach(self, count: int) -> int:
        """Return the rows the table would need if `take(count)` came now: for caps on memory."""
        size = self.size_of(count)
        return self._end if self._smallest_free(size) is not None else self._aligned_end(size) + size

    def _smallest_free(self, size: int) -> int | None:
        """Return the size of the smallest free slab that holds `size` rows."""
        return min((free for free, slabs in self._free.items() if slabs and free >= size), default=None)

    def _aligned_end(self, size: int) -> int:
        return -(-self._end // size) * size

    def _extend(self, size: int) -> int:
        """Take rows behind all others; what lies between for the sake of alignment becomes free slabs."""
        first = self._aligned_end(size)
        while self._end < first:
            between = self._end & -self._end
            self._free.setdefault(between, {})[self._end] = None
            self._end += between
        self._end = first + size
        return first

    def _shrink(self) -> None:
        """Let go of free slabs at the end."""
        while last := next((size for size, slabs in self._free.items() if self._end - size in slabs), 0):
            self._end -= last
            del self._free[last][self._end]


def expand(counts: Ints) -> tuple[Ints, Ints]:
    """Expand counts into the pairs (which, how many-th): [2, 0, 1] gives [0, 0, 2] and [0, 1, 0].

    The vectorised form of two nested loops. Shapes: counts (n,), both results (sum(counts),).
    """
    which = np.arange(len(counts)).repeat(counts)
    starts = counts.cumsum() - counts
    return which, np.arange(len(which)) - starts[which]


def before(values: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """Shift by one: each element becomes the one before it; the first wraps round and means nothing."""
    shifted = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[:1] = values[-1:]
    return shifted


def behind(values: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """Shift by one: each element becomes the one behind it; the last wraps round and means nothing."""
    shifted = np.empty_like(values)
    shifted[:-1] = values[1:]
    shifted[-1:] = values[:1]
    return shifted


def places(mask: Bools) -> Ints:
    """List where a mask is set, ascending: what `np.flatnonzero` does in a third of its time for small masks."""
    return mask.nonzero()[0]


def grouped(keys: Ints) -> tuple[Ints, Ints]:
    """Group equal keys, ascending.

    Returns: the group of each key, (n,); and the first place of each group's key, (g,).
    """
    order = keys.argsort(kind="stable")
    starts = run_starts(keys[order])
    group = np.empty(len(keys), np.int64)
    group[order] = starts.cumsum() - 1
    return group, order[starts]


def rank_in_run(keys: Ints) -> Ints:
    """Number the elements of each run of equal keys from 0: [5, 5, 7, 5] gives [0, 1, 0, 0]."""
    positions = np.arange(len(keys))
    if not len(keys):
        return positions
    return positions - np.maximum.accumulate(np.where(run_starts(keys), positions, 0))


def run_starts(keys: Ints) -> Bools:
    """Mark the first element of each run of equal keys."""
    starts = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=starts[1:])
    return starts


def run_ends(keys: Ints) -> Bools:
    """Mark the last element of each run of equal keys."""
    ends = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=ends[:-1])
    return ends


def windows(buffer: Bytes, dtype: npt.DTypeLike) -> npt.NDArray[np.void]:
    """View bytes as overlapping items, one starting at every byte: `windows(b, "V24")[offsets]` gathers 24-byte states.

    One memory move per item instead of one per byte. The view writes through to `buffer`, whose base address must not
    change while the view lives. Numbers keep their machine's order, which is little-endian like the wire everywhere
    the relay runs (checked at import).
    """
    item = np.dtype(dtype)
    count = max(0, len(buffer) - item.itemsize + 1)
    return np.ndarray((count,), item, buffer, 0, (1,))


def copy_runs(target: Bytes, target_at: Ints, source: Bytes, source_at: Ints, lengths: Ints) -> None:
    """Copy runs of bytes of any length: target[target_at[i]:][:lengths[i]] = source[source_at[i]:][:lengths[i]]."""
    which, offset = expand(lengths)
    target[target_at[which] + offset] = source[source_at[which] + offset]
