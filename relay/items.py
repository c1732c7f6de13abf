"""What is due to be sent, as columns: log entries, signals and pages, before they are cut into datagrams."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from relay.columns import Bools, Ints

PAGE_BLOCK = 64
"""Pages of one datagram are of one block of so many: one 64-bit mask then says which it carried."""


class Order(IntEnum):
    """Order of a session's items in its datagrams: what somebody waits for first, bulk later."""

    ENTRY = 0
    SIGNAL = 1
    FRAGMENT = 2
    PAGE = 3


@dataclass
class Items:
    """Due items. Axis: n items; of one session and order side by side, ascending in what they stand for."""

    session: Ints
    """Receivers' rows."""
    order: Ints
    pointer: npt.NDArray[np.uint64]
    """Address of the item's bytes; of an empty range 0."""
    length: Ints
    """Bytes of the item without a range header; of an empty range 0."""
    linked: Bools
    """A log entry that goes on in the range of the item before it, if both stand in one datagram."""
    apart: Bools
    """A page of another block than the page before it: it must begin a datagram."""
    first: Ints
    """Log: `first` of a range that begins here."""
    last: Ints
    """Log: `last` of a range that ends here; page: its number."""
    after: Ints
    """Log: `after` of a range that begins here."""
    index: Ints
    """Log: index of the entry; 0 for all other items, and for empty ranges."""

    @classmethod
    def build(
        cls,
        session: Ints,
        order: Order,
        pointer: npt.NDArray[np.uint64],
        length: Ints,
        **columns: Ints | Bools,
    ) -> "Items":
        """Build items of one order; columns not given are 0 or False."""
        n = len(session)
        values = {
            "session": session,
            "order": np.full(n, int(order)),
            "pointer": pointer,
            "length": length,
            "linked": np.zeros(n, np.bool_),
            "apart": np.zeros(n, np.bool_),
        }
        zero = np.zeros(n, np.int64)
        values |= {"first": zero, "last": zero, "after": zero, "index": zero}
        return cls(**(values | columns))

    @staticmethod
    def empty() -> "Items":
        """Return no items; always the same ones."""
        return _NO_ITEMS

    def __len__(self) -> int:
        """Return n."""
        return len(self.session)

    def columns(self) -> tuple[Any, ...]:
        """Return all columns in the order in which they stand above."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def are(self, order: Order) -> Bools:
        """Tell which items are of an order, (n,). A plain number: numpy takes five times as long for an IntEnum."""
        return self.order == int(order)

    def sorted(self) -> "Items":
        """Put items in order of session and order; within both they keep their places."""
        return self.take(np.argsort(self.session * len(Order) + self.order, kind="stable"))

    def take(self, which: Ints | Bools) -> "Items":
        """Select items by positions or mask."""
        return Items(*(column[which] for column in self.columns()))


_NOTHING: Ints = np.zeros(0, np.int64)
_NO_ITEMS = Items.build(_NOTHING, Order.ENTRY, _NOTHING.astype(np.uint64), _NOTHING)


def merged(parts: list[Items]) -> Items:
    """Put items of several sources in order of session and order; within both they keep their places.

    Args:
        parts: Each in that order already.
    """
    parts = [part for part in parts if len(part)]
    if not parts:
        return Items.empty()
    if len(parts) == 1:
        return parts[0]
    whole = Items(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Items)))
    return whole.sorted()
