"""Link: one connected socket of a client; what goes wrong is counted by its owner."""

import asyncio
import socket

import pytest

from relay.transport.link import Link
from tests.loopback.relays import run, until
from tests.relay.transport.doubles import client_socket


class Owner:
    """Who has a link, and what it heard of it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.num_errors = 0

    def on_datagram(self, link: Link, data: bytes) -> None:
        self.heard.append(data)

    def on_error(self) -> None:
        self.num_errors += 1

    async def link_to(self, peer: socket.socket) -> Link:
        return await Link.open(self.on_datagram, self.on_error, socket.AF_INET, peer.getsockname())


def test_datagrams_go_both_ways_until_it_is_closed() -> None:
    async def main() -> None:
        owner = Owner()
        with client_socket("127.0.0.1") as peer:
            peer.setblocking(False)
            link = await owner.link_to(peer)
            link.send(b"there")
            data, address = await asyncio.get_running_loop().sock_recvfrom(peer, 100)
            peer.sendto(b"back", address)
            await until(lambda: owner.heard == [b"back"])
            link.close()
            link.close()
            link.datagram_received(b"late", address)
            assert data == b"there" and owner.heard == [b"back"] and owner.num_errors == 0

    run(main)


def test_a_datagram_that_cannot_be_sent_is_counted() -> None:
    class Broken:
        def sendto(self, data: bytes) -> None:
            raise OSError("no route")

    async def main() -> None:
        owner = Owner()
        with client_socket("127.0.0.1") as peer:
            link = await owner.link_to(peer)
            real, link._endpoint = link._endpoint, Broken()  # type: ignore[assignment]
            link.send(b"x")
            link._endpoint = real
            link.close()
            assert owner.num_errors == 1

    run(main)


def test_an_error_of_the_socket_is_counted_and_reading_goes_on() -> None:
    async def main() -> None:
        owner = Owner()
        with client_socket("127.0.0.1") as peer:
            link = await owner.link_to(peer)
            link.error_received(ConnectionResetError(10054, "reset"))
            link.send(b"there")
            peer.setblocking(False)
            _, address = await asyncio.get_running_loop().sock_recvfrom(peer, 100)
            peer.sendto(b"back", address)
            await until(lambda: owner.heard == [b"back"])
            link.close()
            assert owner.num_errors == 1

    run(main)


def test_an_address_that_cannot_be_reached_raises_and_leaves_no_socket() -> None:
    async def main() -> None:
        owner = Owner()
        with pytest.raises(OSError):
            await Link.open(owner.on_datagram, owner.on_error, socket.AF_INET, ("255.255.255.255", 9))
        assert owner.num_errors == 0

    run(main)
