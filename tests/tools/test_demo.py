"""`tickrelay demo` as a user runs it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay.config import RelayConfig
from relay.transport.sockets import open_udp_socket
from tests.tools.commands import environment, tickrelay
from tools import demo
from tools.cli import UsageError

LINE = re.compile(
    r" *\d+ s  rooms 2  players 6  datagrams/s (\d+) in (\d+) out  round trip [\d.]+ ms  tick [\d.]+ ms  load \d+ %"
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rooms", "0"], "rooms is 0; permitted: 1 to 8"),
        (["--players", "257"], "players is 257; permitted: 1 to 256"),
        (["--port", "65536"], "port is 65536; permitted: 0 to 65535"),
        (["--seconds", "0"], "seconds is 0.0; permitted: above 0"),
        (["--seconds", "nan"], "seconds is nan; permitted: above 0"),
    ],
)
def test_wrong_values_are_named(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        demo.main(arguments, {})
    assert str(caught.value) == words


@pytest.mark.slow
def test_without_a_terminal_it_prints_a_line_a_second_and_exits_0(tmp_path: Path) -> None:
    done = tickrelay(tmp_path, "demo", "--seconds", "3", "--rooms", "2", "--players", "3")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    found = LINE.fullmatch(lines[-1])
    assert found is not None, lines
    assert all(150 < int(rate) < 250 for rate in found.groups())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT so")
def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "tools.cli", "demo"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_a_port_in_use_is_told_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    with open_udp_socket("127.0.0.1", 0) as taken:
        assert demo.main(["--port", str(taken.getsockname()[1]), "--seconds", "1"], {}) == 1
    assert "cannot run a relay" in capsys.readouterr().err


@pytest.mark.slow
def test_bots_that_cannot_join_are_told_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "RelayConfig", lambda **_: RelayConfig(max_players=2))
    assert demo.main(["--rooms", "1", "--players", "3", "--seconds", "5"], {}) == 1
    assert "a bot could not join: server full" in capsys.readouterr().err
