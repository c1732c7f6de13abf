"""A bench for the engine's modules: one engine, raw clients, and every datagram built or read by hand.

Clients join by HELLO, CHALLENGE and JOIN. What they send is a test's own choice, right or wrong, and a batch is exactly
what the test puts into one. What they are sent is read by the client's own strict reader (`protocol.records`), so a
malformed section fails the test that caused it.
"""

from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

from protocol import codec, dtypes, schemas
from protocol.constants import (
    LOG_WINDOW,
    MAGIC,
    DataSection,
    EntryKind,
    JoinMode,
    Kind,
    Option,
    RequestKind,
    Target,
)
from protocol.proofs import resume_proof
from protocol.records import Entry, LogRange, Page, RoomShape, SignalPart, read_sections
from protocol.sequence import ReceiveWindow
from relay.addresses import pack_address
from relay.batch import Batch, Outgoing
from relay.config import RelayConfig
from relay.engine import Engine

SECRET = bytes(range(32))
TICK = 1 / 30
SIZES = {"max_players": 2, "entities_per_player": 2, "max_state_bytes": 1}

Datagram = tuple[bytes, bytes]
"""(payload, address)"""


class Bench:
    """One engine, which keeps no places of players who are gone unless told to.

    `now` moves by `tick` and `wait`, and by a millisecond for every HELLO, for the relay's budget.
    """

    def __init__(self, now: float = 0.0, **settings: Any) -> None:
        self.engine = Engine(RelayConfig(**{"grace_s": 0} | settings), SECRET, Random(1))
        self.now = now
        self.sent: dict[bytes, list[bytes]] = {}
        """Address -> what was sent there and nobody has taken."""
        self.num_clients = 0

    def receive(self, *datagrams: Datagram) -> None:
        """Hand datagrams over as one batch, in this order. Nothing is sent yet."""
        batch = Batch(max(1, len(datagrams)))
        for payload, address in datagrams:
            batch.append(payload, address)
        self.engine.receive(batch, self.now)

    def keep(self, outgoing: Outgoing) -> int:
        """Keep what the engine sends until somebody takes it. Returns how many datagrams it is."""
        for address, payload in outgoing.datagrams():
            self.sent.setdefault(address, []).append(payload)
        return len(outgoing)

    def flush(self) -> int:
        """Let the engine send what need not wait."""
        return self.keep(self.engine.flush(self.now))

    def tick(self, count: int = 1) -> None:
        """Let `count` ticks pass."""
        for _ in range(count):
            self.now += 1 / self.engine.config.tick_rate
            self.keep(self.engine.tick(self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass with its ticks."""
        self.tick(round(seconds * self.engine.config.tick_rate))

    def take(self, address: bytes) -> list[bytes]:
        """Take what was sent to an address."""
        return self.sent.pop(address, [])

    def join(self, **join: Any) -> "Client":
        """Let a new client join, from an address of its own."""
        return Client(self).join(**join)

    def join_all(self, count: int, **join: Any) -> list["Client"]:
        """Let `count` clients join one room, and read and acknowledge until all have all of it."""
        clients = [self.join(**join) for _ in range(count)]
        for _ in range(3):
            self.tick()
            self.receive(*[client.listen() for client in clients])
        self.flush()
        for client in clients:
            client.hear()
        return clients

    def dropped(self) -> dict[str, int]:
        """Return what was not taken, by the reason's name."""
        return {reason.name: count for reason, count in self.engine.stats.dropped.items()}

    def counted(self, name: str) -> int:
        """Return one of the engine's other counters."""
        return self.engine.stats.counters[name]


class Update(NamedTuple):
    """One UPDATE as a client reads it."""

    header: Any
    pages: list[Page]
    ranges: list[LogRange]
    signals: list[SignalPart]
    size: int


class Client:
    """A session whose every datagram is built by the test."""

    def __init__(self, bench: Bench, host: str = "") -> None:
        number = bench.num_clients
        bench.num_clients += 1
        self.bench = bench
        self.address = pack_address(host or f"10.{number // 250 % 250}.{number % 250}.1", 40_000 + number % 20_000)
        self.nonce = 1_000_000 + number
        self.name = f"client {number}"
        self.welcome: Any = None
        self.shape = RoomShape(1, 1, 1, 1)
        self.seq = 0
        self.message_id = 0
        self.sequence = 0
        self.window = ReceiveWindow()
        self.cursor = 0
        self.ahead: set[int] = set()
        """Log indexes beyond the cursor that are complete."""
        self.updates: list[Update] = []
        self.others: list[Any] = []
        """Decoded datagrams of other kinds."""
        self.resume_join = b""
        self.outcome: Any = None
        """What `come_back` was answered."""
        self.entries: dict[int, Entry] = {}
        """Every log entry that it was sent, by index."""

    # --- joining

    def hello(self, revision_min: int = 1, revision_max: int = 1, features: int = 0) -> bytes:
        """Build a HELLO."""
        texts = {"client_name": bytes(24), "client_release": bytes(16), "fingerprint": 0}
        revisions = {"revision_min": revision_min, "revision_max": revision_max, "features": features}
        return codec.encode(Kind.HELLO, shard=0, magic=MAGIC, nonce=self.nonce, **texts, **revisions)

    def join_datagram(
        self,
        cookie: bytes,
        code: str = "ROOM",
        mode: int = JoinMode.JOIN_OR_CREATE,
        name: bytes | None = None,
        options: Iterable[tuple[int, bytes]] = (),
        revision: int = 1,
        **shape: int,
    ) -> bytes:
        """Build a JOIN. `shape`: max_players, entities_per_player, max_state_bytes."""
        shaped = [(int(Option[key.upper()]), value.to_bytes(SIZES[key], "little")) for key, value in shape.items()]
        fields = {
            "kind": Kind.JOIN,
            "shard": 0,
            "nonce": self.nonce,
            "cookie": cookie,
            "revision": revision,
            "features": 0,
            "mode": mode,
            "code": code.encode().ljust(16, b"\0"),
            "name": (self.name.encode() if name is None else name).ljust(32, b"\0"),
        }
        listed = [{"key": key, "value": value} for key, value in [*shaped, *options]]
        return codec.encode(Kind.JOIN, fields=fields, options=listed)

    def get_cookie(self) -> bytes:
        """Say HELLO and take the cookie of the CHALLENGE."""
        self.bench.now += 0.001
        self.bench.receive((self.hello(), self.address))
        self.bench.flush()
        return bytes(self.answer(Kind.CHALLENGE).cookie)

    def answer(self, *kinds: Kind) -> Any:
        """Take the only datagram of these kinds that was sent here, decoded; the others stay."""
        waiting = self.bench.take(self.address)
        [payload] = [payload for payload in waiting if payload[0] in kinds]
        self.bench.sent[self.address] = [payload for payload in waiting if payload[0] not in kinds]
        return codec.decode(payload)

    def ask(self, **join: Any) -> Any:
        """Join by the book. Returns: the decoded WELCOME or REFUSE."""
        return self.answer_to(self.join_datagram(self.get_cookie(), **join))

    def answer_to(self, join: bytes) -> Any:
        """Send a JOIN. Returns: the decoded WELCOME or REFUSE."""
        self.bench.receive((join, self.address))
        self.bench.flush()
        answer = self.answer(Kind.WELCOME, Kind.REFUSE)
        if "fields" in answer:
            self.welcome = answer.fields
            self.cursor = answer.fields.log_index
            num_ids = self.welcome.player_slots * self.welcome.entities_per_player
            sizes = self.welcome.page_ids, self.welcome.max_state_bytes
            self.shape = RoomShape(self.welcome.player_slots, num_ids, *sizes)
        return answer

    def join(self, **join: Any) -> "Client":
        """Join and insist on being let in."""
        answer = self.ask(**join)
        assert self.welcome is not None, answer
        return self

    def come_back(self, log_index: int = 0, *, host: str = "", secret: bytes | None = None, **join: Any) -> "Client":
        """Begin anew as the same player, as another process would; `answer` of the new client says how it went."""
        other = Client(self.bench, host)
        cookie = other.get_cookie()
        former = self.welcome.session
        proof = resume_proof(secret or self.welcome.secret, cookie, other.nonce, former)
        option = schemas.RESUME_OPTION.build({"session": former, "log_index": log_index, "proof": proof})
        other.resume_join = other.join_datagram(
            cookie, **{"mode": JoinMode.RESUME, "options": [(Option.RESUME, option)]} | join
        )
        other.outcome = other.answer_to(other.resume_join)
        return other

    @property
    def row(self) -> int:
        """Row of the session table."""
        row = self.bench.engine.world.sessions.find(self.welcome.session)
        assert row is not None
        return row

    @property
    def room_row(self) -> int:
        """Row of the room table."""
        return int(self.bench.engine.world.sessions.table.room[self.row])

    # --- talking

    def data(self, *sections: bytes, seq: int | None = None, **header: int) -> Datagram:
        """Build a DATA with the next seq (or the one given) that acknowledges all that was heard."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        newest = self.window.newest
        acks = (newest & 0xFFFF, self.window.ack_bits(), 0, 0) if newest else (0, 0, 0, 1)
        fields = dict(zip(("ack", "ack_bits", "ack_delay", "flags"), acks, strict=True))
        fields |= {"kind": Kind.DATA, "shard": 0, "seq": seq & 0xFFFF, "session": self.welcome.session}
        fields |= {"log_cursor": self.cursor, "reserved": 0} | header
        return dtypes.DATA_HEADER.encode(**fields) + b"".join(sections), self.address

    def say(self, *sections: bytes, seq: int | None = None, **header: int) -> None:
        """Send one DATA as a batch of its own."""
        self.bench.receive(self.data(*sections, seq=seq, **header))

    def listen(self) -> Datagram:
        """Read what came and build the bare DATA that acknowledges it, with LOG_BITS where there is a hole."""
        self.hear()
        return self.data(*self.log_bits())

    def hear(self) -> list[Update]:
        """Read what the engine sent. Returns: the UPDATEs; datagrams of other kinds go to `others`."""
        heard = []
        for payload in self.bench.take(self.address):
            if payload[0] != Kind.UPDATE:
                self.others.append(codec.decode(payload))
                continue
            header = dtypes.UPDATE_HEADER.decode(payload)
            sections = read_sections(payload, self.shape)
            assert sections is not None, payload.hex()
            assert len(payload) <= 1160
            heard.append(Update(header, sections.pages, sections.ranges, sections.signals, len(payload)))
            self.window.accept(header.seq)
            for log_range in sections.ranges:
                self._follow(log_range)
        self.updates += heard
        return heard

    def _follow(self, log_range: LogRange) -> None:
        self.entries |= {entry.log_index: entry for entry in log_range.entries}
        if log_range.first <= self.cursor + 1:
            self.cursor = max(self.cursor, log_range.last)
        elif log_range.last <= self.cursor + LOG_WINDOW:
            self.ahead |= set(range(log_range.first, log_range.last + 1))
        while self.cursor + 1 in self.ahead:
            self.cursor += 1

    def log_bits(self) -> list[bytes]:
        """Build the LOG_BITS section of what is complete beyond the cursor, if anything is."""
        beyond = [index - self.cursor - 1 for index in self.ahead if index > self.cursor]
        if not beyond:
            return []
        bits = sum(1 << j for j in beyond)
        return [section(DataSection.LOG_BITS, bits.to_bytes(4 * (max(beyond) // 32 + 1), "little"))]

    def entity(self, local_index: int = 0) -> int:
        """Return the id of one of its own entities."""
        return int(local_index * self.welcome.player_slots + self.welcome.player_id)

    def state(self, state: bytes, local_index: int = 0, sample_ms: int = 0) -> bytes:
        """Build a STATE section of one entity of its own."""
        return states_section([(self.entity(local_index), state)], sample_ms)

    def message(self, payload: bytes, target: int = Target.ALL, players: tuple[int, ...] = (), **header: int) -> bytes:
        """Build a MESSAGE section with the next message id, or the one given."""
        if "message_id" not in header:
            self.message_id += 1
        fields = {"message_id": self.message_id, "kind": 1, "flags": 0, "channel": 0, "target": target}
        fields |= {"target_count": len(players), "more": 0} | header
        fields["message_id"] &= 0xFFFF
        return section(DataSection.MESSAGE, dtypes.MESSAGE_HEADER.encode(**fields) + ids(players) + payload)

    def request(self, kind: RequestKind, **fields: Any) -> bytes:
        """Build a MESSAGE section that asks the server for something."""
        return self.message(schemas.REQUEST_PAYLOADS[kind].build(fields), kind=kind)

    def signal(self, payload: bytes, target: int = Target.ALL, players: tuple[int, ...] = (), **header: int) -> bytes:
        """Build a SIGNAL section with the next sequence."""
        self.sequence += 1
        fields = {"kind": 1, "flags": 0, "channel": 0, "fragment": 0, "target": target, "target_count": len(players)}
        fields |= {"sequence": self.sequence & 0xFFFF, "after_message": 0} | header
        return section(DataSection.SIGNAL, dtypes.SIGNAL_UP_HEADER.encode(**fields) + ids(players) + payload)

    def bye(self, reason: int = 1) -> Datagram:
        """Build a BYE."""
        return codec.encode(Kind.BYE, shard=0, session=self.welcome.session, reason=reason, text=b""), self.address

    # --- what it was told

    @property
    def table(self) -> dict[int, bytes]:
        """The table as its pages say, in order of arrival."""
        known: dict[int, bytes] = {}
        tick_of: dict[int, int] = {}
        for update in self.updates:
            for page in update.pages:
                if update.header.tick <= tick_of.get(page.page, 0):
                    continue
                assert page.since <= tick_of.get(page.page, 0)
                tick_of[page.page] = update.header.tick
                there = {entity_id for entity_id, _, _ in page.states}
                of_page = [entity_id for entity_id in known if entity_id // self.shape.page_ids == page.page]
                gone = [entity_id for entity_id in of_page if not page.since and entity_id not in there]
                for entity_id in [*gone, *page.removed]:
                    known.pop(entity_id, None)
                known |= {entity_id: state for entity_id, _, state in page.states}
        return known

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """(sender, payload) of the players' entries that it was sent, in order of their indexes."""
        return [(e.sender, e.payload) for _, e in sorted(self.entries.items()) if e.kind < 128]

    @property
    def told(self) -> list[tuple[EntryKind, dict[str, Any]]]:
        """(kind, payload's fields) of the server's entries that it was sent, in order of their indexes."""
        found = []
        for _, entry in sorted(self.entries.items()):
            if entry.kind >= 128:
                value = schemas.ENTRY_PAYLOADS[EntryKind(entry.kind)].parse(entry.payload)
                found.append((EntryKind(entry.kind), {key: value[key] for key in value if not key.startswith("_")}))
        return found

    def told_of(self, kind: EntryKind) -> list[dict[str, Any]]:
        """Fields of the server's entries of one kind that it was sent."""
        return [fields for told, fields in self.told if told == kind]

    @property
    def signals(self) -> list[bytes]:
        """Payloads of all signals that it was sent, as they came."""
        return [signal.payload for update in self.updates for signal in update.signals]


def section(kind: int, body: bytes) -> bytes:
    """Build a section of a DATA."""
    return dtypes.SECTION_HEADER.encode(kind, len(body)) + body


def ids(players: Iterable[int]) -> bytes:
    """Encode player ids."""
    return b"".join(player.to_bytes(2, "little") for player in players)


def states_section(states: list[tuple[int, bytes]], sample_ms: int = 0) -> bytes:
    """Build a STATE section of (entity id, bytes), all of one length."""
    header = dtypes.STATE_HEADER.encode(sample_ms & 0xFFFF, len(states), len(states[0][1]))
    body = b"".join(entity_id.to_bytes(2, "little") + state for entity_id, state in states)
    return section(DataSection.STATE, header + body)
