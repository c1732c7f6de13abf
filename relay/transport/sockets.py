"""Opening the relay's UDP socket: IPv4 and IPv6 in one, large buffers, and what differs between systems."""

import contextlib
import errno
import socket
import sys
from typing import Any

BUFFER_BYTES = 4 * 1024 * 1024
"""Asked of the kernel in both directions: 5,000 small datagrams (about 768 bytes each with their bookkeeping) arrive
between two ticks of 4,000 players, more in bursts. Linux grants at most net.core.rmem_max and wmem_max."""

_SO_EXCLUSIVEADDRUSE = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
"""Windows only: without it a second process could take over the port unnoticed."""


def open_udp_socket(host: str | None, port: int) -> socket.socket:
    """Bind a non-blocking UDP socket.

    Args:
        host: A name or numeric address; None for all IPv4 and IPv6 addresses in one dual-stack socket, or all of
            IPv4 where the system has no IPv6.
        port: UDP port; 0 lets the system choose.
    Raises: OSError (port in use, no such address); socket.gaierror if the name is unknown.
    """
    if host is None:
        sock = _open_dual_stack(port) or _bind(socket.AF_INET, ("0.0.0.0", port))
    else:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        sock = _bind(family, address)
    sock.setblocking(False)
    set_buffers(sock)
    return sock


def _open_dual_stack(port: int) -> socket.socket | None:
    """Bind all addresses of both families, or return None where there is no IPv6."""
    try:
        return _bind(socket.AF_INET6, ("::", port), dual=True)
    except OSError as error:
        # Only a missing IPv6 is a reason to go on with IPv4. A taken port must be told, not evaded.
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
            return None
        raise


def _bind(family: int, address: Any, *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        if _SO_EXCLUSIVEADDRUSE is not None:
            sock.setsockopt(socket.SOL_SOCKET, _SO_EXCLUSIVEADDRUSE, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def set_buffers(sock: socket.socket) -> None:
    """Ask for large buffers; a system that grants less is not an error, `buffer_bytes` tells what it granted."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)


def buffer_bytes(sock: socket.socket) -> tuple[int, int]:
    """Return the sizes that the system granted, (receive, send), in the unit in which they are asked for.

    Linux doubles what it is asked for, to have room for its bookkeeping, and reports the double (socket(7)).
    """
    share = 2 if sys.platform == "linux" else 1
    receive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    send = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return receive // share, send // share


def resume_reading(endpoint: Any, loop: Any) -> None:
    """Make an asyncio datagram transport read on after an error, where the loop does not do so itself.

    Windows reports the ICMP answer to a datagram whose receiver has gone as ConnectionResetError of the next receive,
    and the Proactor loop then calls `error_received` and never reads again (CPython issue 127057; mended only in
    later releases). This starts its read loop again, as the mended releases do. Other loops read on by themselves.
    """
    if not hasattr(endpoint, "_loop_reading"):
        return

    def read_on() -> None:
        # A release that reads on by itself has done so by now.
        if endpoint._read_fut is None and not endpoint.is_closing():
            endpoint._loop_reading()

    loop.call_soon(read_on)
