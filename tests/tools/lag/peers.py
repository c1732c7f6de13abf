"""Plain UDP programs on both sides of a proxy."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.loopback.relays import until


class Peer(asyncio.DatagramProtocol):
    """A socket that keeps what it receives. With `echo` it sends each datagram back."""

    endpoint: Any

    def __init__(self, echo: bool) -> None:
        self.echo = echo
        self.received: list[tuple[bytes, Any]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the loop's transport."""
        self.endpoint = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Keep one, and perhaps answer it."""
        self.received.append((data, addr))
        if self.echo:
            self.endpoint.sendto(data, addr)

    @property
    def port(self) -> int:
        """Our own."""
        port: int = self.endpoint.get_extra_info("sockname")[1]
        return port

    @property
    def datagrams(self) -> list[bytes]:
        """What was received, without from where."""
        return [data for data, _ in self.received]

    @property
    def ports(self) -> list[int]:
        """From which ports, each once, in the order of their first datagram."""
        return list(dict.fromkeys(address[1] for _, address in self.received))

    def send(self, *datagrams: bytes) -> None:
        """Send to the address that this peer was connected to."""
        for data in datagrams:
            self.endpoint.sendto(data)

    async def hears(self, num: int) -> list[bytes]:
        """Wait until so many datagrams have come. Returns: all of them."""
        await until(lambda: len(self.received) >= num)
        return self.datagrams


@asynccontextmanager
async def echo_server(host: str = "127.0.0.1", port: int = 0, echo: bool = True) -> AsyncIterator[Peer]:
    """Run a server that sends everything back, until the block ends."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Peer(echo), local_addr=(host, port))
    try:
        yield server
    finally:
        transport.close()


@asynccontextmanager
async def client_of(address: tuple[str, int]) -> AsyncIterator[Peer]:
    """Open a client's socket, connected to an address, until the block ends."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(lambda: Peer(echo=False), remote_addr=address)
    try:
        yield client
    finally:
        transport.close()


def closed_port() -> int:
    """Find a port on which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
