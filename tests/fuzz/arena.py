"""Live clients at one engine, with an attacker among them who says spoiled forms of what the victims say.

Victims are real clients whose datagrams the attacker overhears, spoils and sends, from their addresses and from its
own: what it sends in their sessions is as good as theirs, so nothing is promised to them. Bystanders are clients whose
sessions it has not seen, some of them in the victims' room: they must go on as if nothing happened.
"""

import struct
from random import Random

from protocol import dtypes
from protocol.client import (
    ClientConnection,
    ClientState,
    Disconnected,
    JoinMode,
    JoinRequest,
    Message,
    OutboxFull,
    Refused,
    Target,
)
from protocol.constants import Kind, Option
from relay.addresses import pack_address
from relay.config import RelayConfig
from tests.fuzz.mutations import MUTATIONS, refresh
from tests.sim.raw import Desk
from tests.sim.wiretap import Wiretap

POOL = 400
"""Newest overheard datagrams that are spoiled."""
LISTS_AMONG = 8
"""How often each victim's LIST is among them."""
_WORD = struct.Struct("<HI")


def list_by_the_cookie_of(join: bytes) -> bytes:
    """Build the LIST that a player could send with the cookie of its JOIN."""
    fields = dtypes.JOIN_FIELDS.decode(join)
    question = dtypes.LIST_FIELDS.encode(Kind.LIST, 0, fields.nonce, fields.cookie, 1, 0, 0, 0)
    options = [(Option.GAME, b"fuzz"), (Option.TAGS, b"\3fun"), (Option.PROPERTIES, b"\3map\4\3sea")]
    return question + b"".join(bytes([key, len(value)]) + value for key, value in options)


class Actor:
    """One client: joins, does a little of everything at every tick, and joins again when it was thrown out."""

    def __init__(self, arena: "Arena", number: int, code: str, is_victim: bool) -> None:
        self.arena, self.number, self.code, self.is_victim = arena, number, code, is_victim
        self.address = pack_address(f"10.1.{number}.1", 4000)
        self.connection: ClientConnection
        self.num_lives = 0
        self.said = 0
        """Messages that it sent in this life."""
        self.heard: dict[int, int] = {}
        """Number of another bystander -> newest of its messages that was handed over."""
        self.state = b""
        self.join()

    def join(self) -> None:
        """Begin a new life."""
        request = JoinRequest(
            mode=JoinMode.JOIN_OR_CREATE,
            code=self.code,
            name=f"actor {self.number}",
            max_players=12,
            entities_per_player=3,
            max_state_bytes=40,
            game="fuzz",
            game_version="1",
            room_name=f"room of {self.number}",
            tags=["fun", "duo"],
            listed=True,
            shown=["map"],
            properties={"map": "sea"},
        )
        self.connection = ClientConnection(request, nonce=self.arena.rng.getrandbits(64), now=self.arena.desk.now)
        self.num_lives += 1
        self.said = 0
        self.state = b""

    def live(self) -> list[bytes]:
        """Read what has come, do something, and return what is to be sent."""
        desk = self.arena.desk
        for payload in desk.take(self.address):
            self.connection.receive(payload, desk.now)
            if self.is_victim and self.arena.rng.random() < self.arena.spoiled_downstream:
                spoiled = self.arena.rng.choice(MUTATIONS)(self.arena.rng, [payload])
                self.connection.receive(spoiled[:2000], desk.now)
        for event in self.connection.take_events():
            if isinstance(event, Refused | Disconnected):
                assert self.is_victim, f"bystander {self.number} was thrown out: {event}"
                self.join()
            elif isinstance(event, Message):
                self._hear(event)
        if self.connection.state is ClientState.JOINED:
            self._act()
        return self.connection.tick(desk.now)

    def _act(self) -> None:
        rng, connection, now = self.arena.rng, self.connection, self.arena.desk.now
        self.state = _WORD.pack(self.number, self.said) + rng.randbytes(rng.choice((0, 10)))
        connection.publish(0, self.state, now)
        if rng.random() < 0.2:
            connection.publish(1, rng.randbytes(rng.randint(1, 40)), now)
        if rng.random() < 0.05:
            connection.remove(1)
        if self.said < 30_000 and connection.unacked_messages < 50 and rng.random() < 0.3:
            self.said += 1
            size = 3000 if rng.random() < 0.05 else 20
            connection.send_message(_WORD.pack(self.number, self.said) + rng.randbytes(size), kind=1 + self.number)
        if self.is_victim:
            self._act_like_a_victim()

    def _act_like_a_victim(self) -> None:
        """Use what else there is, so that the attacker has heard of everything."""
        rng, connection = self.arena.rng, self.connection
        targets = ((Target.ALL, ()), (Target.ALL_BUT, (0,)), (Target.ONE, (1,)), (Target.LIST, (0, 1, 2, 500)))
        target, players = rng.choice(targets)
        try:
            connection.send_signal(
                rng.randbytes(rng.choice((0, 5, 2000))),
                channel=rng.randrange(3),
                target=target,
                players=players,
                newest_first=rng.random() < 0.5,
                after_log=rng.random() < 0.5,
            )
            if connection.unacked_messages < 50 and rng.random() < 0.2:
                connection.send_message(rng.randbytes(8), target=target, players=players, kind=100)
            if rng.random() < 0.02:
                connection.show(rng.random() < 0.8, ["map"])
        except OutboxFull:
            pass
        if rng.random() < 0.01:
            connection.close(self.arena.desk.now)

    def _hear(self, message: Message) -> None:
        """A bystander must get every message of every other bystander of its room, in order, each once."""
        by_player_id = {actor.connection.player_id: actor for actor in self.arena.bystanders_of(self.code)}
        if self.is_victim or message.sender not in by_player_id:
            return
        number, count = _WORD.unpack_from(message.payload)
        before = self.heard.get(number, count - 1)
        assert number == by_player_id[message.sender].number
        assert count == before + 1, f"{self.number} heard {count} after {before} from {number}"
        self.heard[number] = count


class Arena:
    """Two rooms, bystanders in both, victims in one, and an attacker."""

    def __init__(self, seed: int) -> None:
        config = RelayConfig(
            max_sessions_per_host=1000,
            timeout_s=3.0,
            datagrams_per_s=3000,
            bytes_per_s=2_000_000,
            messages_per_s=1000,
            signals_per_s=1000,
        )
        self.rng = Random(f"arena {seed}")
        self.desk = Desk(config, f"arena {seed}")
        self.tap = Wiretap()
        self.pool: list[bytes] = []
        self.newest: dict[int, bytes] = {}
        """Victim -> its newest DATA."""
        self.questions: dict[int, bytes] = {}
        """Victim -> a LIST with its newest cookie."""
        self.ahead = 0
        self.num_sent = 0
        self.spoiled_downstream = 0.0
        """Share of datagrams to victims that are followed by a spoiled form of themselves."""
        self.strangers = [pack_address(f"192.0.2.{n}", 666) for n in range(1, 60)]
        self.actors = [Actor(self, n, "FUZZED" if n < 7 else "CALM", is_victim=n < 4) for n in range(10)]
        """0-3 victims, 4-6 bystanders in their room, 7-9 bystanders in a room of their own."""

    def bystanders_of(self, code: str) -> list[Actor]:
        """Return the bystanders of a room who are in it."""
        bystanders = [actor for actor in self.actors if actor.code == code and not actor.is_victim]
        return [actor for actor in bystanders if actor.connection.state is ClientState.JOINED]

    def step(self, num_spoiled: int) -> None:
        """Let one tick pass with this many spoiled datagrams in it."""
        desk = self.desk
        datagrams = []
        for actor in self.actors:
            for payload in actor.live():
                datagrams.append((payload, actor.address))
                if actor.is_victim:
                    self.pool.append(payload)
                    if payload[0] == Kind.JOIN:
                        self.questions[actor.number] = list_by_the_cookie_of(payload)
                    if payload[0] == Kind.DATA:
                        self.newest[actor.number] = payload
        del self.pool[:-POOL]
        self.ahead = 0
        for _ in range(num_spoiled if self.pool else 0):
            payload = self._spoil()
            address = self.rng.choice((*self.strangers, *[actor.address for actor in self.actors[:4]] * 15))
            datagrams.insert(self.rng.randrange(len(datagrams) + 1), (payload, address))
            self.num_sent += 1
        for payload, address in datagrams:
            self.tap.on_to_server(address, payload)
        before = {address: len(payloads) for address, payloads in desk.sent.items()}
        desk.offer(datagrams)
        desk.tick()
        self._listen(before)

    def _spoil(self) -> bytes:
        """Make one spoiled datagram; most of them such that a victim's session might take them."""
        payload = self.rng.choice(MUTATIONS)(self.rng, [*self.pool, *[*self.questions.values()] * LISTS_AMONG])
        if not self.newest or self.rng.random() < 0.4:
            return payload
        newest = self.rng.choice(list(self.newest.values()))
        self.ahead += 1
        return refresh(payload, newest, self._newest_seq(newest) + self.ahead, self.rng.random() < 0.7)

    def _newest_seq(self, newest: bytes) -> int:
        """Look up what the engine has received of a session: it may be more than its client sent."""
        sessions = self.desk.engine.world.sessions
        row = sessions.find(int.from_bytes(newest[4:12], "little"))
        return 0 if row is None else int(sessions.table.recv_newest[row])

    def _listen(self, before: dict[bytes, int]) -> None:
        """Check what the engine sent since `before`: the wiretap raises where it must not have."""
        for address in self.desk.sent:
            for payload in self.desk.sent[address][before.get(address, 0) :]:
                if address in self.strangers:
                    self.tap.count_unproven(address, payload)
        for address in self.strangers:
            self.desk.take(address)

    def check_that_bystanders_go_on(self) -> None:
        """Let the attacker rest for two seconds, and compare what bystanders know of each other."""
        for _ in range(60):
            self.step(0)
        for actor in self.actors:
            if actor.is_victim:
                continue
            assert actor.num_lives == 1
            others = [other for other in self.bystanders_of(actor.code) if other is not actor]
            assert len(others) == 2
            for other in others:
                assert other.said - actor.heard[other.number] < 20  # what was said in the last moments is on its way
                state = actor.connection.table[other.connection.player_id]
                assert _WORD.unpack_from(state)[0] == other.number
