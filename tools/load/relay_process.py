"""What the relay costs, when it runs on this machine: CPU time and memory of its process, by psutil."""

import time
from dataclasses import dataclass
from typing import Any

from protocol.constants import DEFAULT_PORT

MIB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """A moment."""

    at: float
    """Monotonic seconds."""
    cpu_s: float
    """User and system time of all threads since the process began."""
    rss_bytes: int


class RelayProcess:
    """A process on this machine that is watched."""

    def __init__(self, process: Any) -> None:
        """Watch a `psutil.Process`."""
        self._process = process

    def usage(self) -> Usage | None:
        """Look at it now; None once it has ended."""
        import psutil

        try:
            times, memory = self._process.cpu_times(), self._process.memory_info()
        except psutil.Error:
            return None
        return Usage(time.monotonic(), times.user + times.system, memory.rss)


def find_relay(pid: int | None, port: int = DEFAULT_PORT) -> RelayProcess | None:
    """Find the relay's process: by its number, or by who has the UDP port. None if it is not to be found."""
    try:
        import psutil
    except ImportError:
        return None
    try:
        if pid is None:
            pid = next(
                (c.pid for c in psutil.net_connections("udp") if c.laddr and c.laddr.port == port and c.pid), None
            )
        return None if pid is None else RelayProcess(psutil.Process(pid))
    except psutil.Error:
        return None  # another user's process, or none
