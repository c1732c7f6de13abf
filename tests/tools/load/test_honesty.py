"""The load generator tells the truth: what is planted between it and a real relay is found, and nothing else is.

Its players reach the relay through a proxy in the same process. The proxy loses, doubles and reorders datagrams, which
must never fail a run; and it forges them, which always must.
"""

import io
import signal
import socket
import time
from typing import Any

import pytest

from protocol.constants import DataSection
from tests.loopback.relays import player
from tests.tools.lag.peers import closed_port
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
from tests.tools.load.stage import Stage, be_impatient, during_load, end_load_when, small_plan
from tools.lag.conditions import Conditions, Path, parse_conditions
from tools.load import joining as joining_module
from tools.load import run as run_module
from tools.load.audience import Aim
from tools.load.command import Loader
from tools.load.plan import Movement

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
def test_one_percent_of_loss_in_one_direction_is_reported_there_and_nowhere_else(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Chance is drawn per datagram of a direction, so the seed fixes how many of the first N are lost: with this one 1.0
    # +- 0.13 % of any 3,500 to 11,000 from the first 600 on, both ways.
    lossy = Conditions(loss_percent=1.0)
    path = Path(up=lossy) if way == "up" else Path(down=lossy)
    with Stage(path, seed=188, tick_rate=240) as stage:
        end_load_when(monkeypatch, lambda: stage.proxy.counters[f"{way}_received"] > 4500)
        figures = stage.play(rate=240.0, duration_s=60.0, messages=2.0, signals=2.0)
        counters = getattr(stage.proxy, way)
        received = stage.proxy.counters[f"{way}_received"]
    other = "down" if way == "up" else "up"
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
def test_a_planted_fault_fails_the_run_with_its_counter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, wanted = FAULTS[name]
    fault: Fault = make()  # type: ignore[operator]
    # of what only one player hears nobody else knows the place
    aim = Aim.ALL if make is SwapMessages else Aim.MIXED
    messages = 60.0 if make is SwapMessages else 15.0  # so many that a datagram often carries two
    end_load_when(monkeypatch, lambda: fault.num_done > 0, after_s=0.4)
    with Stage(tamper=fault, tick_rate=30) as stage:
        figures = stage.play(rooms=1, duration_s=20.0, messages=messages, signals=15.0, aim=aim)
    assert fault.num_done > 0, "the fault was never planted"
    assert wanted <= blamed(figures), figures["failures"]
    assert not figures["passed"] and figures["failures"]
    # what was forged of messages must not be taken for a fault of states or signals, nor the other way round
    assert {one.partition(".")[0] for one in blamed(figures)} <= {one.partition(".")[0] for one in wanted} | {
        "converged"
    }


# --- what is nobody's fault, and whose fault it is


def test_ticks_that_the_relay_leaves_out_are_counted_as_not_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage() as stage:
        during_load(monkeypatch, 0.3, lambda: stage.loop.call_soon_threadsafe(time.sleep, 0.15))
        figures = stage.play(rate=120.0)
        overruns = stage.server.tick_overruns
    assert overruns >= 6
    # ticks right after the pause may find nothing yet: here the proxy slept with the relay
    assert 4 <= figures["tick_overruns"] <= 2 * overruns
    assert figures["delivered_share"] < 1 - 4 / figures["ticks"]
    assert figures["passed"], figures["failures"]


def test_a_generator_that_stands_still_does_not_blame_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage() as stage:
        during_load(monkeypatch, 0.3, lambda: time.sleep(0.15))
        figures = stage.play(rate=120.0)
        overruns = stage.server.tick_overruns
    assert figures["tick_overruns"] <= overruns + 1
    assert any("left out, because this process was late" in text for text in figures["load"]["bottlenecks"])
    assert figures["passed"], figures["failures"]


@pytest.mark.parametrize(
    ("plan", "conditions", "least"),
    [
        # A room of one at a third of the tick rate: most ticks have no news, and are not left out for that.
        ({"rooms": 1, "players": 1, "rate": 10.0}, "none", 0.99),
        # Nothing moves: a datagram that got lost had no state in it.
        ({"movement": Movement.STILL, "messages": 20.0}, "down.loss=5", None),
        ({"movement": Movement.WALK, "rate": 10.0}, "down.loss=5", 0.85),
    ],
    ids=["a room of one", "nothing moves", "some walk"],
)
def test_ticks_without_news_count_neither_way(plan: dict[str, Any], conditions: str, least: float | None) -> None:
    with Stage(parse_conditions(conditions), tick_rate=30) as stage:
        figures = stage.play(duration_s=1.5, **plan)
    assert figures["tick_overruns"] == 0
    assert figures["delivered_share"] == (None if least is None else pytest.approx(1.0, abs=1 - least))


# --- how a run ends


def test_a_relay_that_dies_ends_the_run_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage(timeout_s=2.0) as stage:
        during_load(monkeypatch, 0.2, lambda: stage.wait_for(stage.proxy.close()))
        began = time.monotonic()
        figures = stage.play(duration_s=60.0)
    assert time.monotonic() - began < 10.0
    assert figures["failures"] == ["8 sessions ended that should have lasted: the relay fell silent"]
    assert not figures["passed"] and figures["players"]["ended_by_relay"] == 8


def test_a_relay_that_is_shut_down_ends_the_run_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage() as stage:
        during_load(monkeypatch, 0.2, stage.stop_relay)
        figures = stage.play(duration_s=60.0)
    assert figures["failures"][-1] == "8 sessions ended that should have lasted: SHUTDOWN" and not figures["passed"]


def test_ctrl_c_gives_the_report_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage() as stage:
        during_load(monkeypatch, 0.4, lambda: signal.raise_signal(signal.SIGINT))
        loader = stage.loader()
        before = signal.getsignal(signal.SIGINT)
        figures, _ = loader.load(small_plan(duration_s=60.0))
        assert signal.getsignal(signal.SIGINT) is before
    assert loader.was_stopped
    assert 0.3 < figures["seconds"] < 5.0 and figures["messages"]["received"] > 0
    assert figures["failures"] == [] and figures["passed"]


def test_ctrl_c_before_anything_was_measured_passes_nothing_and_lets_go_of_the_seats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = run_module.Run.step

    def stepped(run: run_module.Run) -> None:
        step(run)
        if run.living() == 8 and run.phase is run_module.Phase.WARM_UP:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run_module.Run, "step", stepped)
    with Stage(max_players=8) as stage:
        figures = stage.play(warm_up_s=60.0)
        assert figures["failures"] == ["it was ended before anything was measured"] and not figures["passed"]
        monkeypatch.setattr(run_module.Run, "step", step)
        assert stage.play()["passed"], "the seats of the first run are not free"


def test_a_full_server_is_named_and_those_who_are_in_play(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "RAMP_UP_PATIENCE_S", 0.3)
    with Stage(max_players=4) as stage:
        figures = stage.play()
    assert figures["players"]["connected"] == 4 and figures["messages"]["received"] > 0
    assert len(figures["failures"]) == 1
    assert figures["failures"][0].startswith("4 of 8 players could not join: The server is full. Try again later. (")


def test_a_full_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "DEADLINE_S", 0.3)
    monkeypatch.setattr(run_module, "AGAIN_S", 0.1)
    with Stage() as stage:
        guest = player(stage.server, "guest", code="LOAD-0", max_players=1)
        stage.wait_for(guest.connect())
        figures = stage.play(rooms=1)
        stage.wait_for(guest.close())
    assert len(figures["failures"]) == 1
    assert figures["failures"][0].startswith("nobody could join: This room is full. (")


def test_an_absent_relay_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining_module, "DEADLINE_S", 0.3)
    monkeypatch.setattr(run_module, "DEADLINE_S", 0.3)
    monkeypatch.setattr(run_module, "AGAIN_S", 0.1)
    loader = Loader(socket.AF_INET, ("127.0.0.1", closed_port()), None, io.StringIO())
    figures, series = loader.load(small_plan())
    assert series == [] and not figures["passed"] and len(figures["failures"]) == 1
    assert figures["failures"][0].startswith("nobody could join: no answer within 15 s (")
    assert "nobody listens there" in figures["failures"][0]
