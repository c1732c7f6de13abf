"""The Python client on asyncio.

    async with RelayClient("127.0.0.1", code="LOBBY", name="Ada") as client:
        client.publish(0, b"where I am")
        client.send_message(b"hello, everybody")
        async for event in client:
            print(event)

A thin shell: one connected UDP socket and one timer around `protocol.client.ClientConnection`, which knows the rest.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self

from protocol.client import (
    ANYTHING,
    Anything,
    ByeReason,
    ClientConnection,
    ClientState,
    Disconnected,
    Event,
    JoinMode,
    JoinRequest,
    Refused,
    ResumeToken,
    StateChanged,
    Target,
    Value,
)
from protocol.constants import DEFAULT_PORT
from relay.client_errors import ConnectTimeout as ConnectTimeout
from relay.client_errors import JoinRefused as JoinRefused
from relay.eventqueue import EventQueue
from relay.transport.link import Link, open_links

EARLY_S = 0.001
"""A timer may fire this much before its time (uvloop has steps of 1 ms)."""
REOPEN_S = 5.0
"""While the connection is lost, fresh sockets replace the old ones this often: another network has other addresses
(chosen: longer than a join takes on a slow path, so that answers find their socket)."""
NO_PROPERTIES: Mapping[str, Value] = MappingProxyType({})
FLUSH_S = 1.0
"""How long leaving waits for what was sent last; a round trip is enough unless something got lost."""
_NOT_TOLD_ALL = "the relay let us in, but did not tell us all of the room within {:g} s: is the network very slow?"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The table as it was when a change arrived."""

    tick: int
    """Newest tick of the server."""
    states: Mapping[int, bytes]
    """Entity id -> newest state, our own entities included. A copy."""


class RelayClient:
    """One player in one room. Use it with `async with`, or call `connect` and `close`.

    After joining, `connection` tells everything that is known: `player_id`, `code`, `members`, `host`, `table`,
    `room_properties`, `rtt_s`, `tick_rate`, ... When the connection is lost the client tries to come back by itself, as
    long as the relay keeps its place: the events ConnectionLost and then Resumed or Disconnected tell. A client that is
    closed cannot join again; make a new one, with `resume=` for the old place.

    Args:
        host: Name or address of the relay.
        port: UDP port of the relay.
        name: The player's name, 1 to 32 bytes of UTF-8. With `resume` it may be left out: the old one stays.
        code: Code of the room, 1 to 16 of A-Z 0-9 -. Empty: create a room and let the relay make up its code.
        mode: CREATE, JOIN or JOIN_OR_CREATE. None: RESUME with `resume`, else JOIN_OR_CREATE if there is a code,
            otherwise CREATE.
        password: Password of the room.
        game: Which game this is, such as org.example.kart; rooms of others are not seen. At most 32 bytes.
        game_version: Its version, at most 16 bytes; a room that another one opened refuses us.
        room_name: For a room that is created: what lists show beside its code, at most 48 bytes.
        tags: For a room that is created, and for QUICK: up to 8 that lists and quick matches can ask for.
        listed: For a room that is created: `list_rooms` finds it.
        shown: For a room that is created: up to 8 keys of its properties, which lists show.
        properties: For a room that is created, and for QUICK: up to 8 that it begins with.
        max_players, entities_per_player, max_state_bytes: For a room that is created: 1 to 256, 256, 255.
        anyone_sets: For a room that is created: every player may set its properties, not only the host.
        identity: 16 random bytes, made once for this installation and kept, so that a ban holds; or none.
        resume: What `connection.resume_token()` of an earlier client returned, in this process or another: come
            back to its place, if the relay still keeps it.
        reconnect: Try to come back when the connection is lost.
        on_token: Called with the token of each new session, also of those by which a lost connection came back,
            before the relay hears of the session: from then on older tokens are worth nothing. So whoever writes
            it down here always has the one that leads back after a crash. What it raises goes to the loop's
            exception handler; it is not called again for this session.
        deadline_s: `connect` gives up if the relay has not let us in after this many seconds, or has not told us
            all of the room so many seconds after that.
        clock: Monotonic seconds.
    """

    _connection: ClientConnection | None = None
    _told_token: ResumeToken | None = None
    _last_event: Refused | Disconnected | None = None
    _reopening: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _timer_at = 0.0
    _next_tick = 0.0
    _may_tick_early = True
    _is_tick_planned = False
    _num_changes = 0
    _num_socket_errors = 0

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        name: str = "",
        code: str = "",
        mode: JoinMode | None = None,
        password: str = "",
        game: str = "",
        game_version: str = "",
        room_name: str = "",
        tags: Sequence[str] = (),
        listed: bool = False,
        shown: Sequence[str] = (),
        properties: Mapping[str, Value] = NO_PROPERTIES,
        max_players: int | None = None,
        entities_per_player: int | None = None,
        max_state_bytes: int | None = None,
        anyone_sets: bool = False,
        identity: bytes = b"",
        resume: ResumeToken | None = None,
        reconnect: bool = True,
        on_token: Callable[[ResumeToken], None] | None = None,
        deadline_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to join; nothing is sent yet. Raises: ValueError naming the argument and what is permitted."""
        self._request = JoinRequest(
            mode=mode or (JoinMode.RESUME if resume else JoinMode.JOIN_OR_CREATE if code else JoinMode.CREATE),
            name=name,
            code=code,
            password=password,
            game=game,
            game_version=game_version,
            room_name=room_name,
            tags=tags,
            listed=listed,
            shown=shown,
            properties=properties,
            max_players=max_players,
            entities_per_player=entities_per_player,
            max_state_bytes=max_state_bytes,
            anyone_sets=anyone_sets,
            identity=identity,
            resume=resume,
            reconnect=reconnect,
            deadline_s=deadline_s,
        )
        self._address = (host, port)
        self._clock = clock
        self._on_token = on_token
        self._links: list[Link] = []
        self._events = EventQueue()
        self._waiters: list[asyncio.Future[None]] = []

    @classmethod
    def quick_match(cls, host: str = "127.0.0.1", port: int = DEFAULT_PORT, **options: Any) -> Self:
        """Prepare to join the fullest listed room of our game and version that has these tags and properties.

        If there is none with a free place, one is opened with them, for the next who asks for the same.

        Args:
            options: Those of the class but code, mode, password and resume.
        """
        return cls(host, port, mode=JoinMode.QUICK, **options)

    # --- its life

    async def __aenter__(self) -> Self:
        """Join. Raises: as `connect`."""
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave; without waiting for the last messages if there was an exception."""
        await self.close(FLUSH_S if error is None else 0.0)

    async def connect(self) -> None:
        """Join the room, create it, or come back to it; returns when the room is whole, with Joined or Resumed.

        Raises: JoinRefused, ConnectTimeout; OSError if the host is unknown or the machine has no network.
        """
        if self._connection is not None:
            raise RuntimeError("this client has joined already; make a new one")
        self._links = await self._open_links()
        self._connection = ClientConnection(self._request, nonce=secrets.randbits(64), now=self._clock())
        try:
            self._run()
            await self._be_told_all(self._connection)
        except TimeoutError:
            await self.close(0.0)  # so that the player does not stand in the room
            raise ConnectTimeout(self._where(_NOT_TOLD_ALL.format(self._request.deadline_s))) from None
        except BaseException:
            self._close_links()
            raise

    async def _be_told_all(self, connection: ClientConnection) -> None:
        """Wait until the room is whole. Raises: TimeoutError if it is not so long after the relay has let us in."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as deadline:
            while not connection.is_whole:
                if connection.state is ClientState.CLOSED:
                    self._raise_failure()
                if connection.state is ClientState.JOINED and deadline.when() is None:
                    deadline.reschedule(loop.time() + self._request.deadline_s)
                await self._wait()

    async def close(self, flush_s: float = FLUSH_S) -> None:
        """Leave the room. May be called twice.

        Args:
            flush_s: Wait at most this long until the relay has everything that was published and sent.
        """
        connection = self._connection
        if connection is not None and self._links:
            if flush_s > 0.0:
                await self.flush(flush_s)
            connection.close(self._clock())
            self._run()
            while (next_at := connection.next_poll_at()) < float("inf"):  # BYE goes three times
                await asyncio.sleep(max(EARLY_S, next_at - self._clock()))
        self._close_links()
        self._wake()

    async def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until the relay has everything that was published and sent. Returns: whether it has."""
        connection = self.connection
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._is_alive and not connection.is_idle():
                    await self._wait()
        return self.is_joined and connection.is_idle()

    @property
    def connection(self) -> ClientConnection:
        """The connection, for all that is known of room and network. Raises: RuntimeError before `connect`."""
        if self._connection is None:
            raise RuntimeError("not connected; call connect() or use 'async with'")
        return self._connection

    @property
    def is_joined(self) -> bool:
        """Whether we are in the room, and the connection is not lost."""
        return self._connection is not None and self._connection.state is ClientState.JOINED

    @property
    def _is_alive(self) -> bool:
        """Whether we are in the room, or try to come back to it."""
        return self._connection is not None and self._connection.state in (ClientState.JOINED, ClientState.RESUMING)

    @property
    def num_socket_errors(self) -> int:
        """Errors that the system reported for our socket: the relay's port closed, no route, ..."""
        return self._num_socket_errors

    # --- what the game does

    def publish(self, local_index: int, state: bytes) -> bool:
        """Set the newest state of one of the entities with our number; it goes out with the next tick.

        Returns: whether it is ours; if not, for it was given away, nothing happens.
        Raises: ValueError if the index is not below `entities_per_player` or the state not 1 to `max_state_bytes` long.
        """
        return self.connection.publish(local_index, state, self._clock())

    def publish_entity(self, entity_id: int, state: bytes) -> bool:
        """Set the newest state of any entity that we own: given to us too, or the host's. As `publish`."""
        return self.connection.publish_entity(entity_id, state, self._clock())

    def remove(self, local_index: int) -> bool:
        """Take one of the entities with our number out of the table. Returns and raises as `publish`."""
        return self.connection.remove(local_index)

    def remove_entity(self, entity_id: int) -> bool:
        """Take any entity that we own out of the table. Returns and raises as `publish`."""
        return self.connection.remove_entity(entity_id)

    def send_message(
        self,
        payload: bytes,
        *,
        kind: int = 1,
        channel: int = 0,
        target: Target = Target.ALL,
        players: Sequence[int] = (),
        keep: bool = False,
        outlives_sender: bool = False,
    ) -> int:
        """Send a message: it arrives exactly once, and in the same order at everybody. It goes out at once.

        Args:
            payload: At most 1 MiB.
            kind: 1 to 111, for the game to use.
            channel: 0 to 255, for the game to use.
            target: ALL (us too), ALL_BUT, ONE or LIST.
            players: Whom `target` means: none for ALL, one for ALL_BUT and ONE, 1 to 255 for LIST.
            keep: Keep it for those who join later: for ALL only, at most 1,020 bytes.
            outlives_sender: Keep it also when we leave.
        Returns: its id, for RequestRefused: a full room keeps no more.
        Raises: ValueError; OutboxFull if 4 MiB wait.
        """
        message_id = self.connection.send_message(
            payload,
            kind=kind,
            channel=channel,
            target=target,
            players=players,
            keep=keep,
            outlives_sender=outlives_sender,
        )
        self._tick_soon()
        return message_id

    def send_signal(
        self,
        payload: bytes,
        *,
        kind: int = 1,
        channel: int = 0,
        target: Target = Target.ALL,
        players: Sequence[int] = (),
        newest_first: bool = False,
        after_log: bool = True,
    ) -> None:
        """Send a signal: it arrives at most once, and never before the messages sent before it. It goes out at once.

        Args:
            payload: At most 8 KiB, less if many players are listed.
            kind: 1 to 127, for the game to use.
            channel: As for `send_message`, like target and players.
            target: See there.
            players: See there.
            newest_first: Who has seen a newer one of ours on this channel drops it.
            after_log: False for voice: do not wait for messages.
        Raises: ValueError.
        """
        self.connection.send_signal(
            payload,
            kind=kind,
            channel=channel,
            target=target,
            players=players,
            newest_first=newest_first,
            after_log=after_log,
        )
        self._tick_soon()

    # --- what it asks of the relay: everybody sees it done, or RequestRefused with the returned id comes

    def set_property(
        self, key: str, value: Value, *, owner: int | None = None, expected: Value | Anything = ANYTHING
    ) -> int:
        """Set a property of the room (owner None) or of a player; None removes it. As `ClientConnection.set_property`.

        With `expected` it is set only if it has that value and nobody changes it first.
        """
        return self._asked(self.connection.set_property(key, value, owner=owner, expected=expected))

    def give_entity(self, entity_id: int, player: int | None = None) -> int:
        """Make another player the owner of an entity of ours; None: whoever is host. Returns: the request's id."""
        return self._asked(self.connection.give_entity(entity_id, player))

    def clear_kept(self, index: int | None = None) -> int:
        """Keep a message no longer, by its `Message.index`; None: all that we may clear. Returns: the request's id."""
        return self._asked(self.connection.clear_kept(index))

    def hand_over_host(self, player: int) -> int:
        """Make another player host, as the host; nothing comes if it is already. Returns: the request's id."""
        return self._asked(self.connection.hand_over_host(player))

    def kick(self, player: int, text: str = "") -> int:
        """Remove a player, as the host; `text` is what it reads. Returns: the request's id."""
        return self._asked(self.connection.kick(player, text))

    def ban(self, player: int, text: str = "", *, address: bool = False) -> int:
        """Remove a player for as long as the room lives, as the host. Returns: the request's id.

        `address`: keep out everybody with its network address, not only its identity; as `ClientConnection.ban`.
        """
        return self._asked(self.connection.ban(player, text, address=address))

    def lock(self, is_locked: bool = True) -> int:
        """Let nobody join any more, or open the room again, as the host. Returns: the request's id."""
        return self._asked(self.connection.lock(is_locked))

    def show(self, is_listed: bool = True, keys: Sequence[str] = ()) -> int:
        """List the room for all who play this game, with these of its properties, or hide it, as the host.

        Returns: the request's id.
        """
        return self._asked(self.connection.show(is_listed, keys))

    def _asked(self, request_id: int) -> int:
        self._tick_soon()
        self._take_events()  # a comparison that failed here is told at once
        return request_id

    # --- what the game hears

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate all events in order: from Joined to Disconnected."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event. A game that reads slowly gets StateChanged merged, and loses nothing."""
        while not self._events:
            if self._last_event is not None or not self._links:
                raise StopAsyncIteration
            await self._wait()
        event = self._events.popleft()
        self._take_events()
        return event

    def take_events(self) -> list[Event]:
        """Return all events that wait, without waiting: for games with a loop of their own."""
        events = [self._events.popleft() for _ in range(len(self._events))]
        self._take_events()
        return events

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """Iterate the room's table: a snapshot whenever it changed, leaving out those for which the caller was late.

        Takes no events; both may be iterated at the same time. Ends with the session.
        """
        seen = 0
        while self._is_alive:
            if self._num_changes == seen:
                await self._wait()
                continue
            seen = self._num_changes
            yield Snapshot(self.connection.server_tick, dict(self.connection.table))

    # --- the machinery: what arrives or falls due, then what is to be sent, then who waits for it

    def _datagram_received(self, link: Link, data: bytes) -> None:
        if self._connection is None:
            return
        self._connection.receive(data, self._clock())
        if self._on_token is not None:
            self._tell_token(self._on_token)
        if len(self._links) > 1 and self._connection.state is not ClientState.GREETING:
            self._keep_only(link)  # the address that answered; the cookie is good for no other
        self._run()

    def _tell_token(self, on_token: Callable[[ResumeToken], None]) -> None:
        """Tell the token of a session that has just begun. Before anything is sent: its first DATA ends the former."""
        if self.is_joined and (token := self.connection.resume_token()) != self._told_token:
            self._told_token = token
            try:
                on_token(token)
            except Exception as error:
                context = {"message": "on_token of a RelayClient raised", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

    def _count_socket_error(self) -> None:
        self._num_socket_errors += 1

    def _run(self) -> None:
        """Send what is due, pass events on, and set the timer."""
        connection = self.connection
        now = self._clock()
        if connection.state is ClientState.JOINED and now >= self._next_tick - EARLY_S:
            period_s = 1.0 / connection.tick_rate
            self._next_tick += period_s
            if self._next_tick < now:
                self._next_tick = now + period_s
            self._may_tick_early = True
            datagrams = connection.tick(now)
        else:
            datagrams = connection.poll(now)
        if connection.state is ClientState.RESUMING and self._reopening is None:
            self._reopening = asyncio.get_running_loop().create_task(self._reopen_links())
        self._send(datagrams)
        self._take_events()
        self._set_timer()

    def _tick_soon(self) -> None:
        """Send without waiting for the tick, once the caller is done; at most once a tick, so as not to flood."""
        if self._may_tick_early and not self._is_tick_planned:
            self._is_tick_planned = True
            asyncio.get_running_loop().call_soon(self._tick_early)

    def _tick_early(self) -> None:
        self._is_tick_planned = False
        self._may_tick_early = False
        if self._links:
            self._send(self.connection.tick(self._clock()))
            self._set_timer()

    def _send(self, datagrams: list[bytes]) -> None:
        for link in self._links:
            for datagram in datagrams:
                link.send(datagram)

    def _take_events(self) -> None:
        if not self._events.is_full:
            events = self.connection.take_events()
            self._events.extend(events)
            self._num_changes += sum(isinstance(event, StateChanged) for event in events)
            if events and isinstance(events[-1], Refused | Disconnected):
                self._last_event = events[-1]
        self._wake()

    def _set_timer(self) -> None:
        connection = self.connection
        at = connection.next_poll_at()
        if connection.state is ClientState.JOINED:
            at = min(at, self._next_tick)
        if self._timer is not None:
            if self._timer_at == at:
                return
            self._timer.cancel()
            self._timer = None
        if self._links and at < float("inf"):
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._run()

    async def _wait(self) -> None:
        """Wait until something happened."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _raise_failure(self) -> None:
        match self._last_event:
            case Refused(reason, text):
                raise JoinRefused(reason, text)
            case Disconnected(ByeReason.TIMEOUT, text):
                raise ConnectTimeout(self._where(text))
            case other:
                raise ConnectTimeout(f"the relay ended the session while we joined: {other}")

    def _where(self, text: str) -> str:
        host, port = self._address
        return f"{host}, UDP port {port}: {text}"

    # --- sockets

    async def _reopen_links(self) -> None:
        """Put fresh sockets beside the newest old one while the connection is lost; who is answered stays."""
        while self.connection.state is ClientState.RESUMING:
            with contextlib.suppress(OSError):  # no network, no name server: the next time, perhaps
                links = await self._open_links()
                for link in self._links[1:]:
                    link.close()
                self._links = [*links, *self._links[:1]]
            await asyncio.sleep(REOPEN_S)
        self._reopening = None

    async def _open_links(self) -> list[Link]:
        return await open_links(*self._address, self._datagram_received, self._count_socket_error)

    def _keep_only(self, link: Link) -> None:
        for other in self._links:
            if other is not link:
                other.close()
        self._links = [link]

    def _close_links(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        for link in self._links:
            link.close()
        self._links = []


__all__ = ["ConnectTimeout", "JoinMode", "JoinRefused", "RelayClient", "Snapshot", "Target"]
