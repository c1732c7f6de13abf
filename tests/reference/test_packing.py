"""The engine's cut into datagrams against the reference."""

from random import Random

import numpy as np
import pytest

from relay import egress
from relay.items import Items, Order
from tests.reference.packing import RANGE_BYTES, SPACE_BYTES, Item, pack

LARGEST = {Order.ENTRY: SPACE_BYTES - RANGE_BYTES, Order.SIGNAL: 1037, Order.FRAGMENT: 1035, Order.PAGE: SPACE_BYTES}


def random_items(rng: Random) -> tuple[list[Item], Items]:
    """Make items of a few sessions, by session and order, plainly and as the engine's columns."""
    plain, orders = [], []
    for session in range(6):
        kinds = sorted(rng.choice(list(Order)) for _ in range(rng.choice((0, 1, 10, 40))))
        for n, order in enumerate(kinds):
            follows = n > 0 and kinds[n - 1] == order
            is_log = order in (Order.ENTRY, Order.FRAGMENT)
            length = rng.choice((0, 11, 40, 300, LARGEST[order])) if is_log else rng.choice((20, 300, LARGEST[order]))
            linked = is_log and follows and length > 0 and rng.random() < 0.6
            apart = order == Order.PAGE and follows and rng.random() < 0.1
            plain.append(Item(session, length, is_log, linked, apart))
            orders.append(order)
    columns = {
        "session": np.array([item.session for item in plain], np.int64),
        "pointer": np.zeros(len(plain), np.uint64),
        "length": np.array([item.length for item in plain], np.int64),
        "linked": np.array([item.linked for item in plain], np.bool_),
        "apart": np.array([item.apart for item in plain], np.bool_),
        "index": np.arange(len(plain)),
    }
    items = Items.build(columns["session"], Order.ENTRY, columns["pointer"], columns["length"])
    items.order, items.linked, items.apart = np.array(orders, np.int64), columns["linked"], columns["apart"]
    items.index = columns["index"]
    return plain, items


@pytest.mark.parametrize("seed", range(60))
def test_items_are_cut_into_the_datagrams_of_the_reference(seed: int) -> None:
    rng = Random(seed)
    plain, items = random_items(rng)
    allowed = {session: rng.choice((0, 1, 2, 9, 40)) for session in range(8)}
    bare = sorted(session for session in range(8) if allowed[session] and rng.random() < 0.5)
    chosen = egress.cut(items, np.array(bare, np.int64), np.array([allowed[session] for session in range(8)], np.int64))
    got: list[tuple[int, list[int]]] = [(int(session), []) for session in chosen.session]
    for datagram, index in zip(chosen.datagram, chosen.items.index, strict=True):
        got[datagram][1].append(int(index))
    assert got == pack(plain, bare, allowed)
