"""A captured client, alive again, against a real engine in virtual time."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol.client import JoinMode, JoinRequest
from protocol.constants import ByeReason, Kind, Refusal
from protocol.drops import DropReason
from relay.addresses import pack_address
from relay.batch import Batch
from relay.config import RelayConfig
from relay.engine import Engine
from tests.tools.dump.made import Game, chatter
from tests.tools.dump.samples import damaged
from tests.tools.dump.test_uploads import RECORDING, recording_of
from tools.dump.replay_session import ReplaySession
from tools.dump.uploads import Recording, Upload, room_options

ADDRESS = pack_address("10.0.3.3", 999)


class Stage:
    """An engine and one replay, a step of 5 ms at a time."""

    def __init__(self, recording: Recording, speed: float = 1.0, **config: Any) -> None:
        self.engine = Engine(RelayConfig(**config), bytes(range(32)), Random(3))
        self.now = 50.0
        request = JoinRequest(mode=JoinMode.CREATE, name="Ada", code="AGAIN", **room_options(recording))
        self.replay = ReplaySession(recording, request, nonce=9, speed=speed, now=self.now)
        self.sent: list[bytes] = []
        self.tables: list[dict[int, bytes]] = []

    def run(self, seconds: float, lose: Callable[[bytes], bool] = lambda data: False) -> "Stage":
        """Run on, or to the end of the replay."""
        batch = Batch(512)
        for step in range(round(seconds * 200)):
            self.now += 0.005
            batch.clear()
            for data in self.replay.poll(self.now):
                self.sent.append(data)
                if not lose(data):
                    batch.append(data, ADDRESS)
            self.engine.receive(batch, self.now)
            send = self.engine.tick if step % 7 == 0 else self.engine.flush
            for _, data in send(self.now).datagrams():
                self.replay.receive(data, self.now)
            self.tables.append(self.engine.room_table("AGAIN"))
            if self.replay.ended:
                break
        return self

    @property
    def dropped(self) -> dict[DropReason, int]:
        return {reason: num for reason, num in self.engine.stats.dropped.items() if num}


def test_all_uploads_are_played_and_the_relay_takes_every_one() -> None:
    stage = Stage(RECORDING).run(10.0)
    assert stage.replay.is_done and stage.replay.ended == "all was played"
    data = [one for one in stage.sent if one[0] == Kind.DATA]
    assert len(data) >= len(RECORDING.uploads) and stage.replay.num_updates > 50
    assert stage.dropped.keys() <= {DropReason.UNKNOWN_SESSION}  # the copies of BYE
    states = {state for table in stage.tables for state in table.values()}
    wanted = {s.state for u in RECORDING.uploads for s in _states(u)}
    assert states <= wanted and len(states) > 0.8 * len(wanted)


def _states(upload: Upload) -> list[Any]:
    value: Any = codec.decode(upload.data)
    return [state for section in value.sections if section.type == 1 for state in section.body.states]


@pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
def test_time_is_scaled(speed: float) -> None:
    stage = Stage(RECORDING, speed).run(60.0)
    assert stage.replay.is_done and stage.now - 50 == pytest.approx(RECORDING.duration_s / speed + 0.5, abs=0.3)
    assert not stage.dropped.keys() - {DropReason.UNKNOWN_SESSION}


def test_in_a_long_silence_it_keeps_the_session_alive() -> None:
    first, last = RECORDING.uploads[0], RECORDING.uploads[-1]
    recording = Recording("Ada", [first, last._replace(at_s=20.0)], RECORDING.welcome, RECORDING.clock, [0], 12)
    stage = Stage(recording).run(40.0)
    assert stage.replay.is_done and not stage.dropped.keys() - {DropReason.UNKNOWN_SESSION}
    seqs = [int.from_bytes(data[2:4], "little") for data in stage.sent if data[0] == Kind.DATA]
    assert seqs == sorted(set(seqs)) and len(seqs) > 20


def test_copies_and_late_ones_are_played_as_they_were() -> None:
    uploads = list(RECORDING.uploads[:40])
    uploads.insert(11, uploads[10]._replace(at_s=uploads[11].at_s))
    uploads[20], uploads[22] = uploads[22]._replace(at_s=uploads[20].at_s), uploads[20]._replace(at_s=uploads[22].at_s)
    stage = Stage(Recording("Ada", uploads, RECORDING.welcome, RECORDING.clock, [0], 12)).run(10.0)
    assert stage.replay.is_done and stage.dropped.get(DropReason.DUPLICATE) == 1


def test_what_was_malformed_is_malformed_again() -> None:
    uploads = list(RECORDING.uploads[:30])
    broken = bytearray(uploads[10].data)
    broken[27] += 1
    uploads[10] = uploads[10]._replace(data=bytes(broken))
    stage = Stage(Recording("Ada", uploads, RECORDING.welcome, RECORDING.clock, [0], 12)).run(10.0)
    assert stage.replay.is_done and stage.dropped.get(DropReason.BAD_SECTION) == 1


def test_a_capture_cut_in_the_middle_is_played_too() -> None:
    capture = Game(1).run(3.0, chatter).capture
    hot = [packet for packet in capture if packet.data[0] in (Kind.DATA, Kind.UPDATE)][60:]
    stage = Stage(recording_of(hot, with_welcome=False)[0]).run(10.0)
    assert stage.replay.is_done and not stage.dropped.keys() - {DropReason.UNKNOWN_SESSION}
    assert any(stage.tables)


def test_a_refusal_ends_it_with_the_relays_words() -> None:
    stage = Stage(RECORDING, max_room_players=2, default_room_players=2).run(5.0)
    assert not stage.replay.is_done and stage.replay.ended.startswith(f"the relay refused: {Refusal.BAD_OPTIONS.name}")


def test_silence_ends_it_with_what_to_check() -> None:
    stage = Stage(RECORDING).run(10.0, lose=lambda data: True)
    assert stage.replay.ended.startswith("no answer") and not stage.replay.is_done


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (Kind.BYE, {"reason": ByeReason.KICKED, "text": b"out"}, "the relay ended it: KICKED, out"),
        (Kind.RESET, {"reset_token": bytes(16)}, "it was restarted"),
    ],
)
def test_a_relay_that_ends_it_is_told(kind: Kind, fields: dict[str, Any], words: str) -> None:
    stage = Stage(RECORDING).run(1.0)
    assert stage.replay.welcome is not None
    stage.replay.receive(codec.encode(kind, shard=0, session=5, **fields), stage.now)
    assert not stage.replay.ended
    stage.replay.receive(codec.encode(kind, shard=0, session=stage.replay.welcome.session, **fields), stage.now)
    assert words in stage.replay.ended and stage.replay.poll(stage.now) == [] and not stage.replay.is_done


@given(st.lists(damaged(), max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_bytes_from_the_network_raise(payloads: list[bytes]) -> None:
    stage = Stage(RECORDING).run(0.3)
    for data in payloads:
        stage.replay.receive(data, stage.now)
    assert all(isinstance(datagram, bytes) for datagram in stage.replay.poll(stage.now))


def test_who_gives_up_says_goodbye() -> None:
    stage = Stage(RECORDING)
    assert stage.replay.close() == []
    stage.run(1.0)
    byes = stage.replay.close()
    assert [data[0] for data in byes] == [Kind.BYE] * 3 and stage.replay.poll(stage.now) == stage.replay.close() == []
