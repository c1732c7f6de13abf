"""The stages: a stopwatch that counts each once, around an engine that works as ever."""

import random
import time

import pytest

from relay import ingress
from relay.config import RelayConfig
from relay.engine import Engine
from tools.bench import stages
from tools.bench.stages import (
    STAGES,
    Stopwatch,
    kinds_of_stages,
    measure_stages,
    stages_text,
    timed_stages,
    wrapped_calls,
)

needs_linux = pytest.mark.skipif(stages.why_not() is not None, reason=str(stages.why_not()))


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_nested_stage_counts_only_once() -> None:
    watch = Stopwatch()
    inner = watch.wrap("parse", lambda: spin(0.02))

    def work() -> None:
        spin(0.01)
        inner()
        spin(0.01)

    began = time.perf_counter()
    with watch.on():
        watch.wrap("receive", work)()
        spin(0.01)
    elapsed = time.perf_counter() - began
    assert watch.seconds["parse"] >= 0.02
    assert watch.seconds["receive"] >= 0.02
    assert watch.seconds["other"] >= 0.01
    assert sum(watch.seconds.values()) == pytest.approx(elapsed, abs=0.002)


def test_what_a_wrapped_function_gives_and_raises_comes_through() -> None:
    watch = Stopwatch()
    assert watch.wrap("log", lambda a, b: a + b)(1, b=2) == 3
    with pytest.raises(ZeroDivisionError):
        watch.wrap("log", lambda: 1 / 0)()
    watch.wrap("parse", lambda: spin(0.01))()
    assert watch.seconds["parse"] >= 0.01 > watch.seconds["log"]


def test_after_measuring_nothing_is_wrapped_any_more() -> None:
    engine = Engine(RelayConfig(), bytes(32), random.Random(1))
    before = [getattr(place, name) for _, place, name in wrapped_calls(engine)]
    with timed_stages(engine, Stopwatch()):
        assert ingress.split_kinds not in before
        assert "apply_writes" in vars(engine.world.entities)
    assert [getattr(place, name) for _, place, name in wrapped_calls(engine)] == before
    assert "apply_writes" not in vars(engine.world.entities)


def test_every_stage_has_something_to_wrap() -> None:
    engine = Engine(RelayConfig(), bytes(32), random.Random(1))
    assert {stage for stage, _, _ in wrapped_calls(engine)} | {"receive", "send", "other"} == set(STAGES)


@needs_linux
@pytest.mark.parametrize("kind", kinds_of_stages())
def test_stages_are_measured_on_a_room_that_plays(kind: str) -> None:
    told: list[str] = []
    found = measure_stages(16, kind, told.append, ticks=10)
    assert list(found) == list(STAGES)
    in_one_loop = {"parse", "states"} if kind == "compiled" else set()
    assert {stage for stage, figure in found.items() if figure == 0} == in_one_loop
    assert told == [f"{kind} stages, 16 players: delivered share 1.0000"]


def test_without_numba_only_the_columns_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.stages.find_spec", lambda name: None)
    assert kinds_of_stages() == ["columns"]


def test_the_table_has_a_line_per_stage_and_a_sum() -> None:
    shown = stages_text("columns", {64: dict.fromkeys(STAGES, 1.0), 4000: dict.fromkeys(STAGES, 0.5)}).splitlines()
    assert shown[0].split() == ["us,", "columns", "stages", "64", "players", "4,000", "players"]
    assert [line.split()[0] for line in shown[1 : 1 + len(STAGES)]] == list(STAGES)
    assert shown[1 + len(STAGES)].split() == ["together", f"{len(STAGES):.2f}", f"{len(STAGES) / 2:.2f}"]
