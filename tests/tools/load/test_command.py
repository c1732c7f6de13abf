"""`tickrelay load` as a user runs it: what it prints, writes and returns."""

import io
import json
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.tools.lag.peers import closed_port
from tests.tools.load.faults import ChangeState
from tests.tools.load.samples import sample_figures
from tests.tools.load.stage import Stage, be_impatient, during_load, small_plan
from tools import cli
from tools.cli import EXIT_FAILED, UsageError
from tools.load import command as module
from tools.load import joining as joining_module
from tools.load import run as run_module
from tools.load.command import Loader, progress_of
from tools.load.plan import Plan
from tools.load.run import Phase, Run
from tools.load.wire import TooFewFiles, Wire

pytestmark = pytest.mark.slow
SMALL = ["--rooms=1", "--players=4", "--duration=0.6", "--warm-up=0.1", "--settle=1", "--per-socket=1"]
WANTED = """
players delivered_share superseded_share state_age_ms.p50 state_age_ms.p95 state_age_ms.p99 state_age_ms.max
message_latency_ms.p99 signal_latency_ms.p99 messages.sent messages.missing messages.duplicated messages.out_of_order
messages.misdelivered messages.resent loss_percent.up loss_percent.down datagrams_per_s.up datagrams_per_s.down
bytes_per_s.up bytes_per_s.down bytes_per_player_s.up relay.cpu_percent relay.rss_mib tick_overruns
cost.bytes_per_player_hour cost.month_gb failures passed converged load.bottlenecks
"""
"""Keys that the issue names, or that follow from what it asks for."""


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)


def load(stage: Stage, *arguments: str) -> int:
    return cli.main(["load", f"--port={stage.proxy.address[1]}", *SMALL, *arguments], {})


def test_a_load_that_passes_shows_its_figures_and_returns_0(capsys: pytest.CaptureFixture[str]) -> None:
    with Stage() as stage:
        assert load(stage) == 0
    out, err = capsys.readouterr()
    assert err == "" and "PASSED" in out.upper()
    assert re.search(r"delivered", out, re.IGNORECASE)


def test_json_is_alone_on_stdout_and_has_the_keys_that_are_promised(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psutil")
    with Stage() as stage:
        assert load(stage, "--json") == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert "PASSED" in err.upper()
    for key in WANTED.split():
        value = figures
        for part in key.split("."):
            assert part in value, key
            value = value[part]
        assert value is not None, key
    assert figures["passed"] is True and figures["players"]["connected"] == 4
    assert figures["settings"]["players"] == 4 and figures["messages"]["missing"] == 0


def test_a_load_that_fails_returns_1_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with Stage(tamper=ChangeState()) as stage:
        assert load(stage, "--json") == EXIT_FAILED
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["passed"] is False and figures["failures"][0] == "1 state wrong"
    assert "1 state wrong" in err


def test_without_a_relay_it_returns_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining_module, "DEADLINE_S", 0.3)
    monkeypatch.setattr(run_module, "DEADLINE_S", 0.3)
    monkeypatch.setattr(run_module, "AGAIN_S", 0.1)
    assert cli.main(["load", f"--port={closed_port()}", *SMALL], {}) == EXIT_FAILED
    out, _ = capsys.readouterr()
    assert "nobody could join" in out


def test_a_report_is_written_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "load.html"
    with Stage() as stage:
        assert load(stage, f"--report={page}", "--duration=2.2") == 0
    out, _ = capsys.readouterr()
    assert f"report: {page}" in out
    assert "<svg" in page.read_text(encoding="utf-8")


def test_the_series_has_an_entry_a_second() -> None:
    with Stage() as stage:
        _, series = stage.loader().load(small_plan(duration_s=3.4))
    assert [item["t"] for item in series] == list(range(2, 2 + len(series))) and len(series) >= 2
    assert series[0]["phase"] == "load" and series[0]["players"] == 8
    assert series[0]["datagrams_up"] == pytest.approx(240, rel=0.3)


def test_too_few_files_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise TooFewFiles("raise the limit")

    monkeypatch.setattr(module, "Wire", refuse)
    loader = Loader(socket.AF_INET, ("127.0.0.1", closed_port()), None, io.StringIO())
    with pytest.raises(UsageError, match="raise the limit"):
        loader.load(small_plan())


def test_no_sockets_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(module, "Wire", refuse)
    loader = Loader(socket.AF_INET, ("127.0.0.1", closed_port()), None, io.StringIO())
    with pytest.raises(UsageError, match="cannot open 8 sockets: Network is unreachable"):
        loader.load(small_plan())


def test_a_second_ctrl_c_does_not_wait_for_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[Phase] = []
    monkeypatch.setattr(run_module, "QUIET_S", 60.0)
    during_load(monkeypatch, 0.2, lambda: signal.raise_signal(signal.SIGINT))
    step = Run.step

    def stepped(run: Run) -> None:
        step(run)
        if run.phase not in phases:
            phases.append(run.phase)
            if run.phase is Phase.SETTLING:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "step", stepped)
    with Stage() as stage:
        figures = stage.play(duration_s=60.0, settle_s=60.0)
    assert phases[-2:] == [Phase.LOAD, Phase.SETTLING]
    assert figures["seconds"] < 5.0


def test_sockets_are_closed_and_the_signal_given_back_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Wire] = []
    close = Wire.close

    def closing(wire: Wire) -> None:
        closed.append(wire)
        close(wire)

    def fail(run: Run) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Wire, "close", closing)
    monkeypatch.setattr(Run, "step", fail)
    before = signal.getsignal(signal.SIGINT)
    loader = Loader(socket.AF_INET, ("127.0.0.1", closed_port()), None, io.StringIO())
    with pytest.raises(RuntimeError, match="a bug"):
        loader.load(small_plan())
    assert len(closed) == 1 and signal.getsignal(signal.SIGINT) is before


# --- the search


def search(monkeypatch: pytest.MonkeyPatch, capacity: int, *arguments: str, stop_at: int = 0) -> tuple[int, list[int]]:
    """Search with made-up loads that are served well up to so many rooms. Returns: exit code, what was tried."""
    tried: list[int] = []

    def loaded(loader: Loader, plan: Plan) -> tuple[dict[str, Any], list[Any]]:
        tried.append(plan.rooms)
        if plan.rooms == stop_at:
            loader._on_interrupt()
        return sample_figures(delivered_share=1.0 if plan.rooms <= capacity else 0.5), []

    monkeypatch.setattr(Loader, "load", loaded)
    return cli.main(["load", f"--port={closed_port()}", "--find-capacity", "--players=8", *arguments], {}), tried


def test_a_search_says_what_it_tries_and_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, tried = search(monkeypatch, 5)
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert code == 0 and tried[0] == 1
    assert lines[0] == "trying 8 players in 1 rooms" and lines[1] == "  8 players: served well"
    assert lines[-1] == "capacity: 40 players; at 48: delivered share 0.5000 is below 0.99"


def test_a_search_in_json_is_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, tried = search(monkeypatch, 3, "--json")
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert code == 0 and found["capacity_players"] == 24 and len(found["trials"]) == len(tried)
    assert found["broken_limits"] == ["delivered share 0.5000 is below 0.99"]
    assert err.startswith("trying ")


def test_a_search_that_finds_nothing_returns_1(monkeypatch: pytest.MonkeyPatch) -> None:
    code, tried = search(monkeypatch, 0)
    assert code == EXIT_FAILED and tried == [1]


def test_ctrl_c_ends_a_search_with_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, tried = search(monkeypatch, 100, stop_at=4)
    assert code == 0 and tried == [1, 2, 4]
    assert capsys.readouterr().out.splitlines()[-1].startswith("capacity: 32 players or more")


# --- progress


def test_progress_grows_with_the_phases() -> None:
    wire = Wire(("127.0.0.1", closed_port()), socket.AF_INET, 1)
    now = 100.0
    run = Run(small_plan(floor=True, per_socket=8, warm_up_s=1.0, duration_s=4.0), wire, None, clock=lambda: now)
    seen = []
    for phase in Phase:
        run.phase, run.phase_began = phase, now
        for elapsed in (0.0, 0.5, 99.0):
            progress, left_s = progress_of(run, now + elapsed)
            seen.append(progress)
            assert 0 <= progress <= 1 and left_s >= 0
    wire.close()
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 1
