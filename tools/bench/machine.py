"""The machine under the ruler: which cores, and kept awake how.

**Cores.** The relay has a core to itself, the load another. Otherwise the load's work would delay ticks, and the
scheduler would move both about. Where cores are threads of one physical core, two that are not are chosen.

**Kept awake.** On each of the two cores a spinner runs while anything is measured: a busy loop of the scheduling class
SCHED_IDLE, which gets a core only while nobody else wants it. Without it an idle core halts, and waking a halted core,
above all a virtual one (an exit to the hypervisor), costs tens of microseconds, part of which is charged to whoever
causes or suffers it. A relay that wakes for every datagram would pay that hundreds of times as often as one that wakes
once a tick, and a row at 64 players far more than one at 4,000, which hardly sleeps: the rows would compare halts. So
all rows are measured on cores that never halt. The absolute figures are those of a busy machine.

Linux only, in the parts that say so; elsewhere they do nothing and `prepare` says what is missing.
"""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

OWN_GROUP = 0
"""For `process_group` of what the bench starts: a Ctrl-C is for the bench alone, which then ends the others.

Not a session of its own: Linux shares a core evenly among sessions (sched_autogroup), whatever the class of what runs
in them. A spinner in another session than the load took half of its core: 4,000 players were held up at 49.9 % CPU."""
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_SPIN = """
import os, sys
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[1]):  # who is killed cannot end its spinners
    for _ in range(100_000):
        pass
"""


@dataclass(frozen=True)
class Cores:
    """Where things run. None: wherever the system puts them."""

    relay: int | None
    load: int | None
    note: str
    """One sentence for the output."""


def choose_cores(available: Sequence[int], siblings_of: Callable[[int], set[int]]) -> Cores:
    """Choose a core for the relay and one for the load.

    Args:
        available: Cores that this process may use; none where the system does not say.
        siblings_of: Tells which cores are threads of the same physical core, itself included.
    """
    if not available:
        return Cores(None, None, "this system does not let processes be put on cores: relay and load share them")
    relay = available[0]
    if len(available) == 1:
        return Cores(relay, relay, "relay and load share the only core: latency is not the relay's, CPU time is")
    others = [core for core in available[1:] if core not in siblings_of(relay)]
    if others:
        return Cores(relay, others[0], f"relay on core {relay}, load on core {others[0]}")
    load = available[1]
    return Cores(relay, load, f"relay on core {relay}, load on core {load}, two threads of one physical core")


def available_cores() -> list[int]:
    """List the cores that this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def thread_siblings(core: int) -> set[int]:
    """Tell which cores are threads of the same physical core; only itself where the system does not say."""
    try:
        text = Path(_SIBLINGS.format(core)).read_text(encoding="ascii")
        return {core, *parse_cpu_list(text)}
    except (OSError, ValueError):
        return {core}


def parse_cpu_list(text: str) -> list[int]:
    """Read a list as Linux writes them: 0,4-6. Raises: ValueError."""
    cores: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cores += range(int(first), int(last or first) + 1)
    return cores


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Let what is started inside inherit a core: so no thread of it ever ran elsewhere."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def kept_awake(cores: Cores) -> Iterator[str]:
    """Keep both cores from halting until the block ends. Yields a sentence that says how, for the output."""
    if not hasattr(os, "SCHED_IDLE") or cores.relay is None or cores.load is None:
        yield "idle cores may halt: this system has no class for idle processes"
        return
    spinners = []
    try:
        for core in sorted({cores.relay, cores.load}):
            with on_core(core):
                command = [sys.executable, "-c", _SPIN, str(os.getpid())]
                spinners.append(subprocess.Popen(command, process_group=OWN_GROUP))
        yield "idle cores are kept from halting by a spinner of class SCHED_IDLE on each, in all rows"
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def describe_machine() -> dict[str, str]:
    """Say on what the figures were measured. No names of hosts or users, no paths."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count() or 0),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "uvloop": _uvloop_version(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _uvloop_version() -> str:
    try:
        import uvloop
    except ImportError:
        return "none"
    return str(uvloop.__version__)
