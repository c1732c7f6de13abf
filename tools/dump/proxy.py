"""Proxy mode: the proxy of `tickrelay lag` without a bad network, and a look at whatever passes through it.

It needs no privilege: the game is pointed at it instead of the relay. All clients speak to its one socket, so a
datagram's client shows by its session and not by its address.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from ipaddress import ip_address

from tools.dump.datagrams import NOWHERE, Datagram, Direction, Endpoint, Flow
from tools.lag.conditions import Path
from tools.lag.proxy import LagProxy

SHOW_EVERY_S = 0.05
"""What has passed is shown this often: not at once, or printing would delay the game."""
MAX_WAITING = 65_536
"""Datagrams that wait to be shown; more are passed on unseen and counted."""


class WatchingProxy:
    """Passes on and remembers. Use it with `async with`."""

    def __init__(
        self, upstream: tuple[str, int], listen: tuple[str | None, int], clock: Callable[[], float] = time.time
    ) -> None:
        """Build a proxy that does not listen yet.

        Args:
            upstream: Name or address, and port, of the relay.
            listen: Where the game is to send to.
            clock: Seconds since 1970.
        """
        self.proxy = LagProxy(upstream, Path(), listen=listen, tamper=self._watch)
        self._clock = clock
        self._waiting: list[Datagram] = []
        self.num_datagrams = 0
        self.num_unseen = 0
        """Passed on without being shown, for too many waited."""
        self._flows: dict[bool, Flow] = {}

    async def __aenter__(self) -> "WatchingProxy":
        """Begin. Raises: as LagProxy.start."""
        await self.proxy.start()
        host, port = self.proxy.upstream
        relay = Endpoint(ip_address(host.partition("%")[0]).packed, port)
        self._flows = {True: Flow(NOWHERE, relay), False: Flow(relay, NOWHERE)}
        self._flows[True].learn(Direction.UP)
        self._flows[False].learn(Direction.DOWN)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        await self.proxy.close()

    def _watch(self, data: bytes, is_up: bool) -> list[bytes]:
        self.num_datagrams += 1
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(Datagram(self.num_datagrams, self._clock(), self._flows[is_up], data))
        else:
            self.num_unseen += 1
        return [data]

    async def watch(self, show: Callable[[list[Datagram]], None], stop: asyncio.Event, seconds: float | None) -> None:
        """Hand on what passes, until stopped or for some seconds."""
        end_s = None if seconds is None else self._clock() + seconds
        while not stop.is_set() and (end_s is None or self._clock() < end_s):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), SHOW_EVERY_S)
            waiting, self._waiting = self._waiting, []
            show(waiting)
