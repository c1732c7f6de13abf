"""`tickrelay bench`: its options, its output, its exit codes. What it measures is made up here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.bench.figures import FakeMeasure
from tools.bench import command, stages
from tools.bench.command import current_commit, main
from tools.bench.rows import Name, default_specs, full_specs, idle_specs
from tools.bench.run import MeasureError
from tools.cli import UsageError

US = {Name.FLOOR: [4.0], Name.COMPILED: [5.0], Name.BATCH: [6.0], Name.UVLOOP: [12.0], Name.ASYNCIO: [20.0]}


@pytest.fixture(autouse=True)
def no_spinners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spinners have a test of their own."""
    monkeypatch.setattr(command, "available_cores", list)


def fake(**more: Any) -> FakeMeasure:
    return FakeMeasure({name: list(values) for name, values in US.items()}, **more)


def run(*arguments: str, measure: FakeMeasure | None = None) -> int:
    return main(arguments, {}, measure or fake())


def test_without_options_the_default_rows_are_measured_once(capsys: pytest.CaptureFixture[str]) -> None:
    measure = fake()
    assert run(measure=measure) == 0
    assert measure.asked == default_specs()
    assert "batch" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "specs"), [("--full", full_specs()), ("--idle", idle_specs())])
def test_other_rows_by_option(option: str, specs: list[Any]) -> None:
    measure = fake()
    assert run(option, measure=measure) == 0
    assert measure.asked == specs


def test_rounds_and_duration_reach_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    measure = fake()
    run("--rounds", "2", "--duration", "3", measure=measure)
    assert len(measure.asked) == 2 * len(default_specs())
    assert {spec.duration_s for spec in measure.asked} == {3.0}
    assert "a trial" in capsys.readouterr().err


def test_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)["rows"]
    assert shown.out.count("\n") == 1
    assert [(row["name"], row["players"]) for row in rows] == [(s.name, s.players) for s in default_specs()]
    assert {row["ratio_to_floor"] for row in rows if row["name"] == "batch"} == {1.5}
    assert "player-tick" in shown.err


def test_the_output_says_on_what_it_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    said = capsys.readouterr().err
    assert all(f"{word}: " in said for word in ("cpu", "kernel", "python", "numpy"))
    assert "relay and load share" in said and "may halt" in said


def test_markdown_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run("--idle", "--markdown")
    assert all(line.startswith("| ") for line in capsys.readouterr().out.splitlines())


def test_a_run_is_kept_and_compared_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = str(tmp_path / "before.json")
    run("--save", kept)
    capsys.readouterr()
    US_NOW = {name: [values[0] * 1.5] for name, values in US.items()}
    assert run("--compare", kept, measure=FakeMeasure(US_NOW)) == 0
    shown = capsys.readouterr()
    assert shown.out.count("+50.0%") == len(default_specs())
    assert f"against {current_commit()}" in shown.err
    assert "another machine" not in shown.err


def test_a_run_of_another_machine_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "before.json"
    run("--save", str(kept))
    kept.write_text(kept.read_text(encoding="utf-8").replace('"cores": "', '"cores": "1'), encoding="utf-8")
    run("--compare", str(kept))
    assert "another machine" in capsys.readouterr().err


def test_a_row_in_which_the_load_failed_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--idle", measure=fake(failures=["a message is missing"])) == 1
    assert "compiled, 1000 players, idle players: a message is missing" in capsys.readouterr().err


def test_a_row_that_proves_nothing_fails_nothing() -> None:
    assert run("--idle", measure=fake(failures=["late"], load={"cpu_percent": 99.0})) == 0


def test_bottlenecks_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    run("--idle", measure=fake(load={"bottlenecks": ["socket buffers: raise net.core.rmem_max"]}))
    assert "raise net.core.rmem_max" in capsys.readouterr().err


def test_the_mark_of_thirds_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    run(measure=fake(relay={"us_per_player_tick_thirds": [5.0, 6.0, 7.0]}))
    assert "* of one round" in capsys.readouterr().err


def test_after_ctrl_c_there_is_a_table_and_the_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    measure = fake()

    def interrupted(spec: Any) -> Any:
        if spec.name is Name.UVLOOP:
            raise KeyboardInterrupt
        return measure(spec)

    assert main([], {}, interrupted) == 130
    shown = capsys.readouterr().out
    assert "batch" in shown and "uvloop" not in shown


def test_a_row_that_was_not_measured_fails_the_run() -> None:
    measure = fake()

    def broken(spec: Any) -> Any:
        if spec.name is Name.UVLOOP:
            raise MeasureError("gone")
        return measure(spec)

    assert main([], {}, broken) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "0"], "rounds is 0; permitted: 1 to 100"),
        (["--rounds", "1.5"], "rounds is 1.5"),
        (["--rounds", "x"], "rounds is x"),
        (["--duration", "0"], "duration is 0; permitted: 1 to 600"),
        (["--duration", "nan"], "duration is nan"),
        (["--stages", "--save", "x"], "--stages goes with --json only"),
        (["--save", "no/such/folder/x"], "no such folder"),
        (["--compare", "no-such-file"], "cannot read no-such-file"),
    ],
)
def test_wrong_values_are_told_before_anything_is_measured(arguments: list[str], words: str) -> None:
    measure = fake()
    with pytest.raises(UsageError, match=words):
        run(*arguments, measure=measure)
    assert measure.asked == []


def test_a_file_that_is_no_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="is not a run"):
        run("--compare", str(tmp_path / "x"))


def test_a_run_that_cannot_be_written_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").mkdir()
    assert run("--idle", "--save", str(tmp_path / "x")) == 1
    assert "cannot write" in capsys.readouterr().err


def test_rows_that_cannot_be_measured_are_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = fake()
    monkeypatch.setattr(command.Runner, "measure", lambda self, spec: measure(spec))
    monkeypatch.setattr(command.Runner, "why_not", lambda self, name: "gone" if name is Name.FLOOR else None)
    assert main(["--json"], {}) == 0
    shown = capsys.readouterr()
    assert "without rows of floor: gone" in shown.err
    rows = json.loads(shown.out)["rows"]
    assert "floor" not in {row["name"] for row in rows}
    assert all(row["ratio_to_floor"] is None for row in rows)


def test_stages_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    figures = dict.fromkeys(stages.STAGES, 1.0)
    monkeypatch.setattr(stages, "why_not", lambda: None)
    monkeypatch.setattr(stages, "measure_stages", lambda players, kind, tell: figures)
    monkeypatch.setattr(stages, "kinds_of_stages", lambda: ["columns"])
    assert run("--stages") == 0
    assert "bodies" in capsys.readouterr().out
    assert run("--stages", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "stages": {"columns": {"64": figures, "500": figures, "4000": figures}}
    }


def test_stages_that_cannot_be_measured_say_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stages, "why_not", lambda: "no Linux")
    assert run("--stages") == 1
    assert "no Linux" in capsys.readouterr().err


def test_without_a_checkout_the_release_names_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*args: Any, **named: Any) -> Any:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert current_commit().startswith("release ")


def test_it_is_a_subcommand() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "bench", "--rounds", "0"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "tickrelay bench: rounds is 0; permitted: 1 to 100\n")
