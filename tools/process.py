"""What a process of this machine has used: CPU time and memory. From /proc where it is, else by psutil."""

import contextlib
import os
from pathlib import Path
from typing import Any


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process used, user and system, all its threads.

    On Linux the scheduler's own nanoseconds; the times of /proc/PID/stat have steps of 10 ms, a fifth of what an idle
    relay uses in ten seconds. They miss threads that have ended; a relay's live as long as it does.

    Raises: OSError if there is no such process; RuntimeError if neither /proc nor psutil is there.
    """
    folder = Path(f"/proc/{pid}/task")
    if not folder.exists():
        times = _psutil_process(pid).cpu_times()
        return float(times.user + times.system)
    total_ns = 0
    for task in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended just now
            total_ns += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total_ns / 1e9


def rss_mib(pid: int) -> float:
    """Return the memory that a process holds, in MiB. Raises: as `cpu_seconds`."""
    status = Path(f"/proc/{pid}/statm")
    if not status.exists():
        return float(_psutil_process(pid).memory_info().rss) / 2**20
    pages = int(status.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _psutil_process(pid: int) -> Any:
    if Path("/proc/self").exists():
        raise ProcessLookupError(f"there is no process {pid}")
    try:
        import psutil
    except ImportError:
        raise RuntimeError("this system needs psutil for CPU times: install tickrelay[all]") from None
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        raise ProcessLookupError(f"there is no process {pid}") from None
