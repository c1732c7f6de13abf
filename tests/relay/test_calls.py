"""The work of a pass is done in columns: 1,000 sessions cost as many Python-level calls as 16."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from relay.batch import Batch
from tests.relay.bench import Bench, Client

FEW, MANY = 16, 1000
ROOM = 8
WARM_UP_TICKS = 12
MEASURED_TICKS = 8


def count_calls(work: Callable[..., Any], *args: Any) -> tuple[int, Any]:
    """Count the calls of Python and of C functions that happen in a call. Returns: the count, and what it returned."""
    calls = 0

    def profile(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        result = work(*args)
    finally:
        sys.setprofile(None)
    return calls, result


def seated(num_sessions: int) -> tuple[Bench, list[Client]]:
    """Fill rooms of eight."""
    bench = Bench(max_sessions_per_host=MANY)
    clients = []
    for n in range(num_sessions):
        clients.append(bench.join(code=f"R{n // ROOM}", max_players=ROOM))
        if n % 64 == 63:
            bench.tick()
    return bench, clients


def speak(client: Client, number: int, talking: bool) -> tuple[bytes, bytes]:
    """Build what a client sends in a tick: the newest acks, a state of 24 bytes; if talking a message and a signal."""
    sections = [client.state(number.to_bytes(24, "little"), sample_ms=33 * number)]
    if talking:
        sections += [client.message(b"m" * 20), client.signal(b"s" * 20)]
    return client.data(*client.log_bits(), *sections)


def calls_per_pass(num_sessions: int, talking: bool) -> dict[str, int]:
    """Play a while with everybody in step, and count.

    Returns: the fewest calls of a receive pass, of the flush behind it and of a tick. The fewest, for now and then a
    ring doubles or the log begins another segment: rare, but a call more.
    """
    bench, clients = seated(num_sessions)
    batch = Batch(num_sessions)
    counted: dict[str, list[int]] = {"receive": [], "flush": [], "tick": []}
    for number in range(1, WARM_UP_TICKS + MEASURED_TICKS + 1):
        for client in clients:
            client.hear()
            client.updates.clear()
        batch.clear()
        for client in clients:
            batch.append(*speak(client, number, talking))
        bench.now += 0.030
        calls, _ = count_calls(bench.engine.receive, batch, bench.now)
        counted["receive"].append(calls)
        calls, outgoing = count_calls(bench.engine.flush, bench.now)
        counted["flush"].append(calls)
        bench.keep(outgoing)
        bench.now += 1 / 30 - 0.030
        calls, outgoing = count_calls(bench.engine.tick, bench.now)
        counted["tick"].append(calls)
        assert bench.keep(outgoing) == num_sessions
    assert not bench.engine.stats.dropped
    for client in clients[:: num_sessions // 4]:
        client.hear()
        assert len(client.messages) == (ROOM * number if talking else 0)
        assert len({*bench.engine.room_table(f"R{0}").values()}) == 1
    return {name: min(calls[WARM_UP_TICKS:]) for name, calls in counted.items()}


@pytest.mark.parametrize("talking", [False, True])
def test_a_pass_costs_as_many_calls_for_1000_sessions_as_for_16(talking: bool) -> None:
    few, many = calls_per_pass(FEW, talking), calls_per_pass(MANY, talking)
    print(f"calls: {many}")
    assert few == many
    assert all(count > 0 for count in few.values())


def test_calls_are_counted() -> None:
    """The measure itself: a loop over the sessions would be seen."""
    assert count_calls(lambda: [len("x") for _ in range(100)])[0] >= 100
    few = count_calls(lambda: sorted([3, 1, 2]))[0]
    assert few < 10
