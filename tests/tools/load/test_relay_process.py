"""Finding the relay's process, and what it costs: here it is this one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.tools.lag.peers import closed_port
from tools.load.relay_process import RelayProcess, find_relay


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_a_process_is_found_by_its_port_and_by_its_number(port: int) -> None:
    pytest.importorskip("psutil")
    for found in (find_relay(None, port), find_relay(os.getpid())):
        assert found is not None
        usage = found.usage()
        assert usage is not None
        assert 0 < usage.cpu_s < 1e5 and 5 < usage.rss_mib < 10_000
        assert usage.at == pytest.approx(time.monotonic(), abs=5)


def test_where_nobody_listens_there_is_none() -> None:
    assert find_relay(None, closed_port()) is None


def test_without_psutil_a_port_is_nobodys_and_a_number_will_do(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert find_relay(None, port) is None
    if sys.platform == "linux":
        assert find_relay(os.getpid()) is not None


def test_a_process_that_has_ended_costs_nothing_more() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watched = RelayProcess(process.pid)
        assert watched.usage() is not None
        process.kill()
        process.wait()
    assert watched.usage() is None
    assert find_relay(process.pid) is None


def test_time_spent_is_counted() -> None:
    watched = RelayProcess(os.getpid())
    before = watched.usage()
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    after = watched.usage()
    assert before is not None and after is not None
    assert 0.02 < after.cpu_s - before.cpu_s < 2.0
