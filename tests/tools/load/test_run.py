"""A run from its beginning to its end: who comes and goes, through what network, in what phases."""

import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from protocol import codec
from protocol.constants import ByeReason, Kind
from tests.tools.lag.peers import closed_port
from tests.tools.load.made import plan_of, update
from tests.tools.load.stage import Stage, be_impatient, small_plan
from tools.lag.conditions import PRESETS, parse_mix
from tools.load import run as module
from tools.load.plan import Movement, Plan
from tools.load.run import Phase, Run, spread_paths
from tools.load.wire import Wire

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)


# --- before a relay


@pytest.mark.parametrize(
    "plan",
    [
        {"moves": 6.0},
        {"leaves": 6.0},
        {"leaves": 6.0, "players": 1, "rooms": 8},
        {"crashes": 4.0, "leaves": 2.0, "moves": 2.0},
        {"crashes": 2.0, "leaves": 2.0, "moves": 2.0, "paths": tuple(parse_mix(["wifi", "latency=30,loss=3"]))},
    ],
    ids=["who moves", "who leaves", "who leaves an empty room", "who crashes too", "in bad weather"],
)
def test_players_who_come_and_go_fail_nothing(plan: dict[str, Any]) -> None:
    with Stage(timeout_s=2.0) as stage:
        figures = stage.play(duration_s=1.5, settle_s=6.0, **plan)
    assert figures["failures"] == [] and figures["passed"]
    players = figures["players"]
    for rate, count in (("leaves", "left"), ("crashes", "crashed"), ("moves", "moved")):
        assert players[count] == 0 or rate in plan
    assert players["left"] + players["crashed"] + players["moved"] > 0  # nine in the mean
    assert players["joined"] == 8 + players["left"] + players["crashed"]
    assert players["connected"] == 8 and players["ended_by_relay"] == 0


@pytest.mark.parametrize(
    "plan",
    [
        {"state_bytes": 0},
        {"messages": 0.0, "signals": 0.0},
        {"movement": Movement.STILL},
        {"per_socket": 5, "rooms": 3},
        {"rooms": 1, "players": 1},
        {"state_bytes": 200, "players": 12, "message_bytes": 600, "signal_bytes": 500, "rooms": 1},
    ],
    ids=["no states", "states only", "nobody moves", "shared sockets", "one alone", "much in each"],
)
def test_every_sort_of_load_passes(plan: dict[str, Any]) -> None:
    with Stage() as stage:
        figures = stage.play(duration_s=0.4, **plan)
    assert figures["failures"] == [] and figures["passed"]


def test_the_simulated_network_is_measured_as_it_was_asked_for() -> None:
    with Stage() as stage:
        paths = tuple(parse_mix(["latency=30,up.loss=20"]))
        figures = stage.play(duration_s=1.5, rate=120.0, paths=paths, settle_s=5.0)
    assert figures["passed"], figures["failures"]
    assert figures["loss_percent"]["up"] == pytest.approx(20.0, abs=5.0) and figures["loss_percent"]["down"] == 0
    assert figures["state_age_ms"]["p50"] > 55.0
    assert figures["signal_latency_ms"]["p50"] > 55.0


# --- without one


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wire() -> Iterator[Wire]:
    opened = Wire(("127.0.0.1", closed_port()), socket.AF_INET, 4)
    yield opened
    opened.close()


def floor_run(wire: Wire, **plan: Any) -> tuple[Run, Clock]:
    """A run whose four players are in, and that nobody answers."""
    clock = Clock()
    settings = {"per_socket": 1, "warm_up_s": 1.0, "duration_s": 3.0, "settle_s": 2.0} | plan
    return Run(plan_of(**settings), wire, None, clock=clock), clock


def phases(run: Run, clock: Clock) -> list[tuple[Phase, float]]:
    """Run to the end. Returns: when each phase began."""
    found = [(run.phase, clock.now)]
    while run.phase is not Phase.OVER:
        clock.now += 0.05
        run.step()
        if run.phase is not found[-1][0]:
            found.append((run.phase, round(clock.now - 50.0, 2)))
        assert clock.now < 200.0
    return found


def test_a_run_has_its_phases_and_ends_by_itself(wire: Wire) -> None:
    run, clock = floor_run(wire, messages=0.0, signals=0.0)
    times = dict(phases(run, clock))
    assert list(times) == list(Phase)
    assert times[Phase.LOAD] - times[Phase.WARM_UP] == pytest.approx(1.0, abs=0.11)
    assert times[Phase.SETTLING] - times[Phase.LOAD] == pytest.approx(3.0, abs=0.11)
    # nobody's table was ever filled: it waits as long as it may
    assert times[Phase.OVER] - times[Phase.SETTLING] == pytest.approx(2.0 + run.plan.longest_delay_s, abs=0.11)
    assert run.unconverged is not None and len(run.unconverged) == 4


def test_a_run_can_be_stopped_in_every_phase(wire: Wire) -> None:
    for phase in (Phase.RAMP_UP, Phase.WARM_UP, Phase.LOAD, Phase.SETTLING):
        run, clock = floor_run(wire)
        while run.phase is not phase:
            clock.now += 0.05
            run.step()
        run.stop()
        assert run.phase is (Phase.SETTLING if phase is Phase.LOAD else Phase.OVER)
        if phase is Phase.LOAD:
            run.stop()
            assert run.phase is Phase.OVER and run.unconverged is not None


def test_passes_are_a_step_apart_and_a_late_one_does_not_wait(wire: Wire) -> None:
    run, clock = floor_run(wire)
    assert run.rest_s(clock.now) == pytest.approx(module.STEP_S)
    assert run.rest_s(clock.now - 1.0) == 0.0


def test_who_is_thrown_out_is_counted_with_the_reason(wire: Wire) -> None:
    run, _ = floor_run(wire)
    for session, reason in ((1, ByeReason.KICKED), (2, ByeReason.TOO_SLOW), (3, 77), (99, ByeReason.KICKED)):
        run._take_cold(codec.encode(Kind.BYE, shard=0, session=session, reason=reason, text=b""), 0, 50.0)
    run._take_cold(codec.encode(Kind.RESET, shard=0, session=4, reset_token=b"wrong".ljust(16)), 0, 50.0)
    run._take_cold(b"", 0, 50.0)
    run._take_cold(b"\xff\xff\xff", 0, 50.0)
    assert run.ends.by_relay == ["KICKED", "TOO_SLOW", "reason 77"] and run.living() == 1
    run._take_cold(codec.encode(Kind.RESET, shard=0, session=4, reset_token=bytes(16)), 0, 50.0)
    assert run.ends.by_relay[-1] == "RESET" and run.living() == 0


def test_a_run_without_players_ends_at_once(wire: Wire) -> None:
    run, clock = floor_run(wire, duration_s=1000.0)
    while run.phase is not Phase.LOAD:
        clock.now += 0.05
        run.step()
    for row in range(4):
        run._end(row, "KICKED")
    assert dict(phases(run, clock))[Phase.OVER] < 10.0


def test_every_datagram_takes_the_path_of_its_player(wire: Wire) -> None:
    run, _ = floor_run(wire, paths=tuple(parse_mix(["none"])))
    bye = codec.encode(Kind.BYE, shard=0, session=3, reason=ByeReason.KICKED, text=b"")
    challenge = codec.encode(Kind.PATH_CHALLENGE, shard=0, session=2, challenge=5)
    assert [run._player_of_cold(data[:16]) for data in (bye, challenge, bytes(16))] == [2, 1, 0]
    assert update(3, 1, 5)[0] == Kind.UPDATE


@pytest.mark.parametrize("num_players", [1, 10, 1000])
def test_shares_of_players_get_their_paths(num_players: int) -> None:
    plan = Plan(port=1, players=1, rooms=num_players, paths=tuple(parse_mix(["30%:wifi", "20%:mobile"])))
    paths = spread_paths(plan)
    assert len(paths) == num_players
    for name, share in (("wifi", 0.3), ("mobile", 0.2), ("none", 0.5)):
        assert sum(path == PRESETS[name] for path in paths) == pytest.approx(share * num_players, abs=1.5)


def test_paths_are_spread_over_the_rooms() -> None:
    paths = spread_paths(small_plan(rooms=20, players=10, paths=tuple(parse_mix(["50%:wifi"]))))
    shares = [np.mean([path == PRESETS["wifi"] for path in paths[room * 10 : room * 10 + 10]]) for room in range(20)]
    assert min(shares) >= 0.3 and max(shares) <= 0.7
    assert spread_paths(small_plan()) == []
