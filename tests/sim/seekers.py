"""Players of two games in two versions each, who look for rooms on one relay over a bad network.

They list, join what they find, want quick matches, try codes, open rooms that are listed or not, lose the connection
and come back; hosts show, hide and lock theirs. `Openings` judges every datagram that the relay sends; when all is
quiet, lists must be complete too.
"""

import heapq
from random import Random
from typing import Any

from protocol.client import (
    ClientConnection,
    ClientState,
    Disconnected,
    JoinMode,
    JoinRequest,
    Listing,
    ListRequest,
    Refused,
    Resumed,
    RoomList,
)
from relay.addresses import pack_address
from relay.config import RelayConfig
from tests.sim.network import STANDARD, Conditions, Link
from tests.sim.openings import FindingBroken, Openings
from tests.sim.raw import Desk

GAMES, VERSIONS = ("chess", "go"), ("1", "2")
TAGS = ("fun", "duo", "rated")
MAPS = ("sea", "air")
CODES = tuple(f"ROOM{n}" for n in range(6))
"""So few that both games have rooms with one code, and who tries them finds some that are hidden."""
CONFIG = RelayConfig(max_sessions_per_host=1000, timeout_s=2.0, keepalive_s=0.5, grace_s=5)
LISTING_S = 20.0
"""How long a list may take in the worst of weather."""


class Seeker:
    """One player: of one game and version, on one address."""

    def __init__(self, crowd: "Crowd", number: int) -> None:
        self.crowd, self.number, self.rng = crowd, number, Random(f"{crowd.seed} seeker {number}")
        self.game, self.version = GAMES[number % 2], VERSIONS[number // 2 % 2 if number % 5 else 0]
        self.address = pack_address(f"10.0.{number}.1", 40_000)
        self.up = Link(f"{crowd.seed} up {number}", crowd.conditions)
        self.down = Link(f"{crowd.seed} down {number}", crowd.conditions)
        self.connection: ClientConnection | None = None
        self.listing: Listing | None = None
        self.found: RoomList | None = None
        self.endings: list[Any] = []
        self.num_returns = 0
        self._num_rooms = 0
        self._lost_until = 0.0

    @property
    def is_in_room(self) -> bool:
        """Whether it knows all of a room."""
        return self.connection is not None and self.connection.state is ClientState.JOINED and self.connection.is_whole

    def receive(self, payload: bytes) -> None:
        """Take a datagram from the server."""
        now = self.crowd.now
        if self.listing is not None:
            self.listing.receive(payload, now)
        if self.connection is not None:
            self.connection.receive(payload, now)

    def tick(self) -> list[bytes]:
        """Do something, perhaps. Returns: what is to be sent."""
        now = self.crowd.now
        self._take_events()
        self.up.blocked = self.down.blocked = now < self._lost_until
        if self.crowd.is_busy:
            self._act()
        datagrams = self.listing.poll(now) if self.listing is not None else []
        if self.listing is not None and (self.listing.result is not None or self.listing.is_late(now)):
            self.found = self.listing.result if isinstance(self.listing.result, RoomList) else self.found
            self.listing = None
        return datagrams + (self.connection.tick(now) if self.connection is not None else [])

    def ask(self, **wish: Any) -> None:
        """Begin to list rooms of its game."""
        request = ListRequest(game=self.game, deadline_s=LISTING_S, **wish)
        self.listing = Listing(request, self.rng.getrandbits(64), self.crowd.now)

    def join(self, mode: JoinMode, **options: Any) -> None:
        """Begin to join."""
        self._num_rooms += 1
        request = JoinRequest(
            mode=mode,
            name=f"P{self.number}",
            game=self.game,
            game_version=self.version,
            max_players=4,
            room_name=f"{self.number}.{self._num_rooms}",
            **options,
        )
        self.connection = ClientConnection(request, nonce=self.rng.getrandbits(64), now=self.crowd.now)

    def _take_events(self) -> None:
        if self.connection is None:
            return
        for event in self.connection.take_events():
            if isinstance(event, Refused | Disconnected):
                self.endings.append(event)
            self.num_returns += isinstance(event, Resumed)
        if self.connection.state is ClientState.CLOSED and not self.connection.poll(self.crowd.now):
            self.connection = None

    def _act(self) -> None:
        rng = self.rng
        if self.listing is None and rng.random() < 0.02:
            some_tags = rng.sample(TAGS, rng.choice((0, 0, 1)))
            properties = {"map": rng.choice(MAPS)} if rng.random() < 0.3 else {}
            version = rng.choice(("", self.version))
            self.ask(version=version, tags=some_tags, properties=properties, only_open=rng.random() < 0.5)
        if self.connection is None and rng.random() < 0.1:
            self._enter()
        elif self.is_in_room:
            self._act_in_room()

    def _enter(self) -> None:
        rng = self.rng
        about: dict[str, Any] = {"tags": rng.sample(TAGS, rng.randrange(3)), "properties": {"map": rng.choice(MAPS)}}
        shown: dict[str, Any] = {"listed": rng.random() < 0.6, "shown": ["map"]}
        match rng.randrange(5):
            case 0:
                self.join(JoinMode.QUICK, **about)
            case 1:
                self.join(JoinMode.CREATE, code=rng.choice(("", *CODES)), **about, **shown)
            case 2:
                self.join(JoinMode.JOIN_OR_CREATE, code=rng.choice(CODES), **about, **shown)
            case 3:
                self.join(JoinMode.JOIN, code=rng.choice(CODES))
            case _ if self.found is not None and self.found.rooms:
                self.join(JoinMode.JOIN, code=rng.choice(self.found.rooms).code)

    def _act_in_room(self) -> None:
        rng, connection = self.rng, self.connection
        assert connection is not None
        if connection.host == connection.player_id and rng.random() < 0.05:
            match rng.randrange(3):
                case 0:
                    connection.show(rng.random() < 0.5, rng.choice(([], ["map"])))
                case 1:
                    connection.lock(not connection.is_locked)
                case 2:
                    connection.set_property("map", rng.choice(MAPS))
        if rng.random() < 0.004:
            self._lost_until = self.crowd.now + rng.uniform(0.5, 5.0)
        if rng.random() < 0.01:
            if rng.random() < 0.3:
                self.connection = None  # as a crash does
            else:
                connection.close(self.crowd.now)


class Crowd:
    """All of them, one engine, and the network in between, in virtual time."""

    def __init__(self, seed: object, num_seekers: int = 20, conditions: Conditions = STANDARD) -> None:
        self.seed, self.conditions = seed, conditions
        self.desk = Desk(CONFIG, seed)
        self.openings = Openings(self.desk.engine)
        self.is_busy = True
        self.seekers = [Seeker(self, number) for number in range(num_seekers)]
        self._at = {seeker.address: seeker for seeker in self.seekers}
        self._coming: list[tuple[float, int, Seeker, bytes, bool]] = []
        self._num_sent = 0

    @property
    def now(self) -> float:
        """Virtual time, seconds."""
        return self.desk.now

    def run(self, seconds: float) -> None:
        """Let time pass. Raises: FindingBroken."""
        for _ in range(round(seconds * CONFIG.tick_rate)):
            self._arrive()
            for seeker in self.seekers:
                self._send(seeker, seeker.tick(), True)
            self.desk.tick()
            self._take_sent()

    def settle(self) -> None:
        """Let nobody do anything more, and check that lists are complete. Raises: FindingBroken."""
        self.is_busy = False
        self.run(2 * CONFIG.timeout_s + CONFIG.grace_s)
        for seeker in self.seekers:
            seeker.found, seeker.listing = None, None
            seeker.ask()
        self.run(LISTING_S)
        for seeker in self.seekers:
            self._check_list(seeker)

    def _check_list(self, seeker: Seeker) -> None:
        game = seeker.game.encode()
        ours = [opening.room for opening in self.openings.live() if opening.founder.game == game and opening.is_listed]
        wanted = sorted(room.options.name.decode() for room in ours)
        found = seeker.found
        if found is None or sorted(room.name for room in found.rooms) != wanted or found.num_listed != len(wanted):
            raise FindingBroken(f"{seeker.number} was told {found}, listed are {wanted}")
        if seeker.is_in_room and seeker.connection is not None:
            code = seeker.connection.code
            knows = seeker.connection.is_listed
            if knows != any(room.code == code for room in found.rooms):
                raise FindingBroken(f"{seeker.number} in {code} was told that it is {'' if knows else 'not '}listed")

    def _arrive(self) -> None:
        while self._coming and self._coming[0][0] <= self.now:
            _, _, seeker, payload, is_up = heapq.heappop(self._coming)
            if is_up:
                self.openings.on_to_server(payload)
                self.desk.offer([(payload, seeker.address)])
                self._take_sent()
            else:
                seeker.receive(payload)

    def _take_sent(self) -> None:
        for address in list(self.desk.sent):
            payloads = self.desk.take(address)
            for payload in payloads:
                self.openings.on_from_server(payload)
            self._send(self._at[address], payloads, False)

    def _send(self, seeker: Seeker, payloads: list[bytes], is_up: bool) -> None:
        for payload in payloads:
            for at, copy in (seeker.up if is_up else seeker.down).fate(payload, self.now):
                self._num_sent += 1
                heapq.heappush(self._coming, (at, self._num_sent, seeker, copy, is_up))
