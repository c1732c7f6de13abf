"""Live capture on Linux: a packet socket, which needs no library, only the right to open one."""

import contextlib
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tools.cli import UsageError
from tools.dump.captures import Frame
from tools.dump.links import RAW_IP

ANY = "any"
"""Instead of an interface: all of them."""
ELSEWHERE = "tcpdump -i INTERFACE -w - udp | tickrelay dump -"
WAIT_S = 0.1
"""What has come so far is shown at least this often."""
MAX_FRAMES = 4096
"""Packets of one look: what comes faster waits in the socket's buffer."""
BUFFER_BYTES = 32 * 1024 * 1024
"""A second of a full gigabit line, should printing stall (chosen); the system may grant less."""
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("II")
"""packets, dropped (struct tpacket_stats, packet(7))."""
_ETH_P_ALL = 3
_OUTGOING = 4
_ARPHRD_LOOPBACK = 772


class NoPrivilege(Exception):
    """The system does not let us capture. The text is the line that is shown."""


class LiveCapture:
    """Packets of an interface from now on."""

    def __init__(self, interface: str, clock: Callable[[], float] = time.time) -> None:
        """Open the socket.

        Args:
            interface: Its name, or "any".
            clock: Seconds since 1970.
        Raises: NoPrivilege; UsageError for an interface that is not there, and on other systems than Linux.
        """
        self._clock = clock
        self.num_lost = 0
        """Packets that the system dropped because we were too slow; complete after `close`."""
        self.trouble = ""
        """The line that tells why `frames` ended early; empty if it did not."""
        self._interface = interface
        if not hasattr(socket, "AF_PACKET") or sys.platform != "linux":
            raise UsageError(f"--live works on Linux only; elsewhere: {ELSEWHERE}")
        try:
            # SOCK_DGRAM: the system takes the link layer off, whatever it is.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        except PermissionError:
            raise NoPrivilege(
                f"capturing needs the right to: run it as root, or use --proxy, or: sudo {ELSEWHERE}"
            ) from None
        except OSError as error:
            raise NoPrivilege(f"cannot capture: {error.strerror}") from None
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            self._socket.setblocking(False)
            if interface != ANY:
                self._socket.bind((interface, _ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            names = ", ".join([name for _, name in socket.if_nameindex()] + [ANY])
            raise UsageError(f"interface is {interface!r}: {error.strerror}; permitted: {names}") from None

    def close(self) -> None:
        """Close the socket."""
        self._count_lost()
        self._socket.close()

    def frames(self, until_s: float | None) -> Iterator[list[Frame]]:
        """Yield what came, a list every WAIT_S or sooner, up to a time of the clock; None for ever.

        It ends, with `trouble`, when the interface goes down.
        """
        while not self.trouble and (until_s is None or self._clock() < until_s):
            select.select([self._socket], [], [], WAIT_S)
            frames: list[Frame] = []
            try:
                while len(frames) < MAX_FRAMES:
                    data, (_, _, packet_type, hardware, _) = self._socket.recvfrom(65_535)
                    # The loopback interface shows every packet twice: on its way out, and in again.
                    if not (packet_type == _OUTGOING and hardware == _ARPHRD_LOOPBACK):
                        frames.append(Frame(self._clock(), RAW_IP, data))
            except BlockingIOError:
                pass
            except OSError as error:
                self.trouble = f"capturing on {self._interface} ended: {error.strerror}"
            yield frames

    def _count_lost(self) -> None:
        with contextlib.suppress(OSError):
            counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
            self.num_lost += _STATISTICS.unpack(counts)[1]


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C or SIGTERM, so that what was seen is still summed up; a second one ends the process as ever.

    Yields: What tells whether one came. Outside the main thread, where signals cannot be caught, none does.
    """
    came: list[int] = []
    before: dict[int, Any] = {}

    def undo() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: object) -> None:
        came.append(number)
        undo()

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):
                before[number] = signal.signal(number, note) or signal.SIG_DFL
        yield lambda: bool(came)
    finally:
        undo()
