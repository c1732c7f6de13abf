"""`tickrelay lag` as a user runs it."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.constants import DEFAULT_PORT
from relay.transport.sockets import open_udp_socket
from tests.tools.commands import environment, serving, tickrelay
from tests.tools.lag.peers import closed_port
from tools import lag
from tools.cli import UsageError
from tools.lag.conditions import KEYS, PRESETS

COUNTS = re.compile(
    r" +\d+ s  clients (\d+)  up (\d+) in (\d+) out \((\d+) lost, 0 duplicated, 0 reordered, 0 overflowed\)"
    r"  down (\d+) in (\d+) out \(0 lost, 0 duplicated, 0 reordered, 0 overflowed\)  rebinds \d+  errors (\d+)"
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wifi", "--net", "lan"], "conditions are given twice; permitted: either as an argument or with --net"),
        (["--seconds", "0"], "seconds is 0.0; permitted: above 0"),
        (["--seconds", "nan"], "seconds is nan; permitted: above 0"),
        (["--rebind-every", "-1"], "rebind_every is -1.0; permitted: above 0"),
        (["--seed", "-1"], "seed is -1; permitted: 0 or more"),
        (["loss=200"], "conditions 'loss=200': loss_percent is 200; permitted: 0 to 100"),
        (["--listen", "127.0.0.1:99999"], "address is '127.0.0.1:99999'; permitted: HOST"),
    ],
)
def test_wrong_values_are_named(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        lag.main(["--to", "127.0.0.1", *arguments], {})
    assert str(caught.value).startswith(words)


def test_without_a_relay_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lag.main(["wifi"], {})
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "--to" in shown and shown.count("\n") == 1


def test_help_shows_every_key_and_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lag.main(["--help"], {})
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"{key}=" in shown for key in KEYS) and all(f"  {name} " in shown for name in PRESETS)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7000", ("127.0.0.1", 7000)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("0.0.0.0", ("0.0.0.0", DEFAULT_PORT + 1)),
        ("::1", ("::1", DEFAULT_PORT + 1)),
        ("::0", ("::0", DEFAULT_PORT + 1)),
        ("[::1]", ("::1", DEFAULT_PORT + 1)),
        ("[::1]:0", ("::1", 0)),
        ("[::1]:7000", ("::1", 7000)),
    ],
)
def test_where_to_listen_is_read_in_every_usual_form(text: str, address: tuple[str, int]) -> None:
    assert lag.parse_listen(text) == address


def test_the_first_line_says_where_to_point_a_client_and_what_it_will_meet(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--to", "127.0.0.1:7000", "--listen", "127.0.0.1:0", "--seed", "5", "--seconds", "0.1"]
    assert lag.main([*arguments, "latency=40,loss=1", "--rebind-every", "3"], {}) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"Point up to 256 clients at 127\.0\.0\.1:\d+ instead of 127\.0\.0\.1:7000 "
        r"\(latency 40 ms, loss 1 %; one way; new address every 3 s; seed 5\)\. Ctrl-C ends it\.",
        first,
    )
    assert COUNTS.fullmatch(last), last


def test_on_all_addresses_it_names_the_port_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert lag.main(["--to", "127.0.0.1", "--listen", "0.0.0.0:0", "--seconds", "0.1", "--net", "none"], {}) == 0
    assert re.match(r"Point up to 256 clients at port \d+ of this machine instead of", capsys.readouterr().out)


def test_counts_come_now_and_then_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lag, "REPORT_S", 0.2)
    assert lag.main(["--to", "127.0.0.1", "--listen", "127.0.0.1:0", "--seconds", "0.5"], {}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(COUNTS.fullmatch(line) for line in lines[1:])


def test_a_port_in_use_is_told_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    with open_udp_socket("127.0.0.1", 0) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert lag.main(["--to", "127.0.0.1:9", "--listen", address, "--seconds", "1"], {}) == 1
    shown = capsys.readouterr().err
    assert f"cannot listen on {address}" in shown and shown.count("\n") == 1


def test_an_unknown_name_is_told_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert lag.main(["--to", "no-such-host.invalid", "--listen", "127.0.0.1:0", "--seconds", "1"], {}) == 1
    assert "is the name right?" in capsys.readouterr().err


def test_a_proxy_before_itself_is_a_wrong_value() -> None:
    address = f"127.0.0.1:{closed_port()}"
    with pytest.raises(UsageError, match="which is this proxy itself"):
        lag.main(["--to", address, "--listen", address, "--seconds", "1"], {})


@pytest.mark.slow
def test_a_relay_behind_it_answers_a_ping_later(tmp_path: Path) -> None:
    with serving(tmp_path) as relay, lagging(tmp_path, relay.port, "latency=60") as process:
        port = port_of(process)
        done = tickrelay(tmp_path, "ping", f"127.0.0.1:{port}")
        assert done.returncode == 0
        found = re.search(r"round trip ([\d.]+) ms", done.stdout)
        assert found is not None and 115 < float(found[1]) < 1500


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT so")
def test_ctrl_c_ends_it_cleanly_with_the_counts(tmp_path: Path) -> None:
    with open_udp_socket("127.0.0.1", 0) as relay, lagging(tmp_path, relay.getsockname()[1], "up.loss=100") as process:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port_of(process)))
            for _ in range(3):
                client.send(b"hey")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stdout is not None and process.stderr is not None
        lines = process.stdout.read().splitlines()
        assert process.stderr.read() == ""
        found = COUNTS.fullmatch(lines[-1])
        assert found is not None, lines
        num_clients, up_in, up_out, up_lost, *down, num_errors = (int(number) for number in found.groups())
        assert (num_clients, up_out, down, num_errors) == (1, 0, [0, 0], 0)
        assert up_in == up_lost and up_in <= 3


@contextmanager
def lagging(home: Path, relay_port: int, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `tickrelay lag` before a port of this machine until the block ends."""
    command = [sys.executable, "-u", "-m", "tools.cli", "lag", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--to", f"127.0.0.1:{relay_port}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(process: "subprocess.Popen[str]") -> int:
    """The port that it says to point a client at."""
    assert process.stdout is not None
    found = re.search(r"at 127\.0\.0\.1:(\d+)", process.stdout.readline())
    assert found is not None
    return int(found[1])
