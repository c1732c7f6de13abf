"""One connected UDP socket of a client, on asyncio."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from relay.transport.sockets import resume_reading, set_buffers

MAX_ADDRESSES = 4
"""Addresses of one host that are asked at the same time: "localhost" may mean ::1, 127.0.0.1 or both."""


class Link(asyncio.DatagramProtocol):
    """One connected UDP socket to one address of the relay."""

    _endpoint: asyncio.DatagramTransport

    @classmethod
    async def open(
        cls, on_datagram: Callable[["Link", bytes], None], on_error: Callable[[], None], family: int, address: Any
    ) -> "Link":
        """Connect a socket, so that the system keeps strangers' datagrams away.

        Args:
            on_datagram: Called with the link and each datagram.
            on_error: Called for each error of the socket, also when a datagram cannot be sent.
            family: AF_INET or AF_INET6.
            address: The relay's, as `getaddrinfo` gives it.
        Raises: OSError.
        """
        loop = asyncio.get_running_loop()
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            set_buffers(sock)
            sock.connect(address)
            _, link = await loop.create_datagram_endpoint(lambda: cls(on_datagram, on_error), sock=sock)
        except BaseException:
            sock.close()
            raise
        return link

    def __init__(self, on_datagram: Callable[["Link", bytes], None], on_error: Callable[[], None]) -> None:
        self._on_datagram = on_datagram
        self._on_error = on_error
        self._is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the loop's transport for sending."""
        self._endpoint = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Pass a datagram on."""
        if not self._is_closed:
            self._on_datagram(self, data)

    def error_received(self, exc: Exception) -> None:
        """Count it and read on: the relay may be about to start, or to come back."""
        self._on_error()
        resume_reading(self._endpoint, asyncio.get_running_loop())

    def send(self, data: bytes) -> None:
        """Send one datagram; if the system cannot, it is lost like any other that gets lost."""
        try:
            self._endpoint.sendto(data)
        except OSError:
            self._on_error()

    def close(self) -> None:
        """Close the socket. May be called twice."""
        self._is_closed = True
        self._endpoint.close()


async def open_links(
    host: str, port: int, on_datagram: Callable[[Link, bytes], None], on_error: Callable[[], None]
) -> list[Link]:
    """Connect a socket to each address of a host; at least one. `on_datagram`, `on_error`: as for `Link.open`.

    Raises: OSError if the host is unknown or the machine has no network.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    links: list[Link] = []
    problem: OSError | None = None
    for family, _, _, _, address in found[:MAX_ADDRESSES]:
        try:
            links.append(await Link.open(on_datagram, on_error, family, address))
        except OSError as error:
            problem = error  # no route in this family; another may have one
        except BaseException:  # cancelled: nobody wants them any more
            for link in links:
                link.close()
            raise
    if not links:
        raise problem or OSError(f"{host} has no address")
    return links
