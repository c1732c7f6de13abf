"""Cores, spinners, and what a process used."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.bench import machine
from tools.bench.machine import (
    Cores,
    available_cores,
    choose_cores,
    describe_machine,
    kept_awake,
    on_core,
    parse_cpu_list,
    thread_siblings,
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="cores and /proc are Linux's")


def alone(core: int) -> set[int]:
    return {core}


def test_relay_and_load_get_a_core_each() -> None:
    cores = choose_cores([2, 5, 7], alone)
    assert (cores.relay, cores.load) == (2, 5)
    assert "core 2" in cores.note and "core 5" in cores.note


def test_two_threads_of_one_core_are_avoided() -> None:
    pairs = {0: {0, 1}, 1: {0, 1}, 2: {2, 3}, 3: {2, 3}}
    assert choose_cores([0, 1, 2, 3], pairs.__getitem__).load == 2


def test_two_threads_of_one_core_are_told_where_there_is_nothing_else() -> None:
    cores = choose_cores([0, 1], lambda core: {0, 1})
    assert (cores.relay, cores.load) == (0, 1)
    assert "one physical core" in cores.note


def test_a_single_core_is_told() -> None:
    cores = choose_cores([3], alone)
    assert (cores.relay, cores.load) == (3, 3)
    assert "only core" in cores.note


def test_a_system_without_cores_to_choose_is_told() -> None:
    cores = choose_cores([], alone)
    assert (cores.relay, cores.load) == (None, None)
    assert "does not let" in cores.note


@pytest.mark.parametrize(
    ("text", "cores"), [("0\n", [0]), ("0-3\n", [0, 1, 2, 3]), ("0,4-6,9\n", [0, 4, 5, 6, 9]), ("7,3", [7, 3])]
)
def test_lists_of_cores_are_read(text: str, cores: list[int]) -> None:
    assert parse_cpu_list(text) == cores


def test_a_core_is_always_its_own_sibling() -> None:
    assert thread_siblings(0) >= {0}
    assert thread_siblings(1_000_000) == {1_000_000}


@linux_only
def test_what_is_started_on_a_core_stays_there() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with on_core(core):
        shown = subprocess.run(
            [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert shown.split() == [str(core)]
    assert os.sched_getaffinity(0) == before
    with on_core(None):
        assert os.sched_getaffinity(0) == before


def children() -> set[int]:
    found = set()
    for folder in Path("/proc/self/task").iterdir():
        found |= {int(word) for word in (folder / "children").read_text(encoding="ascii").split()}
    return found


@linux_only
def test_spinners_are_of_the_idle_class_on_their_cores_and_end() -> None:
    cores = choose_cores(available_cores(), alone)
    before = children()
    with kept_awake(cores) as how:
        assert "SCHED_IDLE" in how
        spinners = children() - before
        assert len(spinners) == len({cores.relay, cores.load})
        deadline = time.monotonic() + 10
        while {os.sched_getscheduler(pid) for pid in spinners} != {os.SCHED_IDLE}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert {core for pid in spinners for core in os.sched_getaffinity(pid)} == {cores.relay, cores.load}
    assert not children() & spinners


@linux_only
def test_a_spinner_ends_with_whoever_started_it() -> None:
    code = (
        "import os; from tools.bench.machine import *\n"
        "with kept_awake(Cores(0, 0, '')):\n"
        "    print(open('/proc/self/task/%d/children' % os.getpid()).read(), flush=True); input()\n"
    )
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", code.replace("Cores(0, 0", f"Cores({core}, {core}")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_the_idle_class_nothing_spins_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "os", SimpleNamespace())
    with kept_awake(Cores(0, 1, "")) as how:
        assert "may halt" in how


def test_the_machine_is_described_without_names_and_paths() -> None:
    described = describe_machine()
    assert set(described) == {"cpu", "cores", "kernel", "python", "numpy", "uvloop"}
    assert all(text and "/" not in text.replace("CPU @", "") for text in described.values())
    assert int(described["cores"]) >= 1
