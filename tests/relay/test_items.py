"""Due items: built by column, selected, and put into the order in which a session gets them."""

import numpy as np

from relay.columns import Ints
from relay.items import Items, Order, merged


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def items(order: Order, *sessions: int, mark: int = 0) -> Items:
    """Build items whose `index` tells them apart: mark, mark + 1, ..."""
    session = ints(*sessions)
    index = mark + np.arange(len(session))
    return Items.build(session, order, index.astype(np.uint64), index * 0 + 9, index=index)


def test_columns_that_are_not_given_are_zero_and_false() -> None:
    built = Items.build(ints(4, 4), Order.PAGE, np.array([1, 2], np.uint64), ints(5, 6), last=ints(7, 8))
    assert built.order.tolist() == [Order.PAGE, Order.PAGE]
    assert built.last.tolist() == [7, 8] and built.length.tolist() == [5, 6]
    for column in (built.first, built.after, built.index, built.linked, built.apart):
        assert len(column) == 2 and not column.any()


def test_items_are_selected_by_position_and_by_mask_in_every_column() -> None:
    some = items(Order.ENTRY, 1, 2, 3, mark=10)
    by_position = some.take(ints(2, 0))
    by_mask = some.take(np.array([True, False, True]))
    assert by_position.session.tolist() == [3, 1] and by_position.index.tolist() == [12, 10]
    assert by_mask.session.tolist() == [1, 3] and by_mask.pointer.tolist() == [10, 12]
    assert len(by_mask) == 2 and len(some.take(np.zeros(3, np.bool_))) == 0


def test_sources_are_merged_by_session_then_by_order_and_keep_their_places_within_both() -> None:
    pages = items(Order.PAGE, 5, 5, 2, mark=100)
    signals = items(Order.SIGNAL, 5, 7, mark=200)
    entries = items(Order.ENTRY, 2, 5, 5, mark=300)
    fragments = items(Order.FRAGMENT, 5, mark=400)
    both = merged([pages, signals, entries, fragments])
    assert both.session.tolist() == [2, 2, 5, 5, 5, 5, 5, 5, 7]
    assert both.index.tolist() == [300, 102, 301, 302, 200, 400, 100, 101, 201]


def test_of_one_order_from_two_sources_the_first_source_goes_first() -> None:
    both = merged([items(Order.ENTRY, 1, 2, mark=10), items(Order.ENTRY, 1, 2, mark=20)])
    assert both.index.tolist() == [10, 20, 11, 21]


def test_many_items_of_one_session_keep_their_places() -> None:
    pages = items(Order.PAGE, *[3] * 200, *[4] * 200, mark=1000)
    entries = items(Order.ENTRY, *[3] * 200, *[4] * 200)
    both = merged([pages, entries])
    expected = [*range(200), *range(1000, 1200), *range(200, 400), *range(1200, 1400)]
    assert both.index.tolist() == expected


def test_sources_without_items_do_not_matter() -> None:
    one = items(Order.SIGNAL, 3, mark=1)
    assert merged([Items.empty(), one, Items.empty()]).index.tolist() == [1]
    assert len(merged([])) == len(merged([Items.empty()])) == 0
    assert merged([Items.empty()]).pointer.dtype == np.uint64


def test_what_somebody_waits_for_goes_before_bulk() -> None:
    assert sorted(Order) == [Order.ENTRY, Order.SIGNAL, Order.FRAGMENT, Order.PAGE]
