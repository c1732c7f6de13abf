"""Players on their way in: before a real engine, and before relays that refuse or say nothing."""

from random import Random
from typing import Any

import pytest

from protocol import codec
from protocol.constants import ByeReason, Kind, Refusal
from relay.addresses import pack_address
from relay.batch import Batch
from relay.config import RelayConfig
from relay.engine import Engine
from tests.tools.load.made import plan_of
from tools.load import joining as module
from tools.load.joining import AGAIN_S, COLD_KINDS, NO_ANSWER, Joining, made_up_welcome

STEP_S = 0.01


class Door:
    """Joining, and an engine behind it."""

    def __init__(self, *, is_silent: bool = False, config: dict[str, Any] | None = None, **plan: Any) -> None:
        self.plan = plan_of(**({"players": 8, "floor": False, "join_rate": 100.0} | plan))
        self.joining = Joining(self.plan, Random(1), lambda player, data: self.outbox.append((player, data)))
        self.engine = Engine(RelayConfig(**(config or {})), bytes(32), Random(2))
        self.is_silent = is_silent
        self.outbox: list[tuple[int, bytes]] = []
        self.admitted: list[tuple[float, int, Any]] = []
        self.begun: dict[int, float] = {}
        self.now = 10.0

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.joining.step(self.now)
            sent, self.outbox = self.outbox, []
            for player, _ in sent:
                self.begun.setdefault(player, self.now)
            if self.is_silent or not sent:
                continue
            batch = Batch(len(sent))
            for player, data in sent:
                batch.append(data, pack_address("192.0.2.1", 1000 + player))
            self.engine.receive(batch, self.now)
            for _, data in self.engine.flush(self.now).datagrams():
                self.hear(data)

    def hear(self, data: bytes) -> None:
        if data[0] in COLD_KINDS:
            admitted = self.joining.handle(data, self.now)
            if admitted is not None:
                self.admitted.append((self.now, *admitted))

    def want_all(self) -> None:
        for player in range(self.plan.num_players):
            self.joining.want(player, self.now)


def test_everybody_gets_in_into_the_right_room() -> None:
    door = Door(rooms=2)
    door.want_all()
    assert door.joining.num_waiting == 16
    door.run(1.0)
    assert door.joining.num_waiting == 0 and len(door.admitted) == 16
    assert len(door.joining.times) == 16 and not door.joining.refusals
    by_room: dict[bytes, set[int]] = {}
    for _, player, welcome in door.admitted:
        by_room.setdefault(welcome.code.rstrip(b"\0"), set()).add(player)
        assert welcome.max_players == 8 and welcome.max_state_bytes == 24
    assert by_room == {b"LOAD-0": set(range(8)), b"LOAD-1": set(range(8, 16))}


def test_no_more_begin_than_the_join_rate_permits() -> None:
    door = Door(join_rate=20.0, players=40)
    door.want_all()
    door.run(1.0)
    assert 18 <= len(door.begun) <= 23
    door.run(1.1)
    assert len(door.begun) == 40


def test_no_more_are_under_way_than_the_relay_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_AT_ONCE", 5)
    door = Door(is_silent=True, players=20, join_rate=1000.0)
    door.want_all()
    door.run(1.0)
    assert len(door.begun) == 5 and door.joining.num_waiting == 20


def test_nobody_begins_before_the_time_it_wants() -> None:
    door = Door()
    door.joining.want(3, door.now + 0.5)
    door.run(0.45)
    assert not door.begun
    door.run(0.2)
    assert list(door.begun) == [3] and door.begun[3] >= 10.5


def test_who_is_refused_says_why_and_tries_again() -> None:
    door = Door(config={"max_players": 2}, players=3)
    door.want_all()
    door.run(0.5)
    assert len(door.admitted) == 2 and door.joining.num_waiting == 1
    assert dict(door.joining.refusals) == {"The server is full. Try again later.": 1}
    door.run(2 * AGAIN_S + 0.1)
    assert sum(door.joining.refusals.values()) == 3


def test_who_is_not_answered_says_so_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 1.0)
    door = Door(is_silent=True, players=1)
    door.want_all()
    door.run(1.1)
    assert dict(door.joining.refusals) == {NO_ANSWER: 1} and door.joining.num_waiting == 1
    door.is_silent = False
    door.run(AGAIN_S + 0.2)
    assert [player for _, player, _ in door.admitted] == [0] and door.joining.num_waiting == 0


def test_answers_to_nobody_and_answers_that_come_again_change_nothing() -> None:
    door = Door(players=1)
    door.want_all()
    door.run(0.2)
    assert len(door.admitted) == 1
    stranger = codec.encode(
        Kind.REFUSE, shard=0, nonce=99, reason=Refusal.ROOM_FULL, revision_min=1, revision_max=1, text=b"no"
    )
    bye = codec.encode(Kind.BYE, shard=0, session=5, reason=ByeReason.LEFT, text=b"")
    for data in (stranger, stranger[:5], bye[:3]):
        assert door.joining.handle(data, door.now) is None
    assert door.joining.player_of(stranger) is None and not door.joining.refusals


def test_an_answer_is_its_players() -> None:
    door = Door(is_silent=True, players=4)
    door.want_all()
    door.run(0.2)
    attempts = door.joining._attempts
    assert len(attempts) == 4
    for nonce, attempt in attempts.items():
        assert door.joining.player_of(b"\2\0" + nonce.to_bytes(8, "little")) == attempt.player


def test_the_floors_players_are_in_as_a_relays_would_be() -> None:
    plan = plan_of(rooms=2, players=4)
    door = Door(players=4)
    door.want_all()
    door.run(0.5)
    _, _, real = door.admitted[0]
    made_up = made_up_welcome(plan, 5, 30)
    assert made_up._fields == real._fields
    assert all(type(one) is type(other) for one, other in zip(made_up, real))
    assert (made_up.session, made_up.player_id, made_up.page_ids) == (6, 1, real.page_ids)
