"""What the relay costs, when it runs on this machine: CPU time and memory of its process."""

import time
from dataclasses import dataclass

from protocol.constants import DEFAULT_PORT
from tools.process import cpu_seconds, rss_mib


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
        except (OSError, RuntimeError, ValueError, IndexError):
            return None


def find_relay(pid: int | None, port: int = DEFAULT_PORT) -> RelayProcess | None:
    """Find the relay's process: by its number, or by who has the UDP port. None if it is not to be found."""
    pid = _find_owner(port) if pid is None else pid
    process = None if pid is None else RelayProcess(pid)
    return process if process and process.usage() else None


def _find_owner(port: int) -> int | None:
    """Find the process that has a UDP port; None without psutil too."""
    try:
        import psutil
    except ImportError:
        return None
    try:
        found = psutil.net_connections("udp")
    except psutil.Error:
        return None  # the system does not say
    return next((one.pid for one in found if one.laddr and one.laddr.port == port and one.pid), None)
