"""The load generator tells the truth: what is planted between it and a real relay is found, and nothing else is.

Its players reach the relay through a proxy in the same process. The proxy loses, doubles and reorders datagrams, which
must never fail a run; and it forges them, which always must.
"""

import os
import signal
import threading
import time
from typing import Any

import pytest

from protocol.constants import DataSection
from tests.tools.load.faults import (
    AimAtAll,
    ChangeMessage,
    ChangeSignal,
    ChangeState,
    DoubleSignal,
    Fault,
    HideState,
    MixPlayersUp,
    RelabelMessages,
    ReplaceMessage,
    ShowOldState,
    SwallowMessage,
    SwapMessages,
    flip_payload,
    relabel,
)
from tests.tools.load.stage import PATIENCE_S, Stage, be_impatient, small_plan
from tools.lag.conditions import Conditions, Path, parse_conditions
from tools.load import joining as joining_module
from tools.load import run as run_module
from tools.load.audience import Aim

pytestmark = pytest.mark.slow
Figures = dict[str, Any]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)


def blamed(figures: Figures) -> set[str]:
    """What the checks counted, as "messages.missing"; "converged" if the tables were not."""
    kinds = ("missing", "duplicated", "out_of_order", "misdelivered", "wrong")
    found = {
        f"{what}.{kind}" for what in ("messages", "states", "signals") for kind in kinds if figures[what].get(kind)
    }
    return found if figures["converged"] else found | {"converged"}


# --- what a network may do


def test_a_clean_relay_passes_and_everything_is_delivered() -> None:
    with Stage() as stage:
        figures = stage.play()
    assert figures["failures"] == [] and figures["passed"] and blamed(figures) == set()
    assert figures["messages"]["received"] > 100 and figures["signals"]["received"] > 100
    assert figures["signals"]["lost"] == 0
    assert figures["loss_percent"] == {"up": 0.0, "down": 0.0}
    assert figures["delivered_share"] > 0.9


@pytest.mark.parametrize("way", ["up", "down"])
def test_one_percent_of_loss_in_one_direction_is_reported_there_and_nowhere_else(way: str) -> None:
    # Chance is drawn per datagram of the direction, so the seed fixes how many of the first N are lost.
    lossy = Conditions(loss_percent=1.0)
    path = Path(up=lossy) if way == "up" else Path(down=lossy)
    with Stage(path, seed=5, tick_rate=240) as stage:
        figures = stage.play(rate=240.0, duration_s=4.0, messages=2.0, signals=2.0)
        counters = getattr(stage.proxy, way)
        received = stage.proxy.counters[f"{way}_received"]
    other = "down" if way == "up" else "up"
    assert received > 6000
    assert figures["loss_percent"][way] == pytest.approx(1.0, abs=0.2)
    assert figures["loss_percent"][way] == pytest.approx(100 * counters["lost"] / received, abs=0.1)
    assert figures["loss_percent"][other] == 0
    assert figures["passed"], figures["failures"]
    assert figures["messages"]["missing"] == 0
    if way == "down":
        assert figures["delivered_share"] < 0.999


@pytest.mark.parametrize(
    "conditions",
    ["duplicate=30", "reorder=30", "latency=15,jitter=10,loss=10,duplicate=10,reorder=10"],
)
def test_a_network_that_doubles_reorders_and_loses_datagrams_fails_nothing(conditions: str) -> None:
    with Stage(parse_conditions(conditions)) as stage:
        figures = stage.play(duration_s=1.2, settle_s=5.0)
        fates = stage.proxy.up + stage.proxy.down
    assert fates["duplicated"] + fates["reordered"] > 20
    assert figures["failures"] == [] and figures["passed"]


# --- what a relay may not do

FAULTS = {
    "a message swallowed for one": (lambda: SwallowMessage(for_all=False), {"messages.missing"}),
    "a message swallowed for all": (lambda: SwallowMessage(for_all=True), {"messages.missing"}),
    "a message doubled for one": (lambda: ReplaceMessage(for_all=False), {"messages.duplicated"}),
    "a message doubled for all": (lambda: ReplaceMessage(for_all=True), {"messages.duplicated"}),
    "two messages swapped for one": (SwapMessages, {"messages.out_of_order"}),
    "messages misdelivered": (lambda: AimAtAll(DataSection.MESSAGE), {"messages.misdelivered"}),
    "a message changed": (ChangeMessage, {"messages.wrong"}),
    "a message of another kind": (RelabelMessages, {"messages.wrong"}),
    "a state changed": (ChangeState, {"states.wrong"}),
    "an old state once": (lambda: ShowOldState(for_ever=False), {"states.wrong"}),
    "an old state for ever": (lambda: ShowOldState(for_ever=True), {"states.wrong", "converged"}),
    "a state of another player": (MixPlayersUp, {"states.wrong"}),
    "a state hidden": (HideState, {"converged"}),
    "a signal doubled in one datagram": (lambda: DoubleSignal(in_one=True), {"signals.duplicated"}),
    "a signal doubled in a later datagram": (lambda: DoubleSignal(in_one=False), {"signals.duplicated"}),
    "signals misdelivered": (lambda: AimAtAll(DataSection.SIGNAL), {"signals.misdelivered"}),
    "a signal changed": (lambda: ChangeSignal(flip_payload), {"signals.wrong"}),
    "a signal of another kind": (lambda: ChangeSignal(relabel), {"signals.wrong"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_fails_the_run_with_its_counter(name: str) -> None:
    make, wanted = FAULTS[name]
    fault: Fault = make()  # type: ignore[operator]
    with Stage(tamper=fault) as stage:
        figures = stage.play(settle_s=0.8)
    assert fault.num_done > 0, "the fault was never planted"
    assert wanted <= blamed(figures), figures["failures"]
    assert not figures["passed"] and figures["failures"]
    # what was forged of messages must not be taken for a fault of states or signals, nor the other way round
    assert {one.partition(".")[0] for one in blamed(figures)} <= {one.partition(".")[0] for one in wanted} | {"converged"}
