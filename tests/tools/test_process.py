"""What a process used, asked in both ways."""

import builtins
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import tools.process as process_module
from tools.process import cpu_seconds, rss_mib

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
BURN = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint(flush=True); input()"
THREADS = """
import threading, time
def burn():
    end = time.thread_time() + 0.2
    while time.thread_time() < end: pass
    done.release(); threading.Event().wait()
done = threading.Semaphore(0)
for _ in range(2): threading.Thread(target=burn, daemon=True).start()
done.acquire(); done.acquire(); print(flush=True); input()
"""
HOLD = "print(flush=True); input(); held = b'x' * (64 << 20); print(flush=True); input()"


@contextmanager
def running(code: str) -> Iterator[Callable[[], int]]:
    """Run Python code until the block ends. Yields: goes on to its next line of output; returns its process id."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        num_lines = 0

        def step() -> int:
            nonlocal num_lines
            assert process.stdin is not None and process.stdout is not None
            if num_lines:
                process.stdin.write("\n")
                process.stdin.flush()
            process.stdout.readline()
            num_lines += 1
            return process.pid

        yield step
        process.communicate("\n")


@linux_only
@pytest.mark.parametrize("burnt_s", [0.05, 0.4])
def test_cpu_seconds_are_those_that_a_process_used(burnt_s: float) -> None:
    with running(BURN.format(burnt_s)) as step:
        used = cpu_seconds(step())
    assert burnt_s <= used < burnt_s + 1.0  # and what Python takes to start


@linux_only
def test_all_threads_count() -> None:
    with running(THREADS) as step:
        assert cpu_seconds(step()) >= 0.4


@linux_only
def test_memory_is_what_a_process_holds() -> None:
    with running(HOLD) as step:
        without = rss_mib(step())
        assert 60 < rss_mib(step()) - without < 68


@linux_only
@pytest.mark.parametrize("ask", [cpu_seconds, rss_mib])
def test_a_process_that_is_not_there_is_an_os_error(ask: Any) -> None:
    with pytest.raises(ProcessLookupError):
        ask(2**22 + 1)


def test_where_there_is_no_proc_psutil_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_psutil(name: str, *args: Any, **named: Any) -> Any:
        if name == "psutil":
            raise ImportError(name)
        return real(name, *args, **named)

    monkeypatch.setattr(process_module, "Path", lambda text: SimpleNamespace(exists=lambda: False))
    monkeypatch.setattr(builtins, "__import__", without_psutil)
    with pytest.raises(RuntimeError, match=r"tickrelay\[all\]"):
        cpu_seconds(1)


def test_psutil_gives_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, pid: int) -> None:
            pass

        def cpu_times(self) -> Any:
            return SimpleNamespace(user=1.5, system=0.25)

        def memory_info(self) -> Any:
            return SimpleNamespace(rss=3 << 20)

    monkeypatch.setattr(process_module, "Path", lambda text: SimpleNamespace(exists=lambda: False))
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=Process, NoSuchProcess=KeyError))
    assert (cpu_seconds(1), rss_mib(1)) == (1.75, 3.0)
