"""The comparison can fail: what is wrong in one of the two engines is seen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from relay.loops import intake, packing, pages, sending
from tests.relay.loops.mixed import play
from tests.relay.loops.plain import plain_loops
from tests.relay.loops.twins import Difference, twin_bench

SETTINGS = {"datagrams_per_s": 60, "bytes_per_s": 30_000}
"""So that budgets run out now and then."""
SEEDS = (1, 2)


def test_the_loops_as_plain_python_are_the_same_too() -> None:
    """So a fault below is seen for what it does. And Python complains of an index beyond the end."""
    with plain_loops(), np.errstate(all="raise", under="ignore"):
        for seed in SEEDS:
            bench = twin_bench(**SETTINGS)
            play(bench, seed)
            assert bench.engine.num_calls > 50  # type: ignore[attr-defined]
            assert bench.counted("datagrams_out") > 50


FAULTS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "sequence numbers extended wrongly": ("intake", "extend", lambda right, low, near: right(low, near) + 65_536),
    "no order within a pass": ("intake", "_in_order", lambda right, row, seq, start, stop, dropped: stop),
    "a budget that never ends": ("intake", "_within_budgets", lambda right, s, x, row, start, stop, *rest: stop),
    "every ack possible": ("intake", "_is_ack_possible", lambda right, *args: True),
    "every state section good": ("intake", "_is_state_good", lambda right, *args: True),
    "every message section good": ("intake", "_is_message_good", lambda right, *args: True),
    "addresses never compared": ("intake", "_is_same_address", lambda right, *args: True),
    "messages overlooked": ("intake", "count_parts", lambda right, *args: None),
    "log bits overlooked": ("intake", "_settle_log", lambda right, *args: None),
    "round trips not measured": ("intake", "_measure", lambda right, *args: None),
    "a state not marked": ("intake", "_note_state", lambda right, *args: bool(right(*args)) and False),
    "a write of a stranger": ("intake", "_note_write", lambda right, r, e, room, id_, x, *rest: right(
        r, e, room, id_, e.owner[min(r.entities_first[room] + id_, len(e.owner) - 1)], *rest)),
    "one datagram more": ("sending", "_allowed", lambda right, *args: right(*args) + 1),
    "no bare acks": ("sending", "_needs_bare", lambda right, *args: False),
    "too little patience": ("pages", "_patience", lambda right, *args: 0),
    "bodies not shared": ("pages", "_find_body", lambda right, r, e, p, bodies, n, room, page, since: right(
        r, e, p, bodies, n, room, page, 0)),
    "ages of another tick": ("pages", "_encode", lambda right, b, of_stride, r, e, state_byte, ticks, target: right(
        b, of_stride, r, e, state_byte, ticks._replace(now=ticks.now + 1), target)),
    "datagrams not filled": ("packing", "_next_cut", lambda right, items, at, end: min(at + 1, end)),
    "more credit": ("packing", "creditable", lambda right, *args: right(*args) + 1),
    "what was sent not noted": ("packing", "_note_sent", lambda right, *args: None),
    "shifted too far": ("packing", "shifted_up", lambda right, mask, by: right(mask, by) << np.uint64(1)),
}  # fmt: skip
"""What is wrong -> (module, helper, what it does instead)."""


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_wrong_helper_is_seen(fault: tuple[str, str, Callable[..., Any]]) -> None:
    with pytest.raises(Difference), plain_loops(fault):
        for seed in SEEDS:
            play(twin_bench(**SETTINGS), seed)


def fewer(place: int) -> Callable[..., Any]:
    """One less of what `take_in` found."""

    def change(found: Any, *args: Any) -> None:
        found.counts[place] = max(0, found.counts[place] - 1)

    return change


def fewer_built(place: int) -> Callable[..., Any]:
    """One less of what `build` counted."""

    def change(target: Any, *args: Any) -> None:
        target.done[place] = max(0, target.done[place] - 1)

    return change


def fewer_dropped(
    found: Any, received: Any, count: int, tables: Any, per_s: Any, moment: Any, dropped: Any, box: Any
) -> None:
    dropped[:] = np.maximum(dropped - 1, 0)


RESULTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a drop not counted": (intake, "take_in", fewer_dropped),
    "a byte not counted": (intake, "take_in", fewer(intake.NUM_BYTES)),
    "a cold row lost": (intake, "take_in", fewer(intake.COLD)),
    "a roamed row lost": (intake, "take_in", fewer(intake.ROAMED)),
    "an accepted row lost": (intake, "take_in", fewer(intake.ACCEPTED)),
    "an unknown row lost": (intake, "take_in", fewer(intake.UNKNOWN)),
    "nobody silent": (sending, "find_overdue", lambda result, *args: (0, result[1])),
    "a bare ack lost": (sending, "plan", lambda result, *args: (max(0, result[0] - 1), result[1])),
    "nobody lags": (sending, "plan", lambda result, *args: (result[0], False)),
    "a due page lost": (pages, "due_pages", lambda result, *args: (max(0, result[0] - 1), *result[1:])),
    "a datagram lost": (packing, "build", fewer_built(0)),
    "a signal not counted": (packing, "build", fewer_built(3)),
    "a byte not sent": (packing, "build", fewer_built(4)),
}  # fmt: skip
"""What is wrong -> (module, compiled entry point, what becomes of its result)."""


@pytest.mark.parametrize("fault", RESULTS.values(), ids=list(RESULTS))
def test_a_wrong_result_of_compiled_code_is_seen(
    fault: tuple[Any, str, Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, change = fault
    right = getattr(module, name)
    with pytest.raises(Difference):
        bench = twin_bench(timeout_s=2.0, keepalive_s=0.5, **SETTINGS)
        stages = bench.engine.loops._stages  # type: ignore[attr-defined]

        def wrong(*args: Any) -> Any:
            result = right(*args)
            written = {intake: stages._intake._found, packing: stages._packing._arrays}
            return change(written[module] if result is None else result, *args)

        monkeypatch.setattr(module, name, wrong)
        for client in play(bench, 1)[1:]:
            bench.receive(client.data(session=client.welcome.session ^ 1 << 40))
            bench.flush()
        bench.wait(3.0)
