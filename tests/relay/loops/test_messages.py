"""Messages taken in, common passes by the loop and all others by the columns: the same as with columns alone."""

from typing import Any
from unittest.mock import patch

import pytest

pytest.importorskip("numba")

from protocol.constants import Target
from relay.log import SEGMENT_BYTES
from relay.loops import messages
from relay.loops.messages import UNCOMMON
from tests.relay.bench import Bench, Client
from tests.relay.loops.twins import twin_bench

OPEN = {"datagrams_per_s": 60_000, "bytes_per_s": 2**31, "messages_per_s": 60_000}


def game(num_players: int = 3, **settings: Any) -> tuple[Bench, list[Client]]:
    """Build a bench with players in one room."""
    bench = twin_bench(**(OPEN | settings))
    return bench, bench.join_all(num_players)


def is_common(bench: Bench, *datagrams: tuple[bytes, bytes]) -> bool:
    """Receive a batch. Returns: whether the loop took its messages."""
    found = []
    right = messages.accept

    def accept(*args: Any) -> int:
        found.append(right(*args))
        return int(found[-1])

    with patch.object(messages, "accept", accept):
        bench.receive(*datagrams)
    bench.flush()
    [written] = found
    return written != UNCOMMON


def test_whole_messages_in_order_are_common_whoever_they_are_for() -> None:
    bench, (a, b, c) = game()
    said = [
        c.data(c.message(b"all"), c.message(b"me", Target.ONE, (2,))),
        a.data(a.message(b"list", Target.LIST, (0, 1, 65_535)), a.signal(b"s"), a.message(b"")),
        b.data(b.message(bytes(1000), Target.ALL_BUT, (0,))),
    ]
    assert is_common(bench, *said)
    bench.receive(a.listen(), b.listen(), c.listen())
    assert [len(client.messages) for client in (a, b, c)] == [3, 4, 4]


def test_rooms_whose_members_do_not_join_side_by_side() -> None:
    bench = twin_bench()
    clients = [bench.join(code=f"ROOM{n % 3}") for n in range(9)]
    bench.tick()
    assert is_common(bench, *[client.data(client.message(b"%d" % n)) for n, client in enumerate(clients)])
    bench.tick()


def test_repeats_are_common_but_within_a_pass() -> None:
    """Of two that differ the columns take the one whose place in its datagram is lower: here the second."""
    bench, (a, *_) = game()
    assert is_common(bench, a.data(a.message(b"1"), a.message(b"2")))
    assert is_common(bench, a.data(a.message(b"2", message_id=2), a.message(b"3")))
    assert is_common(bench, a.data(a.message(b"3", message_id=3)))
    a.message_id = 4
    both = a.data(a.message(b"", message_id=3), a.message(b"4", message_id=4)), a.data(a.message(b"", message_id=4))
    assert not is_common(bench, *both)
    bench.tick()
    assert bench.engine.world.sessions.table.message_accepted[a.row] == 4


def test_gaps_and_what_fills_them_are_not() -> None:
    bench, (a, b, _) = game()
    assert not is_common(bench, a.data(a.message(b"2", message_id=2)), b.data(b.message(b"1")))
    assert not is_common(bench, a.data(a.message(b"1", message_id=1)))
    assert is_common(bench, a.data(a.message(b"3", message_id=3)))
    bench.tick()


def test_fragments_and_what_goes_on_behind_them_are_not() -> None:
    bench, (a, *_) = game()
    assert not is_common(bench, a.data(a.message(b"part", more=1)))
    assert not is_common(bench, a.data(a.message(b"last")))
    assert is_common(bench, a.data(a.message(b"whole")))
    bench.tick()


def test_beyond_credit_or_budget_they_are_not() -> None:
    bench, (a, *_) = game(messages_per_s=10)
    assert not is_common(bench, a.data(a.message(b"", message_id=60)))
    assert not is_common(bench, a.data(*[a.message(b"") for _ in range(11)]))
    assert bench.dropped() == {"MESSAGE_WINDOW": 1, "OVER_MESSAGE_RATE": 1}


def test_a_log_that_must_grow_and_the_end_of_a_segment_are_not() -> None:
    bench, clients = game(4)
    common = []
    for _ in range(SEGMENT_BYTES // 4 // 1011 + 20):
        common.append(is_common(bench, *[client.data(client.message(bytes(1000))) for client in clients]))
        bench.tick()
        bench.receive(*[client.listen() for client in clients])
    assert 0 < common.count(False) < 10
    assert len(bench.engine.world.log.arena.bytes) > SEGMENT_BYTES
