"""What a run says of itself, from counters made by hand."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools.lag.peers import closed_port
from tests.tools.load.made import plan_of
from tests.tools.load.samples import keys_of, sample_figures, sample_series
from tools.lag.conditions import parse_mix
from tools.load import summary as module
from tools.load.plan import Plan
from tools.load.relay_process import Usage
from tools.load.run import Moment, Phase, Run
from tools.load.summary import between, figures_of, series_item
from tools.load.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    opened = Wire(("127.0.0.1", closed_port()), socket.AF_INET, 1)
    yield opened
    opened.close()


def run_of(wire: Wire, plan: Plan | None = None) -> Run:
    """A run whose four players are in, without a relay."""
    return Run(plan or plan_of(), wire, None, clock=lambda: 100.0)


def moment(at: float, **changes: Any) -> Moment:
    zero = dict.fromkeys(Moment.__dataclass_fields__, 0)
    return Moment(**(zero | {"at": at, "relay": None} | changes))


def ended(run: Run) -> Run:
    run.begin, run.end, run.phase = moment(0.0), moment(10.0), Phase.OVER
    run.unconverged = run.crowd.people.living[:0] if run.crowd is not None else None
    return run


def failures(run: Run) -> list[str]:
    found: list[str] = figures_of(run, is_over=True)["failures"]
    return found


def test_a_run_without_a_fault_passes_once_it_is_over(wire: Wire) -> None:
    run = ended(run_of(wire))
    figures = figures_of(run, is_over=True)
    assert figures["failures"] == [] and figures["passed"] is True and figures["converged"] is True
    assert figures_of(run, is_over=False)["passed"] is False


def test_it_has_the_figures_of_every_view_and_is_json(wire: Wire) -> None:
    figures = figures_of(ended(run_of(wire)), is_over=True)
    wanted = {key for key in keys_of(sample_figures()) if not key.startswith(("settings.", "relay."))}
    assert wanted <= keys_of(figures)
    json.dumps(figures, allow_nan=False)


def test_before_anybody_is_in_it_has_little_to_say(wire: Wire) -> None:
    run = Run(plan_of(floor=False), wire, None, clock=lambda: 100.0)
    figures = figures_of(run, is_over=False)
    assert figures["players"]["wanted"] == 4 and figures["players"]["connected"] == 0
    assert figures["failures"] == [] and not figures["passed"] and figures["converged"] is None
    assert figures["load"] == {"cpu_percent": None, "bottlenecks": []}
    assert failures(run) == ["nobody could join"]


@pytest.mark.parametrize("kind", ["missing", "duplicated", "out_of_order", "misdelivered", "wrong"])
def test_one_bad_message_fails_a_run(wire: Wire, kind: str) -> None:
    run = ended(run_of(wire))
    run.checks.ledger.messages[kind] = 1
    assert failures(run) == [f"1 message {kind.replace('_', ' ')}"]
    run.checks.ledger.messages[kind] = 7
    figures = figures_of(run, is_over=True)
    assert figures["failures"] == [f"7 messages {kind.replace('_', ' ')}"] and not figures["passed"]
    assert figures["messages"][kind] == 7


@pytest.mark.parametrize("kind", ["duplicated", "misdelivered", "wrong"])
def test_one_bad_signal_fails_a_run(wire: Wire, kind: str) -> None:
    run = ended(run_of(wire))
    run.checks.ledger.signals[kind] = 2
    assert failures(run) == [f"2 signals {kind}"]


def test_other_faults_are_told_apart(wire: Wire) -> None:
    run = ended(run_of(wire))
    assert run.crowd is not None
    run.checks.freshness.num_wrong = 1
    run.crowd.downlink.dropped = Counter(bad_section=2, bad_ack=1, duplicate=5, too_old=5, late_signal=5)
    run.unconverged = run.crowd.people.living[:3]
    run.ends.by_relay = ["TOO_SLOW", "TOO_SLOW", "the relay fell silent"]
    assert failures(run) == [
        "1 state wrong",
        "3 datagrams against the protocol",
        "3 players did not come to the same table as the relay",
        "2 sessions ended that should have lasted: TOO_SLOW",
        "1 session ended that should have lasted: the relay fell silent",
    ]


def test_who_could_not_join_is_named_with_the_reasons(wire: Wire) -> None:
    run = ended(run_of(wire))
    run.joining.want(2, 0.0)
    run.joining.refusals.update({"This room is full.": 3, "no answer within 15 s": 1})
    wanted = "1 of 4 players could not join: This room is full. (3 times), no answer within 15 s (1 time)"
    assert failures(run) == [wanted]
    churning = ended(run_of(wire, plan_of(leaves=1.0)))
    churning.joining.want(2, 0.0)
    assert failures(churning) == [], "who was about to come back when the load ended is no fault"


def test_a_run_that_measured_nothing_does_not_pass(wire: Wire) -> None:
    run = run_of(wire)
    run.phase = Phase.OVER
    assert failures(run) == ["it was ended before anything was measured"]


def test_signals_that_did_not_come_are_lost_and_no_fault(wire: Wire) -> None:
    run = ended(run_of(wire))
    assert run.acting is not None
    run.acting.signals_expected = 10
    run.checks.ledger.signals["received"] = 7
    figures = figures_of(run, is_over=True)
    assert figures["signals"]["lost"] == 3 and figures["failures"] == []


# --- between two moments


def test_rates_loss_and_cost_are_of_the_time_between(wire: Wire) -> None:
    run = run_of(wire)
    begin = moment(10.0, datagrams_up=100, bytes_up=1000, decided_up=55, lost_up=5, expected_down=100, received_down=90)
    end = moment(
        20.0, datagrams_up=500, bytes_up=5000, datagrams_down=800, bytes_down=16_000, decided_up=355, lost_up=8,
        expected_down=500, received_down=486, cpu_s=2.5,
    )  # fmt: skip
    told = between(run, begin, end)
    assert told["seconds"] == 10.0 and told["ticks"] == 10 * run.tick_rate
    assert told["datagrams_per_s"] == {"up": 40.0, "down": 80.0}
    assert told["bytes_per_s"] == {"up": 400.0, "down": 1600.0}
    assert told["bytes_per_player_s"] == {"up": 100.0, "down": 400.0}
    assert told["loss_percent"] == {"up": 1.0, "down": 1.0}
    assert told["load"] == {"cpu_percent": 25.0}
    assert told["relay"] is None
    assert told["cost"] == {"bytes_per_player_hour": 500 * 3600, "month_gb": round(500 * 30 * 86400 * 4 / 1e9, 3)}


def test_the_relays_cost_is_of_the_time_between_its_own_two_looks(wire: Wire) -> None:
    run = run_of(wire)
    begin = moment(0.0, relay=Usage(0.1, 5.0, 50.0))
    end = moment(10.0, relay=Usage(10.1, 6.0, 55.126))
    per_tick = 1e6 / (10 * run.tick_rate * 4)
    wanted = {"cpu_percent": 10.0, "us_per_player_tick": round(per_tick, 3), "rss_mib": 55.13}
    assert between(run, begin, end)["relay"] == wanted
    assert between(run, begin, moment(10.0))["relay"] is None


def test_where_nothing_was_sent_loss_is_not_known(wire: Wire) -> None:
    told = between(run_of(wire), moment(0.0), moment(1.0))
    assert told["loss_percent"] == {"up": None, "down": None}


def test_more_than_was_expected_is_no_loss(wire: Wire) -> None:
    told = between(run_of(wire), moment(0.0), moment(1.0, expected_down=10, received_down=11))
    assert told["loss_percent"]["down"] == 0


def test_a_run_whose_players_all_fell_out_is_still_divided_by_somebody(wire: Wire) -> None:
    run = run_of(wire)
    assert run.crowd is not None
    for row in range(4):
        run.crowd.end(row)
    assert between(run, moment(0.0), moment(1.0, bytes_down=400))["bytes_per_player_s"]["down"] == 100.0


def test_superseded_states_are_those_that_no_snapshot_showed(wire: Wire) -> None:
    run = ended(run_of(wire))
    run.end = moment(10.0, published=200)
    run.checks.freshness.changes = 150
    assert figures_of(run, is_over=True)["superseded_share"] == 0.25
    run.phase = Phase.LOAD
    assert figures_of(run, is_over=False)["superseded_share"] is None


def test_a_second_of_the_series_has_what_the_charts_want(wire: Wire) -> None:
    run = run_of(wire)
    run.checks.freshness.recent_age.add_one(0.02)
    item = series_item(run, moment(5.0), moment(6.0, pairs=10, delivered=9, left_out=2), 6.2)
    assert item.keys() == sample_series(1)[0].keys()
    assert (item["t"], item["players"], item["delivered_share"], item["overruns"]) == (6, 4, 0.9, 2)
    assert item["state_age_p99_ms"] == 20.0
    assert len(run.checks.freshness.recent_age) == 0, "the next second begins anew"


# --- what held the generator back


def bottlenecks(run: Run) -> list[str]:
    found: list[str] = figures_of(run, is_over=True)["load"]["bottlenecks"]
    return found


def test_a_generator_that_kept_up_has_no_bottleneck(wire: Wire) -> None:
    assert bottlenecks(ended(run_of(wire))) == []


def test_every_bottleneck_names_its_remedy(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(run_of(wire))
    assert run.acting is not None
    monkeypatch.setattr(wire, "receive_overflow", lambda: 7)
    wire.counters["send_overflow"] = 3
    run.end = moment(10.0, cpu_s=9.5)
    run.acting.late_ticks = 100
    monkeypatch.setattr(module.sys, "platform", "linux")
    full, sending, busy, late = bottlenecks(run)
    assert full.startswith("7 datagrams were lost in this process's socket buffers of ")
    assert "net.core.rmem_max" in full and "--per-socket" in full
    assert sending == "3 datagrams did not fit into a send buffer: raise net.core.wmem_max"
    assert busy.startswith("this process used 95 % of its core: ")
    assert late.startswith("100 of the players' ticks were left out, because this process was late")
    monkeypatch.setattr(module.sys, "platform", "win32")
    assert "sysctl" not in bottlenecks(run)[0]


def test_a_network_that_holds_too_much_says_so(wire: Wire) -> None:
    run = ended(run_of(wire, plan_of(paths=tuple(parse_mix(["latency=100"])))))
    assert bottlenecks(run) == [] and run.down is not None
    run.down.overflowed = 1
    assert bottlenecks(run) == ["the simulated network held too many datagrams: use less latency, or fewer players"]
