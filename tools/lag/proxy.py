"""A UDP proxy with a bad network inside.

    client ──▶ listening socket ─▶ tamper ─▶ Links up ─▶ queue ─▶ the client's own upstream socket ──▶ relay
    client ◀── listening socket ◀─ queue ◀─ Links down ◀─ tamper ◀─ the client's own upstream socket ◀── relay

Each client address has an upstream socket of its own, so the relay sees one address per client, as it would without
the proxy. To give a client another upstream socket is what a NAT does that forgets: the relay sees the address change.
Everything runs on the loop's thread. A datagram's fate is decided when it comes; the queues hold it until it is due.
"""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from relay.transport.sockets import open_udp_socket, resume_reading, set_buffers
from tools.lag.conditions import Conditions, Path
from tools.lag.link import DelayQueue, Links

MAX_CLIENTS = 256
"""Client addresses at one time: the largest room. Beyond it newcomers get nothing until somebody was idle (chosen)."""
IDLE_S = 30.0
"""A client that was silent for this long is forgotten. The relay forgot it after 10 s (default of timeout_s)."""
MAX_QUEUED = 16_384
"""Datagrams under way in each direction, the newest dropped: 256 clients, 60 a second each, on a line with 1 s."""
MAX_WAITING = 64
"""Datagrams that wait for a client's upstream socket to be opened, which takes less than a millisecond."""
MAX_WRITE_BUFFER_BYTES = 1024 * 1024
"""Bytes that the loop may hold for a full socket before datagrams are dropped, as in the relay's own transport."""
MAX_HOUSEKEEPING_S = 1.0
"""Time between looks for idle clients and due rebinds. On Windows it is also when Ctrl-C is noticed on an idle loop."""
REBIND_LOOKS = 4
"""Looks per period of rebinding, where periods are short."""
EARLY_S = 0.001
"""A timer may fire this much before its time (uvloop has steps of 1 ms)."""

Tamper = Callable[[bytes, bool], list[bytes]]
"""Called with a datagram and whether it goes up (to the relay); returns what goes on instead: none, one or several."""


@dataclass(eq=False, slots=True)
class _Client:
    """One client address and what belongs to it."""

    address: Any
    lane: int
    """Of the Links of both directions."""
    heard_at: float
    """When its newest datagram came, monotonic seconds."""
    rebind_at: float
    """When it gets its next upstream socket, monotonic seconds."""
    upstream: "_Endpoint | None" = None
    """None until it is open."""
    waiting: list[bytes] = field(default_factory=list)
    """Due datagrams for an upstream socket that is not open yet."""
    is_gone: bool = False


class _Direction:
    """One direction of all clients: what happens to their datagrams, and those that are under way."""

    def __init__(self, conditions: Conditions, num_lanes: int, rng: np.random.Generator) -> None:
        self.links = Links([conditions] * num_lanes, rng)
        self.queue: DelayQueue[tuple[_Client, bytes]] = DelayQueue(MAX_QUEUED)

    def carry(self, client: _Client, datagrams: Sequence[bytes], now: float) -> None:
        """Send datagrams of one client on their way."""
        lane = np.full(len(datagrams), client.lane, np.int64)
        size_bytes = np.array([len(data) for data in datagrams], np.int64)
        which, due = self.links.carry(lane, size_bytes, now)
        self.queue.push(due, [(client, datagrams[row]) for row in which.tolist()])


class LagProxy:
    """A proxy for UDP. Use it with `async with`, or call `start` and `close`."""

    def __init__(
        self,
        upstream: tuple[str, int],
        path: Path,
        *,
        listen: tuple[str | None, int] = ("127.0.0.1", 0),
        seed: int | None = None,
        rebind_every_s: float | None = None,
        tamper: Tamper | None = None,
        max_clients: int = MAX_CLIENTS,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build a proxy that does not listen yet.

        Args:
            upstream: Name or address, and port, of the relay. Of a name with addresses of both families IPv4 is taken.
            path: Conditions of every client; `set_path` changes them.
            listen: Where clients are to send to; None for all addresses, port 0 lets the system choose.
            seed: Of all chance; None for another each time. The same seed gives the same fates to the same datagrams
                in the same order; clients share one source, so their order counts too.
            rebind_every_s: Every client gets a new upstream port so often, above 0; None for never.
            tamper: Changes datagrams before anything else happens to them; for tests. What it raises is not caught.
            max_clients: Client addresses at one time, 1 or more.
            idle_s: Silence after which a client is forgotten, above 0.
            clock: Monotonic seconds.
        Raises: ValueError naming the argument and what is permitted.
        """
        if max_clients < 1:
            raise ValueError(f"max_clients is {max_clients}; permitted: 1 or more")
        for name, value in (("idle_s", idle_s), ("rebind_every_s", rebind_every_s)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; permitted: above 0")
        up_seed, down_seed = np.random.SeedSequence(seed).spawn(2)
        self._up = _Direction(path.up, max_clients, np.random.default_rng(up_seed))
        self._down = _Direction(path.down, max_clients, np.random.default_rng(down_seed))
        self.counters: Counter[str] = Counter()
        """Datagrams: up_received, up_sent, down_received, down_sent; refused (no room for another client), gone (their
        client was forgotten meanwhile), send_overflow. Others: icmp_errors, socket_errors, rebinds, forgotten (idle
        clients), upstream_failed (no socket to be had). What Links count is in `up` and `down`."""
        self._upstream_name = upstream
        self._upstream: tuple[int, Any] = (socket.AF_INET, upstream)
        self._listen_on = listen
        self._rebind_every_s = float("inf") if rebind_every_s is None else rebind_every_s
        self._tamper = tamper
        self._idle_s = idle_s
        self._clock = clock
        self._clients: dict[Any, _Client] = {}
        self._free_lanes = list(range(max_clients))[::-1]
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: _Endpoint | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    # --- its life

    async def __aenter__(self) -> Self:
        """Begin. Raises: as `start`."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""
        await self.close()

    async def start(self) -> None:
        """Bind the port and begin to forward.

        Raises: socket.gaierror for an unknown name, of the relay or of ours; OSError if the port is in use; ValueError
            if the relay's address is our own, for then a datagram would run in circles.
        """
        self._upstream = await _find_address(*self._upstream_name)
        sock = open_udp_socket(*self._listen_on)
        try:
            if _is_same(self._upstream[1], sock.getsockname()):
                raise ValueError(f"upstream is {self._upstream_name}; permitted: another address than our own")
            self._listener = await _Endpoint.open(sock, self._on_client_datagram, self._on_error)
        except BaseException:
            sock.close()
            raise
        self._spawn(self._keep_house())

    async def close(self) -> None:
        """Close every socket; what is under way gets lost. May be called twice."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for client in list(self._clients.values()):
            self._forget(client)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await asyncio.sleep(0)  # a loop closes sockets at its next turn

    @property
    def address(self) -> tuple[str, int]:
        """Where clients are to send to: (address, port). Raises: RuntimeError before `start`."""
        if self._listener is None:
            raise RuntimeError("not listening; call start() or use 'async with'")
        host, port = self._listener.sockname[:2]
        return host, port

    @property
    def upstream(self) -> tuple[str, int]:
        """Where datagrams go on to: (address, port), numeric after `start`."""
        host, port = self._upstream[1][:2]
        return host, port

    @property
    def clients(self) -> list[Any]:
        """Addresses of all clients, as the system gives them, the longest known first."""
        return list(self._clients)

    @property
    def up(self) -> Counter[str]:
        """Fates on the way to the relay: see Links.counters; what found no room in our own queue is "queue_full"."""
        return _fates(self._up)

    @property
    def down(self) -> Counter[str]:
        """Fates on the way to the clients."""
        return _fates(self._down)

    def set_path(self, path: Path) -> None:
        """Change the conditions of every client, now and later. What is under way stays under way."""
        for direction, conditions in ((self._up, path.up), (self._down, path.down)):
            for lane in range(direction.links.num_lanes):
                direction.links.set_lane(lane, conditions)

    async def rebind(self, client: Any) -> int:
        """Give a client a new upstream socket and close the old one: the relay sees its address change.

        Args:
            client: Its address, one of `clients`.
        Returns: the new port.
        Raises: ValueError for an address that is no client's; OSError if there is no socket to be had.
        """
        if client not in self._clients:
            raise ValueError(f"client is {client!r}; permitted: one of {len(self._clients)} in clients")
        return int((await self._open_upstream(self._clients[client])).sockname[1])

    # --- clients

    def _admit(self, address: Any, now: float) -> _Client | None:
        """Make room for a new client and open its upstream socket. Returns None, counted, if we have too many."""
        if not self._free_lanes:
            self.counters["refused"] += 1
            return None
        client = _Client(address, self._free_lanes.pop(), now, now + self._rebind_every_s)
        for direction in (self._up, self._down):
            direction.links.clear_lane(client.lane)
        self._clients[address] = client
        self._spawn(self._try_upstream(client))
        return client

    def _forget(self, client: _Client) -> None:
        client.is_gone = True
        del self._clients[client.address]
        self._free_lanes.append(client.lane)
        if client.upstream is not None:
            client.upstream.close()

    async def _try_upstream(self, client: _Client) -> None:
        """Open a client's upstream socket; without one the client is forgotten, and its next datagram tries again."""
        try:
            await self._open_upstream(client)
        except OSError:
            self.counters["upstream_failed"] += 1
            if client.upstream is None and not client.is_gone:
                self._forget(client)

    async def _open_upstream(self, client: _Client) -> "_Endpoint":
        """Connect a socket, so that the system keeps strangers' datagrams away. Raises: OSError."""
        family, address = self._upstream
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            set_buffers(sock)
            sock.connect(address)
            opened = await _Endpoint.open(
                sock, lambda data, _: self._on_relay_datagram(client, opened, data), self._on_error
            )
        except BaseException:
            sock.close()
            raise
        old, client.upstream = client.upstream, opened
        if client.is_gone:
            opened.close()
        elif old is not None:
            self.counters["rebinds"] += 1
            old.close()
        waiting, client.waiting = client.waiting, []
        for data in waiting:
            self._send_up(client, data)
        return opened

    async def _keep_house(self) -> None:
        """Forget idle clients and rebind those whose time has come, until cancelled."""
        while True:
            now = self._clock()
            for client in list(self._clients.values()):
                if now - client.heard_at > self._idle_s:
                    self.counters["forgotten"] += 1
                    self._forget(client)
                elif now >= client.rebind_at:
                    client.rebind_at = now + self._rebind_every_s
                    self._spawn(self._try_upstream(client))
            await asyncio.sleep(min(MAX_HOUSEKEEPING_S, self._rebind_every_s / REBIND_LOOKS))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps tasks by weak references only
        task.add_done_callback(self._tasks.discard)

    # --- datagrams

    def _on_client_datagram(self, data: bytes, address: Any) -> None:
        now = self._clock()
        client = self._clients.get(address) or self._admit(address, now)
        if client is None:
            return
        client.heard_at = now
        self.counters["up_received"] += 1
        self._up.carry(client, [data] if self._tamper is None else self._tamper(data, True), now)
        self._deliver()

    def _on_relay_datagram(self, client: _Client, upstream: "_Endpoint", data: bytes) -> None:
        # After a rebind the old port is nobody's: what still comes there is lost, as at a NAT.
        if client.upstream is not upstream:
            return
        self.counters["down_received"] += 1
        self._down.carry(client, [data] if self._tamper is None else self._tamper(data, False), self._clock())
        self._deliver()

    def _deliver(self) -> None:
        """Send what is due, in both directions, and set the timer for what is next."""
        now = self._clock() + EARLY_S
        for client, data in self._up.queue.pop_due(now):
            self._send_up(client, data)
        for client, data in self._down.queue.pop_due(now):
            self._send_down(client, data)
        self._set_timer()

    def _send_up(self, client: _Client, data: bytes) -> None:
        if client.is_gone:
            self.counters["gone"] += 1
        elif client.upstream is not None:
            self._count_send(client.upstream.send(data, None), "up_sent")
        elif len(client.waiting) < MAX_WAITING:
            client.waiting.append(data)
        else:
            self.counters["send_overflow"] += 1

    def _send_down(self, client: _Client, data: bytes) -> None:
        if client.is_gone or self._listener is None:
            self.counters["gone"] += 1
        else:
            self._count_send(self._listener.send(data, client.address), "down_sent")

    def _count_send(self, problem: str | None, counter: str) -> None:
        self.counters[problem or counter] += 1

    def _set_timer(self) -> None:
        at = min(self._up.queue.next_due(), self._down.queue.next_due())
        if self._timer is not None:
            if self._timer_at == at:
                return
            self._timer.cancel()
            self._timer = None
        if at < float("inf"):
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._deliver()

    def _on_error(self, error: Exception) -> None:
        """Count what the system reported: an ICMP answer that nobody listens, or else."""
        self.counters["icmp_errors" if isinstance(error, ConnectionError) else "socket_errors"] += 1


class _Endpoint(asyncio.DatagramProtocol):
    """One UDP socket on the loop."""

    _transport: Any
    """The loop's; asyncio types what it can do in two halves."""

    @classmethod
    async def open(
        cls, sock: socket.socket, on_datagram: Callable[[bytes, Any], None], on_error: Callable[[Exception], None]
    ) -> Self:
        """Take over a socket and begin to receive. Raises: OSError."""
        sockname = sock.getsockname()
        loop = asyncio.get_running_loop()
        _, endpoint = await loop.create_datagram_endpoint(lambda: cls(sockname, on_datagram, on_error), sock=sock)
        return endpoint

    def __init__(
        self, sockname: Any, on_datagram: Callable[[bytes, Any], None], on_error: Callable[[Exception], None]
    ) -> None:
        self.sockname = sockname
        """Our own address, as the system gives it."""
        self._on_datagram = on_datagram
        self._on_error = on_error
        self._is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the loop's transport for sending."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Pass a datagram on."""
        if not self._is_closed:
            self._on_datagram(data, addr)

    def error_received(self, exc: Exception) -> None:
        """Count it and read on: the relay may be about to start, or to come back."""
        self._on_error(exc)
        resume_reading(self._transport, asyncio.get_running_loop())

    def send(self, data: bytes, address: Any) -> str | None:
        """Send one datagram, to an address or, None, where the socket is connected to.

        Returns: None if the loop took it, otherwise the name of the counter for what went wrong.
        """
        if self._is_closed or self._transport.get_write_buffer_size() > MAX_WRITE_BUFFER_BYTES:
            return "send_overflow"
        try:
            self._transport.sendto(data, address)
        except (OSError, ValueError):
            # uvloop raises what the stock loop reports to error_received.
            return "socket_errors"
        return None

    def close(self) -> None:
        """Close the socket. May be called twice."""
        self._is_closed = True
        self._transport.close()


async def _find_address(host: str, port: int) -> tuple[int, Any]:
    """Look a name up. Returns: (family, address), IPv4 if there is one. Raises: socket.gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, address


def _is_same(upstream: Any, own: Any) -> bool:
    """Tell whether to send to the one address is to send to the other."""
    if upstream[1] != own[1]:
        return False
    with contextlib.suppress(ValueError):  # a scope behind an address is not understood everywhere
        theirs, ours = ipaddress.ip_address(upstream[0]), ipaddress.ip_address(own[0])
        return theirs == ours or (ours.is_unspecified and (theirs.is_loopback or theirs.is_unspecified))
    return bool(upstream[0] == own[0])


def _fates(direction: _Direction) -> Counter[str]:
    return direction.links.counters + Counter({"queue_full": direction.queue.num_overflowed})
