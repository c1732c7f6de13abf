"""Lists of rooms on asyncio, before joining one of them.

    found = await list_rooms("relay.example.org", game="org.example.kart", only_open=True)
    for room in found.rooms:
        print(room.code, room.name, room.players, room.max_players)

A thin shell around `protocol.client.Listing`, as `RelayClient` is one around `ClientConnection`.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from protocol.client import Listing, ListRequest, Refused, RoomList, Value
from protocol.constants import DEFAULT_PORT
from relay.client import NO_PROPERTIES, ConnectTimeout, JoinRefused
from relay.transport.link import Link, open_links


async def list_rooms(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    game: str = "",
    version: str = "",
    tags: Sequence[str] = (),
    properties: Mapping[str, Value] = NO_PROPERTIES,
    only_open: bool = False,
    max_rooms: int = 1000,
    deadline_s: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> RoomList:
    """Ask a relay for the rooms that its hosts list, page by page to the end.

    Args:
        host: Name or address of the relay.
        port: UDP port of the relay.
        game: Which game, as given when joining; rooms of others are not listed.
        version: Only rooms of this version of it; empty: of any.
        tags: Only rooms that have all of these.
        properties: Only rooms that have all of these.
        only_open: Only rooms with a free place that are not locked.
        max_rooms: Stop after so many, 1 to 10,000.
        deadline_s: Give up when no page came for so many seconds.
        clock: Monotonic seconds.
    Raises: ValueError naming the argument and what is permitted; ConnectTimeout when nothing answers; JoinRefused;
        OSError if the host is unknown or the machine has no network.
    """
    request = ListRequest(
        game=game,
        version=version,
        tags=tags,
        properties=properties,
        only_open=only_open,
        max_rooms=max_rooms,
        deadline_s=deadline_s,
    )
    listing = Listing(request, secrets.randbits(64), clock())
    result = await _Asking(listing, clock).ask(host, port)
    if result is None:
        raise ConnectTimeout(
            f"{host}, UDP port {port}: no list within {deadline_s:g} s: is the relay running, and is UDP open in its "
            "firewall?"
        )
    if isinstance(result, Refused):
        raise JoinRefused(result.reason, result.text)
    return result


class _Asking:
    """One question over its own sockets."""

    def __init__(self, listing: Listing, clock: Callable[[], float]) -> None:
        self._listing = listing
        self._clock = clock
        self._links: list[Link] = []
        self._came = asyncio.Event()

    async def ask(self, host: str, port: int) -> RoomList | Refused | None:
        """Ask until there is an answer. Returns: None if none came in time."""
        listing = self._listing
        self._links = await open_links(host, port, self._datagram_received, lambda: None)
        try:
            while listing.result is None and not listing.is_late(self._clock()):
                for datagram in listing.poll(self._clock()):
                    for link in self._links:
                        link.send(datagram)
                self._came.clear()
                wait_s = max(0.0, listing.next_at() - self._clock())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._came.wait()
            return listing.result
        finally:
            for link in self._links:
                link.close()

    def _datagram_received(self, link: Link, data: bytes) -> None:
        is_first = not self._listing.has_answer
        self._listing.receive(data, self._clock())
        if is_first and self._listing.has_answer:  # the cookie is good for no other address
            for other in self._links:
                if other is not link:
                    other.close()
            self._links = [link]
        self._came.set()
