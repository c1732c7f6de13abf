"""`tickrelay serve` as a user runs it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from protocol.client import ByeReason, Disconnected
from relay.client import RelayClient
from relay.transport.sockets import open_udp_socket
from tests.tools.commands import serving, tickrelay
from tools import serve
from tools.serve_settings import all_settings


def test_help_names_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(["--help"], {})
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for setting in all_settings():
        assert f"{setting.option} " in shown or f"{setting.option}]" in shown
        if setting.default not in ("", False):
            assert f"(default: {setting.default})" in shown


def test_options_are_not_guessed_from_their_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(["--tick", "30"], {})
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_uvloop_is_used_where_it_is_installed_and_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve.choose_loop(no_uvloop=True) is None
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert serve.choose_loop(no_uvloop=False) is None


@pytest.mark.slow
@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_one_line_and_exit_2(host: str, tmp_path: Path) -> None:
    done = tickrelay(tmp_path, "serve", "--port", "0", "--host", host, "--log-level", "error")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and repr(host) in done.stderr


@pytest.mark.slow
def test_a_port_in_use_is_named_and_exit_1(tmp_path: Path) -> None:
    with open_udp_socket(None, 0) as taken:
        port = str(taken.getsockname()[1])
        done = tickrelay(tmp_path, "serve", "--port", port)
    assert done.returncode == 1
    assert f"UDP port {port} is already in use" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_wrong_value_is_one_line_and_exit_2(tmp_path: Path) -> None:
    done = tickrelay(tmp_path, "serve", TICKRELAY_TICK_RATE="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tickrelay serve: tick_rate (environment) is 0; permitted: 1 to 240\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGTERM so")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("loop", ["--no-uvloop", "--log-level=info"])
def test_it_serves_logs_rooms_and_says_goodbye_when_told_to_stop(number: int, loop: str, tmp_path: Path) -> None:
    async def play(port: int) -> Disconnected:
        async with RelayClient("127.0.0.1", port, code="LOBBY", name="Ada") as ada:
            loop = asyncio.get_running_loop()
            ended = loop.run_in_executor(None, relay.end, number)
            end = [event async for event in ada][-1]
            assert await ended == 0
            assert isinstance(end, Disconnected)
            return end

    with serving(tmp_path, loop) as relay:
        assert asyncio.run(play(relay.port)).reason is ByeReason.SHUTDOWN
    log = "\n".join(relay.lines)
    assert "LOBBY" in log and "stopped" in log and "Traceback" not in log
    assert len((tmp_path / ".local/state/tickrelay/secret").read_bytes()) == 32


@pytest.mark.slow
def test_a_secret_that_cannot_be_kept_is_a_warning(tmp_path: Path) -> None:
    with serving(tmp_path, "--secret-file", os.devnull + "/secret") as relay:
        assert relay.port > 0
    assert any("WARNING cannot keep the secret" in line for line in relay.lines)
