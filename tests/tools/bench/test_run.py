"""One row: the command lines, the processes and their ends. The load itself is somebody else's test."""

import importlib.util
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.tools.bench.floors import program
from tools.bench import run
from tools.bench.floor import Fill, NoFloorError
from tools.bench.machine import Cores
from tools.bench.rows import Name, Spec, full_specs
from tools.bench.run import MeasureError, Runner, fill_of, load_command, parse_figures, relay_command
from tools.ping import ping
from tools.serve import build_parser
from tools.serve_settings import merge_settings

ANYWHERE = Cores(None, None, "")


def runner(folder: Path, **environ: str) -> Runner:
    return Runner(ANYWHERE, folder, {"PATH": os.environ["PATH"]} | environ)


def settings_of(command: list[str]) -> Any:
    options = vars(build_parser().parse_args(command[4:]))
    return merge_settings(options, {}, options.pop("config"))


@pytest.mark.parametrize("spec", [spec for spec in full_specs() if spec.name is not Name.FLOOR])
def test_every_relay_row_is_permitted_by_serve_and_has_room(spec: Spec) -> None:
    settings = settings_of(relay_command(spec, 7000, Path("secret")))
    assert (settings.host, settings.port, settings.config.tick_rate) == ("127.0.0.1", 7000, spec.tick_rate)
    assert settings.config.max_players > spec.num_rooms * spec.per_room
    assert settings.config.max_rooms > spec.num_rooms
    assert settings.config.max_room_players >= spec.per_room


@pytest.mark.parametrize(
    ("name", "transport", "stages", "no_uvloop"),
    [
        (Name.COMPILED, "batch", "compiled", False),
        (Name.BATCH, "batch", "columns", False),
        (Name.UVLOOP, "asyncio", "columns", False),
        (Name.ASYNCIO, "asyncio", "columns", True),
    ],
)
def test_the_name_of_a_row_is_its_transport_stages_and_loop(
    name: Name, transport: str, stages: str, no_uvloop: bool
) -> None:
    settings = settings_of(relay_command(Spec(name=name, players=8), 7000, Path("secret")))
    assert (settings.transport, settings.stages, settings.no_uvloop) == (transport, stages, no_uvloop)


def options_of(spec: Spec) -> dict[str, str]:
    words = load_command(spec, 7000, 42)[4:]
    flags = {word for word in words if word in ("--json", "--floor")}
    rest = [word for word in words if word not in flags]
    return dict(zip(rest[::2], rest[1::2], strict=True)) | dict.fromkeys(flags, "")


def test_the_load_is_told_the_shape() -> None:
    assert options_of(Spec(name=Name.BATCH, players=64, messages=5)) == {
        "--host": "127.0.0.1",
        "--port": "7000",
        "--rooms": "8",
        "--players": "8",
        "--rate": "30",
        "--state-bytes": "24",
        "--messages": "5",
        "--signals": "0",
        "--aim": "mixed",
        "--join-rate": "1500",
        "--duration": "10.0",
        "--warm-up": "2.016",
        "--relay-pid": "42",
        "--json": "",
    }


def test_the_load_is_told_what_only_some_rows_have() -> None:
    assert "--floor" in options_of(Spec(name=Name.FLOOR, players=64))
    assert options_of(Spec(name=Name.BATCH, players=64, joins_per_s=2000))["--leaves"] == "2000"
    signals = options_of(Spec(name=Name.BATCH, players=64, signals=30, payload_bytes=64))
    assert signals["--signal-bytes"] == signals["--message-bytes"] == "64"
    assert options_of(Spec(name=Name.BATCH, players=64, weather="loss=2"))["--net"] == "loss=2"


def test_the_floor_is_sent_signals_instead_of_messages_which_it_would_not_acknowledge() -> None:
    told = options_of(Spec(name=Name.FLOOR, players=64, state_rate=0, messages=2, signals=30, aim="others"))
    assert (told["--messages"], told["--signals"], told["--aim"]) == ("0", "32", "others")


def test_the_floor_is_told_what_a_relay_sent() -> None:
    spec = Spec(name=Name.COMPILED, players=64, state_rate=0, signals=30)
    figures = {"datagrams_per_s": {"down": 64 * 30 * 1.5}, "bytes_per_s": {"down": 64 * 30 * 1.5 * 400}}
    assert fill_of(spec, figures) == Fill(datagrams_per_tick=1.5, datagram_bytes=400)
    for nothing in ({}, {"datagrams_per_s": {"down": 0.0}, "bytes_per_s": {"down": 0.0}}):
        assert fill_of(spec, nothing) is None


def test_a_row_without_states_has_clients_that_look_as_often() -> None:
    idle = options_of(Spec(name=Name.BATCH, players=64, state_rate=0))
    assert (idle["--state-bytes"], idle["--rate"]) == ("0", "30")


def test_figures_are_read_whatever_the_exit_code() -> None:
    assert parse_figures('{"passed": false}', "two messages are missing", 1) == {"passed": False}


@pytest.mark.parametrize("shown", ["", "not JSON", "[1]"])
def test_a_load_without_figures_is_told_with_its_last_words(shown: str) -> None:
    with pytest.raises(MeasureError, match=r"exit code 2\): c / d / e"):
        parse_figures(shown, "a\nb\nc\nd\ne\n", 2)
    with pytest.raises(MeasureError, match="it said nothing"):
        parse_figures(shown, "", 2)


# --- With processes


class Visited(Exception):
    """The load's place was reached."""


def test_the_floor_is_started_for_the_load_and_ended_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program()
    seen: list[int] = []

    def visit(self: Runner, spec: Spec, port: int, pid: int) -> Any:
        os.kill(pid, 0)
        seen.extend((port, pid))
        return {"players": {"connected": 8}}

    monkeypatch.setattr(Runner, "_run_load", visit)
    figures = runner(tmp_path).measure(Spec(name=Name.FLOOR, players=8))
    assert figures == {"players": {"connected": 8}}
    with pytest.raises(ProcessLookupError):
        os.kill(seen[1], 0)


def test_a_relay_is_started_for_the_load_without_settings_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def visit(self: Runner, spec: Spec, port: int, pid: int) -> Any:
        seen.append(ping([(socket.AF_INET, ("127.0.0.1", port))]))
        seen.append(pid)
        raise Visited

    monkeypatch.setattr(Runner, "_run_load", visit)
    spec = Spec(name=Name.ASYNCIO, players=8, tick_rate=20)
    with pytest.raises(Visited):
        runner(tmp_path, TICKRELAY_TICK_RATE="60", TICKRELAY_NO_SUCH="1").measure(spec)
    assert seen[0].pong.tick_rate == 20
    with pytest.raises(ProcessLookupError):
        os.kill(seen[1], 0)


def test_a_load_is_run_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program()
    figures = {"passed": True, "players": {"connected": 8}}
    monkeypatch.setattr(run, "load_command", lambda spec, port, pid: ["echo", json.dumps(figures)])
    assert runner(tmp_path).measure(Spec(name=Name.FLOOR, players=8)) == figures


def test_a_load_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program()
    monkeypatch.setattr(run, "load_command", lambda spec, port, pid: ["sleep", "100"])
    monkeypatch.setattr(run, "_time_limit_s", lambda spec: 0.3)
    with pytest.raises(MeasureError, match="did not end"):
        runner(tmp_path).measure(Spec(name=Name.FLOOR, players=8))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_relay_without_players_is_measured_alone(tmp_path: Path) -> None:
    spec = Spec(name=Name.ASYNCIO, players=0, state_rate=0, duration_s=0.5)
    figures = runner(tmp_path).measure(spec)
    assert figures["players"]["connected"] == 0
    assert 0 < figures["relay"]["cpu_percent"] < 100
    assert figures["relay"]["rss_mib"] > 10


def test_a_relay_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "START_TIMEOUT_S", 0.3)
    monkeypatch.setattr(run, "relay_command", lambda spec, port, secret: ["python3", "-c", "pass"])
    with pytest.raises(MeasureError, match="did not answer"):
        runner(tmp_path).measure(Spec(name=Name.BATCH, players=8))


# --- What cannot be measured here


def test_rows_that_cannot_be_measured_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_floor(folder: Path) -> Path:
        raise NoFloorError("no compiler")

    monkeypatch.setattr(run, "compile_floor", no_floor)
    monkeypatch.setattr(run, "find_mmsg_calls", lambda: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    here = runner(tmp_path)
    assert here.why_not(Name.FLOOR) == "no floor: no compiler"
    assert "Linux" in str(here.why_not(Name.BATCH))
    assert "Linux" in str(here.why_not(Name.COMPILED))
    assert "not installed" in str(here.why_not(Name.UVLOOP))
    assert here.why_not(Name.ASYNCIO) is None
    with pytest.raises(MeasureError, match="no compiler"):
        here.measure(Spec(name=Name.FLOOR, players=8))


def test_the_floor_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Path] = []

    def note(folder: Path) -> Path:
        compiled.append(folder)
        return folder / "floor"

    monkeypatch.setattr(run, "compile_floor", note)
    here = runner(tmp_path)
    assert here.why_not(Name.FLOOR) is here.why_not(Name.FLOOR) is None
    assert compiled == [tmp_path]
