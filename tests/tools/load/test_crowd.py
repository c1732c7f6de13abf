"""A crowd is the client: beside each of its players a `ClientConnection` lives the same life.

Both get the same datagrams at the same times from a real engine over a made-up network, and do the same things. Up they
must send equal bytes; what they know and hand over must be equal at every moment.
"""

from random import Random
from typing import Any

import numpy as np
import pytest

from protocol import dtypes
from protocol.client import ClientConnection, Disconnected, JoinMode, JoinRequest, Message, Signal, Target
from protocol.constants import MAX_PLAYER_KIND, Kind, SignalFlag
from relay.addresses import pack_address
from relay.batch import ROW_BYTES, Batch
from relay.config import RelayConfig
from relay.engine import Engine
from tests.sim.network import PERFECT, Conditions, Link
from tests.sim.scale import FULL
from tools.load import claims
from tools.load.audience import NUM_IDS, Aim
from tools.load.claims import Use
from tools.load.crowd import Crowd
from tools.load.downlink import Caught, Seen
from tools.load.log import Heard
from tools.load.people import UNKNOWN
from tools.load.reading import Shape
from tools.load.uplink import Habits, Outbound, audience_of, signal_flags

STEP_S = 1 / 240
TICK_RATE = 30
STEPS_PER_TICK = 8
ROUGH = Conditions(delay_s=(0.01, 0.12), jitter_s=0.03, loss=0.12, duplication=0.08, reordering=0.2)
LOSSY = Conditions(delay_s=(0.02, 0.02), jitter_s=0.0, loss=0.4)


class Notes:
    """What the crowd was handed, by row, in the words of the client's events."""

    def __init__(self) -> None:
        self.messages: dict[int, list[tuple[int, int, int]]] = {}
        self.signals: dict[int, list[tuple[int, int]]] = {}
        self.num_unproven = 0

    def on_states(self, seen: Seen) -> None:
        self.num_unproven += int(np.count_nonzero(~seen.bodies.proven))

    def on_entries(self, heard: Heard, arrived: Any) -> None:
        for i in np.flatnonzero(heard.kind <= MAX_PLAYER_KIND).tolist():
            self.num_unproven += not heard.proven[i]
            entry = (int(heard.index[i]), int(heard.life[i]), int(heard.counter[i]))
            self.messages.setdefault(int(heard.row[i]), []).append(entry)

    def on_signals(self, caught: Caught) -> None:
        self.num_unproven += int(np.count_nonzero(~caught.proven))
        for row, life, counter in zip(caught.row.tolist(), caught.life.tolist(), caught.counter.tolist()):
            self.signals.setdefault(row, []).append((life, counter))

    def on_gap(self, row: Any, tick_before: Any, tick: Any) -> None:
        assert (tick >= tick_before).all()


class Twins:
    """An engine, clients, and a crowd that must be no different from them."""

    def __init__(self, seed: int, conditions: Conditions, *, rooms: int, per_room: int, habits: Habits) -> None:
        self.rng = Random(seed)
        self.now = 1.0
        self.engine = Engine(RelayConfig(tick_rate=TICK_RATE), bytes(range(32)), Random(seed))
        self.notes = Notes()
        self.clients: dict[int, ClientConnection] = {}
        self.address: dict[int, bytes] = {}
        self.heard: dict[int, tuple[list[Any], list[Any]]] = {}
        self.habits = habits
        self.down = {row: Link(f"down {seed} {row}", PERFECT) for row in range(rooms * per_room)}
        self.up = {row: Link(f"up {seed} {row}", PERFECT) for row in range(rooms * per_room)}
        self.in_air: list[tuple[float, int, int, bytes]] = []
        self.crowd: Crowd | None = None
        for number in range(rooms * per_room):
            self.join(number, number // per_room, per_room)
        for link in (*self.down.values(), *self.up.values()):
            link.conditions = conditions
        self.phase = {row: self.rng.randrange(STEPS_PER_TICK) for row in self.clients}

    def join(self, number: int, room: int, per_room: int) -> None:
        request = JoinRequest(
            mode=JoinMode.JOIN_OR_CREATE,
            code=f"ROOM-{room}",
            name=f"p{number}",
            max_players=per_room,
            max_state_bytes=self.habits.state_bytes,
        )
        client = ClientConnection(request, nonce=number + 1, now=self.now)
        address = pack_address("192.0.2.1", 1000 + number)
        welcome = None
        while welcome is None:
            self.now += 0.02
            self.give_engine([(data, address) for data in client.poll(self.now)])
            for to, data in self.engine.flush(self.now).datagrams():
                if to == address and data[0] != Kind.UPDATE:
                    client.receive(data, self.now)
                    if data[0] == Kind.WELCOME:
                        welcome = dtypes.WELCOME_FIELDS.decode(data)
        if self.crowd is None:
            shape = Shape(welcome.player_slots, welcome.page_ids, self.habits.state_bytes)
            self.crowd = Crowd(shape, self.habits, TICK_RATE, welcome.keepalive_ms / 1000, self.notes)
        row = self.crowd.adopt(welcome, room, self.now)
        self.clients[row], self.address[row] = client, address
        self.heard[row] = [], []

    def give_engine(self, datagrams: list[tuple[bytes, bytes]]) -> None:
        if datagrams:
            batch = Batch(len(datagrams))
            for data, address in datagrams:
                batch.append(data, address)
            self.engine.receive(batch, self.now)

    def run(self, seconds: float, *, acting: bool = True) -> None:
        for step in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.deliver()
            self.keep(self.engine.tick(self.now) if step % STEPS_PER_TICK == 0 else self.engine.flush(self.now))
            self.play(step, acting)
            self.compare()

    def keep(self, outgoing: Any) -> None:
        rows = {address: row for row, address in self.address.items()}
        for address, data in outgoing.datagrams():
            for arrival, copy in self.down[rows[address]].fate(data, self.now):
                self.in_air.append((arrival, rows[address], 0, copy))

    def deliver(self) -> None:
        self.in_air.sort(key=lambda flight: flight[0])
        due = [flight for flight in self.in_air if flight[0] <= self.now]
        self.in_air = self.in_air[len(due) :]
        self.give_engine([(data, self.address[row]) for _, row, is_up, data in due if is_up])
        down = [(row, data) for _, row, is_up, data in due if not is_up]
        for row, data in down:
            if row in self.clients:
                self.clients[row].receive(data, self.now)
        updates = [data for _, data in down if data[0] == Kind.UPDATE]
        source = np.zeros((max(1, len(updates)), ROW_BYTES), np.uint8)
        for i, data in enumerate(updates):
            source[i, : len(data)] = np.frombuffer(data, np.uint8)
        assert self.crowd is not None
        at, length = np.arange(len(updates)) * ROW_BYTES, np.array([len(data) for data in updates], np.int64)
        self.crowd.receive(source.reshape(-1), at, length, np.full(len(updates), self.now))

    def play(self, step: int, acting: bool) -> None:
        """Do the same as client and as crowd, and compare what both send."""
        assert self.crowd is not None
        crowd, habits = self.crowd, self.habits
        ticking = [row for row in self.clients if step % STEPS_PER_TICK == self.phase[row]]
        for row in ticking if acting else []:
            rows, client, me = np.array([row]), self.clients[row], self.crowd.people.player_id[[row]]
            if self.rng.random() < 0.8:
                crowd.publish(rows, self.now)
                content = claims.write(Use.STATE, rows, crowd.people.published[rows], habits.state_bytes)
                client.publish(0, content.tobytes(), self.now)
            if self.rng.random() < 0.2:
                crowd.say(rows, self.now)
                counter = crowd.people.said[rows]
                audience = audience_of(habits, Use.MESSAGE, rows, counter, me)
                content = claims.write(Use.MESSAGE, rows, counter, habits.message_bytes)
                client.send_message(content.tobytes(), **targets(audience))
            if self.rng.random() < 0.3:
                crowd.signal(rows, self.now)
                counter = crowd.people.signalled[rows]
                flags = int(signal_flags(counter)[0])
                client.send_signal(
                    claims.write(Use.SIGNAL, rows, counter, habits.signal_bytes).tobytes(),
                    newest_first=bool(flags & SignalFlag.NEWEST_FIRST),
                    after_log=bool(flags & SignalFlag.AFTER_LOG),
                    **targets(audience_of(habits, Use.SIGNAL, rows, counter, me)),
                )
        crowd.downlink.expire(self.now)
        by_crowd: dict[int, list[bytes]] = {row: [] for row in self.clients}
        gather(by_crowd, crowd.build_tick(np.array(ticking, np.int64), self.now))
        gather(by_crowd, crowd.build_words(self.now))
        for row, client in self.clients.items():
            datagrams = client.tick(self.now) if row in ticking else client.poll(self.now)
            assert [data.hex() for data in datagrams] == [data.hex() for data in by_crowd[row]], f"row {row}"
            for data in datagrams:
                for arrival, copy in self.up[row].fate(data, self.now):
                    self.in_air.append((arrival, row, 1, copy))

    def leave(self, row: int) -> None:
        assert self.crowd is not None
        bye = self.crowd.build_bye(row)
        client = self.clients.pop(row)
        client.close(self.now)
        assert client.poll(self.now) == [bye]
        self.crowd.end(row)
        self.give_engine([(bye, self.address[row])])

    def compare(self) -> None:
        assert self.crowd is not None
        people = self.crowd.people
        for row, client in self.clients.items():
            messages, signals = self.heard[row]
            for event in client.take_events():
                assert not isinstance(event, Disconnected)
                if isinstance(event, Message):
                    life, counter, proven = read(Use.MESSAGE, event.payload)
                    assert proven
                    messages.append((event.index, life, counter))
                elif isinstance(event, Signal):
                    life, counter, proven = read(Use.SIGNAL, event.payload)
                    assert proven
                    signals.append((life, counter))
            assert self.notes.messages.get(row, []) == messages
            assert self.notes.signals.get(row, []) == signals
            known = people.known[row]
            ids = np.flatnonzero(known)
            life, counter = (known[ids] >> np.uint64(32)).astype(int), (known[ids] & np.uint64(0xFFFFFFFF)).astype(int)
            contents = claims.write(Use.STATE, life, counter, self.habits.state_bytes)
            assert {int(i): contents[k].tobytes() for k, i in enumerate(ids)} == dict(client.table)
            assert (client.rtt_s is None) == (people.rtt_s[row] == UNKNOWN)
            assert client.rtt_s is None or people.rtt_s[row] == pytest.approx(client.rtt_s)


def targets(audience: Any) -> dict[str, Any]:
    ids = [int(audience.first[0]), int(audience.second[0])][: NUM_IDS[audience.target[0]]]
    return {"target": Target(int(audience.target[0])), "players": ids}


def gather(found: dict[int, list[bytes]], outbound: Outbound) -> None:
    for row, data, length in zip(outbound.row.tolist(), outbound.data, outbound.length.tolist()):
        found[row].append(data[:length].tobytes())


def read(use: Use, payload: bytes) -> tuple[int, int, bool]:
    life, counter, proven = claims.read(use, np.frombuffer(payload, np.uint8).reshape(1, -1))
    return int(life[0]), int(counter[0]), bool(proven[0])


def habits(per_room: int, **others: Any) -> Habits:
    sizes = {"state_bytes": 24, "message_bytes": 32, "signal_bytes": 20, "aim": Aim.MIXED}
    return Habits(per_room=per_room, **(sizes | others))


@pytest.mark.parametrize("seed", range(4 if FULL else 1))
@pytest.mark.parametrize("conditions", [PERFECT, ROUGH, LOSSY], ids=["perfect", "rough", "lossy"])
def test_a_crowd_sends_the_bytes_of_clients_and_knows_what_they_know(seed: int, conditions: Conditions) -> None:
    twins = Twins(seed, conditions, rooms=2, per_room=4, habits=habits(4))
    twins.run(6.0 if FULL else 2.0)
    twins.leave(1)
    twins.run(3.0 if FULL else 1.0)
    twins.run(2.0 if FULL else 1.0, acting=False)
    assert twins.notes.messages and twins.notes.signals
    assert twins.notes.num_unproven == 0
    assert twins.crowd is not None and twins.crowd.downlink.dropped["bad_section"] == 0


def test_a_room_of_many_pages_is_read_as_a_client_reads_it() -> None:
    twins = Twins(9, ROUGH, rooms=1, per_room=24, habits=habits(24, state_bytes=200, aim=Aim.OTHERS))
    assert twins.crowd is not None and twins.crowd.shape.num_pages > 8
    twins.run(4.0 if FULL else 0.7)
    twins.leave(3)
    twins.run(2.0 if FULL else 0.3)
    assert twins.notes.num_unproven == 0
