"""What the relay costs, when it runs on this machine: CPU time and memory of its process."""

import time
from dataclasses import dataclass

from protocol.constants import DEFAULT_PORT
from tools.bench.machine import cpu_seconds, rss_mib


@dataclass(frozen=True)
class Usage:
    """A moment."""

    at: float
    """Monotonic seconds."""
    cpu_s: float
    """User and system time of all threads since the process began."""
    rss_mib: float


class RelayProcess:
    """A process on this machine that is watched."""

    def __init__(self, pid: int) -> None:
        """Watch the process of that number."""
        self._pid = pid

    def usage(self) -> Usage | None:
        """Look at it now; None once it has ended."""
        try:
            return Usage(time.monotonic(), cpu_seconds(self._pid), rss_mib(self._pid))
        except (OSError, ValueError, IndexError):
            return None


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
        process = None if pid is None else RelayProcess(pid)
        return process if process and process.usage() else None
    except psutil.Error:
        return None  # another user's process, or none
