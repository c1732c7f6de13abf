"""What a process used, asked in both ways."""

import builtins
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import tools.process as process_module
from tools.process import cpu_seconds, rss_mib

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
BURN = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint(flush=True); input()"


@linux_only
@pytest.mark.parametrize("burnt_s", [0.05, 0.4])
def test_cpu_seconds_are_those_that_a_process_used(burnt_s: float) -> None:
    command = [sys.executable, "-c", BURN.format(burnt_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = cpu_seconds(process.pid)
        process.communicate("\n")
    assert burnt_s <= used < burnt_s + 1.0  # and what Python takes to start


@linux_only
def test_all_threads_count() -> None:
    code = (
        "import threading, time\n"
        "def burn():\n"
        "    end = time.thread_time() + 0.2\n"
        "    while time.thread_time() < end: pass\n"
        "    done.release(); threading.Event().wait()\n"
        "done = threading.Semaphore(0)\n"
        "for _ in range(2): threading.Thread(target=burn, daemon=True).start()\n"
        "done.acquire(); done.acquire(); print(flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert cpu_seconds(process.pid) >= 0.4
        process.communicate("\n")


@linux_only
def test_memory_is_what_a_process_holds() -> None:
    held = bytearray(os.urandom(1)) * (64 << 20)
    with_it = rss_mib(os.getpid())
    del held
    assert 60 < with_it - rss_mib(os.getpid()) < 68


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
