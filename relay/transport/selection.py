"""Which transport to use: `batch` where the system has it, `asyncio` everywhere else."""

import socket

from relay.transport.base import Receiver, Transport
from relay.transport.libc import find_mmsg_calls

TRANSPORTS = ("auto", "batch", "asyncio")
"""Names that `open_transport` takes."""


def select_transport(name: str) -> str:
    """Turn a name of TRANSPORTS into the transport to use: `auto` is `batch` where libc has its calls.

    Raises: ValueError if the name is unknown, or if `batch` is asked for on a system that does not have it.
    """
    if name not in TRANSPORTS:
        raise ValueError(f"transport is {name!r}; permitted: {', '.join(TRANSPORTS)}")
    has_batch = find_mmsg_calls() is not None
    if name == "batch" and not has_batch:
        raise ValueError("transport is 'batch', which this system does not have (64-bit Linux only); use auto")
    if name == "auto":
        return "batch" if has_batch else "asyncio"
    return name


async def open_transport(name: str, sock: socket.socket, receiver: Receiver) -> Transport:
    """Open the transport of that name on a bound socket, which it then owns."""
    if select_transport(name) == "batch":
        from relay.transport.batch_transport import BatchTransport

        return await BatchTransport.open(sock, receiver)
    from relay.transport.asyncio_transport import AsyncioTransport

    return await AsyncioTransport.open(sock, receiver)
