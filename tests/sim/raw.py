"""A client made of bytes: says exactly what a test wants, right or wrong, and hears everything.

`Desk` is an engine without a network: what goes in is received and flushed at once. `RawClient` joins by the book and
then builds DATA by hand. For special cases, caps and fuzzing; the simulator's players use the real client.
"""

from collections.abc import Iterable
from random import Random
from typing import Any

from protocol import codec, proofs, schemas
from protocol.constants import (
    COOKIE_BYTES,
    MAGIC,
    REVISION_MAX,
    REVISION_MIN,
    ByeReason,
    DataSection,
    JoinMode,
    Kind,
    Option,
    Target,
)
from protocol.drops import DropReason
from relay.addresses import pack_address
from relay.batch import Batch
from relay.config import RelayConfig
from relay.engine import Engine

SECRET = bytes(range(32))
BATCH_ROWS = 256

Section = tuple[int, bytes]
"""(type, body)"""


class Desk:
    """One engine, fed by hand. `now` is virtual time; it moves only by `wait` and `tick`."""

    def __init__(self, config: RelayConfig | None = None, seed: object = 0) -> None:
        self.config = config or RelayConfig(grace_s=0)
        self.engine = Engine(self.config, SECRET, Random(f"{seed} engine"))
        self.rng = Random(f"{seed} desk")
        self.now = 100.0
        self.sent: dict[bytes, list[bytes]] = {}
        """Address -> what the engine sent there and nobody has taken."""
        self._batch = Batch(BATCH_ROWS)

    def offer(self, datagrams: Iterable[tuple[bytes, bytes]]) -> None:
        """Hand (payload, address) pairs over in batches, and let the engine answer."""
        for payload, address in datagrams:
            self._batch.append(payload, address)
            if self._batch.count == BATCH_ROWS:
                self._receive()
        self._receive()

    def receive_without_sending(self, datagrams: Iterable[tuple[bytes, bytes]]) -> None:
        """Hand (payload, address) pairs over in batches, and let the engine send nothing yet."""
        for payload, address in datagrams:
            self._batch.append(payload, address)
            if self._batch.count == BATCH_ROWS:
                self.engine.receive(self._batch, self.now)
                self._batch.clear()
        self.engine.receive(self._batch, self.now)
        self._batch.clear()

    def _receive(self) -> None:
        self.engine.receive(self._batch, self.now)
        self._batch.clear()
        self._keep(self.engine.flush(self.now).datagrams())

    def _keep(self, datagrams: Iterable[tuple[bytes, bytes]]) -> None:
        for address, payload in datagrams:
            self.sent.setdefault(address, []).append(payload)

    def tick(self, count: int = 1) -> None:
        """Let `count` server ticks pass."""
        for _ in range(count):
            self.now += 1 / self.config.tick_rate
            self._keep(self.engine.tick(self.now).datagrams())

    def wait(self, seconds: float) -> None:
        """Let time pass with its ticks."""
        self.tick(round(seconds * self.config.tick_rate))

    def take(self, address: bytes) -> list[bytes]:
        """Take what was sent to an address."""
        return self.sent.pop(address, [])

    def dropped(self, reason: DropReason) -> int:
        """Return how often something was dropped for this reason."""
        return self.engine.stats.dropped[reason]


class RawClient:
    """A session whose every datagram is built by the test."""

    def __init__(self, desk: Desk, number: int, host: str = "") -> None:
        self.desk = desk
        self.address = pack_address(host or f"10.{number // 250}.{number % 250}.1", 50_000 + number)
        self.nonce = desk.rng.getrandbits(64)
        self.name = f"raw {number}"
        self.welcome: Any = None
        """Fields of WELCOME."""
        self.seq = 0
        self.message_id = 0
        self.signal_sequence = 0
        self.log_cursor = 0
        self.updates: list[Any] = []
        """Decoded UPDATEs, as they came."""
        self.others: list[Any] = []
        """Decoded datagrams of other kinds."""
        self.newest_update = 0

    # --- joining

    def hello(self, revision_min: int = REVISION_MIN, revision_max: int = REVISION_MAX) -> bytes:
        """Build a HELLO."""
        return codec.encode(
            Kind.HELLO,
            shard=0,
            magic=MAGIC,
            nonce=self.nonce,
            revision_min=revision_min,
            revision_max=revision_max,
            features=0,
            fingerprint=0,
            client_name=b"raw".ljust(24, b"\0"),
            client_release=bytes(16),
        )

    def join_datagram(
        self,
        cookie: bytes,
        code: str = "RAW",
        mode: int = JoinMode.JOIN_OR_CREATE,
        name: bytes | None = None,
        options: Iterable[tuple[int, bytes]] = (),
        revision: int = REVISION_MAX,
        **shape: int,
    ) -> bytes:
        """Build a JOIN. `shape`: max_players, entities_per_player, max_state_bytes."""
        sizes = {"max_players": 2, "entities_per_player": 2, "max_state_bytes": 1}
        shaped = [(int(Option[key.upper()]), shape[key].to_bytes(sizes[key], "little")) for key in shape]
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
        """Say HELLO and take the cookie from the CHALLENGE."""
        self.desk.offer([(self.hello(), self.address)])
        [challenge] = self.desk.take(self.address)
        cookie = codec.decode(challenge).cookie
        assert len(cookie) == COOKIE_BYTES
        return bytes(cookie)

    def ask(self, password: str = "", **join: Any) -> Any:
        """Join by the book. Returns: the decoded WELCOME or REFUSE, or None without an answer."""
        cookie = self.get_cookie()
        if password:
            key = proofs.room_key(password)
            proof = proofs.join_proof(key, cookie, self.nonce)
            join["options"] = [*join.get("options", ()), (Option.ROOM_KEY, key), (Option.PROOF, proof)]
        self.desk.offer([(self.join_datagram(cookie, **join), self.address)])
        if self.desk.engine.lobby.num_waiting:  # of many at once
            self.desk.tick()
        answers = [codec.decode(payload) for payload in self.desk.take(self.address) if payload[0] != Kind.UPDATE]
        if not answers:
            return None
        answer = answers[0]
        if "fields" in answer:
            self.welcome = answer.fields
            self.log_cursor = answer.fields.log_index
        return answer

    def join(self, **join: Any) -> "RawClient":
        """Join and insist on being let in."""
        answer = self.ask(**join)
        assert self.welcome is not None, answer
        return self

    # --- talking

    def data(self, *sections: Section, seq: int | None = None, **header: int) -> bytes:
        """Build a DATA with the next seq (or the one given), acknowledging what was heard."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        fields = {
            "kind": Kind.DATA,
            "shard": 0,
            "seq": seq & 0xFFFF,
            "session": self.welcome.session,
            "ack": self.newest_update & 0xFFFF,
            "ack_bits": 0xFFFFFFFF if self.newest_update > 32 else (1 << max(0, self.newest_update - 1)) - 1,
            "ack_delay": 0,
            "flags": 0 if self.newest_update else 1,
            "log_cursor": self.log_cursor,
            "reserved": 0,
        }
        return build_data(fields | header, sections)

    def say(self, *sections: Section, seq: int | None = None, **header: int) -> None:
        """Send one DATA."""
        self.desk.offer([(self.data(*sections, seq=seq, **header), self.address)])

    def hear(self) -> list[Any]:
        """Take what the engine sent: UPDATEs go to `updates`, the rest to `others`; all is returned, decoded."""
        values = []
        for payload in self.desk.take(self.address):
            value = codec.decode(payload)
            assert not isinstance(value, DropReason), (value, payload.hex())
            values.append(value)
            if payload[0] == Kind.UPDATE:
                self.updates.append(value)
                self.newest_update = max(self.newest_update, value.header.seq)
                self._follow(value)
            else:
                self.others.append(value)
        return values

    def may_send(self, at_most: int) -> int:
        """Return how many messages the newest credit permits, at most so many."""
        self.hear()
        credit = self.updates[-1].header.message_credit if self.updates else self.welcome.message_credit
        return min(at_most, credit - self.message_id)

    def byes(self) -> list[ByeReason]:
        """Return the reasons of all BYEs that it has been sent."""
        self.hear()
        return [ByeReason(value.reason) for value in self.others if value.kind == Kind.BYE]

    def _follow(self, update: Any) -> None:
        """Move the log cursor over ranges that begin where it stands. Nothing is lost at a desk."""
        for section in update.sections:
            if section.type == 2 and section.body.header.first <= self.log_cursor + 1:
                self.log_cursor = max(self.log_cursor, section.body.header.last)

    def message(
        self, payload: bytes, target: int = Target.ALL, players: tuple[int, ...] = (), **header: int
    ) -> Section:
        """Build a MESSAGE section with the next message id."""
        if "message_id" not in header:
            self.message_id += 1
        fields = {"message_id": self.message_id & 0xFFFF, "kind": 1, "flags": 0, "channel": 0, "more": 0}
        fields |= {"target": target, "target_count": len(players)}
        value = {"header": fields | header, "targets": players, "payload": payload}
        return DataSection.MESSAGE, schemas.MESSAGE_SECTION.build(value)

    def signal(self, payload: bytes, target: int = Target.ALL, players: tuple[int, ...] = (), **header: int) -> Section:
        """Build a SIGNAL section with the next sequence."""
        self.signal_sequence += 1
        fields = {"kind": 1, "flags": 0, "channel": 0, "fragment": 0, "after_message": 0}
        fields |= {"target": target, "target_count": len(players), "sequence": self.signal_sequence & 0xFFFF}
        value = {"header": fields | header, "targets": players, "payload": payload}
        return DataSection.SIGNAL, schemas.SIGNAL_UP_SECTION.build(value)

    def state(self, *states: tuple[int, bytes], sample_ms: int = 0) -> Section:
        """Build a STATE section of (local index, bytes), all of one length."""
        slots = self.welcome.player_slots
        listed = [
            {"entity_id": local_index * slots + self.welcome.player_id, "state": state} for local_index, state in states
        ]
        return state_section(listed, len(states[0][1]), sample_ms)

    def entities(self) -> dict[int, bytes]:
        """Return the table of this client's room, as the server holds it."""
        return dict(self.desk.engine.room_table(self.welcome.code.rstrip(b"\0").decode()))


def state_section(states: list[dict[str, Any]], stride: int, sample_ms: int = 0) -> Section:
    """Build a STATE section."""
    header = {"sample_ms": sample_ms, "count": len(states), "stride": stride}
    return DataSection.STATE, schemas.STATE_SECTION.build({"header": header, "states": states})


def build_data(header: dict[str, int], sections: Iterable[Section]) -> bytes:
    """Build a DATA of a header and sections that are bytes already, right or wrong."""
    parts = [schemas.DATA_HEADER.build(header)]
    for kind, body in sections:
        parts.append(schemas.SECTION_HEADER.build({"type": int(kind), "length": len(body)}) + body)
    return b"".join(parts)
