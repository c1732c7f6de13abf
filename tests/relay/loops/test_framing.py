"""The compiled stage gives the bytes of the columns' stage, whatever is captured."""

from random import Random

import numpy as np
import pytest

pytest.importorskip("numba")

from protocol.constants import MAX_DATAGRAM_BYTES, Kind
from relay.addresses import pack_address
from relay.batch import Batch, Outgoing
from relay.capture.blocks import Framer
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.scrub import HOT_BYTES
from relay.capture.tap import Tap
from relay.loops import framing
from relay.loops.arrays import Box
from relay.loops.framing import LoopStage
from tests.relay.capture.captures import HEAD, KEY, CapturedBench, Memory, fill, payloads_of, play, read

V4 = pack_address("192.0.2.7", 50_001)
V6 = pack_address("2001:db8::7", 50_002, 3)
ALMOST_V4 = pack_address("::fffe:c000:207", 50_003)
KINDS = (Kind.DATA, Kind.DATA, Kind.UPDATE, Kind.UPDATE, Kind.PING, Kind.HELLO, 200)


class Taps:
    """Two taps that are given the same: one stages in columns, one in a loop."""

    def __init__(self, host: str = "::", redact_text: bool = False) -> None:
        self.files = Memory(), Memory()
        self.framer, self.pseudonyms = Framer(host, 24_545), Pseudonyms(KEY)
        self.stage = LoopStage(self.framer, self.pseudonyms, redact_text)
        options = {"epoch_s": 1.7e9, "redact_text": redact_text}
        self.taps = [
            Tap(Framer(host, 24_545), Pseudonyms(KEY), self.files[0].write, **options),
            Tap(self.framer, self.pseudonyms, self.files[1].write, **options, stage=self.stage),
        ]

    def receive(self, datagrams: list[tuple[bytes, bytes]], now: float) -> None:
        for tap in self.taps:
            batch = Batch(len(datagrams))
            for payload, address in datagrams:
                batch.append(payload, address)
            tap.on_received(batch, now)

    def send(self, outgoing: Outgoing, now: float) -> None:
        for tap in self.taps:
            tap.on_sent(outgoing, now)

    def complete(self) -> tuple[bytes, bytes]:
        for tap in self.taps:
            tap.complete()
        return self.files[0].blocks, self.files[1].blocks


def random_payload(rng: Random, most: int = MAX_DATAGRAM_BYTES + 1) -> bytes:
    """Any kind, any length, of one of a few sessions."""
    head = bytes([rng.choice(KINDS), 0, 1, 2]) + rng.randint(0, 9).to_bytes(8, "little")
    length = rng.choice((0, 1, 11, 12, 26, 27, 36, 37, rng.randint(0, 100), rng.randint(0, most)))
    return (head + rng.randbytes(most))[:length]


def random_outgoing(rng: Random) -> tuple[Outgoing, bytes]:
    """Datagrams in one to five pieces, none of them empty."""
    memory = np.frombuffer(rng.randbytes(20_000), np.uint8).copy()
    pieces, first, at = [], [0], 0
    for _ in range(rng.randint(1, 30)):
        payload = random_payload(rng, 400) or b"\0"
        start, cuts = at, sorted(rng.sample(range(1, max(2, len(payload))), min(rng.randint(0, 4), len(payload) - 1)))
        memory[at : at + len(payload)] = np.frombuffer(payload, np.uint8)
        at += len(payload)
        for begin, end in zip([0, *cuts], [*cuts, len(payload)], strict=True):
            pieces.append((memory.ctypes.data + start + begin, end - begin))
        first.append(len(pieces))
    addresses = b"".join(rng.choice((V4, V6, ALMOST_V4)) for _ in first[1:])
    table = np.frombuffer(addresses, np.uint32).reshape(-1, 7)
    return Outgoing(np.array(pieces, np.uint64), np.array(first), table, (memory,)), addresses


def play_random(taps: Taps, seed: int) -> tuple[bytes, bytes]:
    """Let taps take in random batches of both directions, completed now and then."""
    rng = Random(seed)
    for step in range(40):
        count = rng.randint(1, 60)
        taps.receive([(random_payload(rng), rng.choice((V4, V6, ALMOST_V4))) for _ in range(count)], step / 30)
        outgoing, _ = random_outgoing(rng)
        taps.send(outgoing, step / 30 + 0.001)
        if rng.random() < 0.2:
            taps.complete()
    return taps.complete()


@pytest.mark.parametrize("redact_text", [False, True])
@pytest.mark.parametrize("host", ["::", "10.9.9.9", "2001:db8::1"])
@pytest.mark.parametrize("seed", range(3))
def test_random_datagrams_give_the_bytes_of_the_columns(seed: int, host: str, redact_text: bool) -> None:
    columns, loops = play_random(Taps(host, redact_text), seed)
    assert columns == loops
    assert len(read(HEAD + loops)) > 1_000


def test_a_game_gives_the_bytes_of_the_columns() -> None:
    files = []
    for is_compiled in (False, True):
        bench = CapturedBench(is_compiled=is_compiled)
        play(bench, rooms=3, players=4, rounds=20)
        bench.captured()
        files.append(bench.memory.blocks)
    assert files[0] == files[1]
    assert len(read(HEAD + files[1])) > 500


def test_only_what_is_not_common_is_left() -> None:
    """Otherwise all the above would be the columns' work."""
    taps = Taps()
    data = bytes([Kind.DATA, 0, 1, 2]) + (7).to_bytes(8, "little") + bytes(40)
    taps.receive([(data, V4)] * 3, 0.0)
    taps.complete()  # knows the session now
    taps.receive([(data, V4), (bytes([Kind.PING]) * 40, V4), (data, V6), (data[:20], V4)], 1.0)
    left = payloads_of(taps.stage.take())
    assert [payload[0] for payload in left] == [Kind.PING, Kind.DATA] and len(left[1]) == 20


@pytest.mark.parametrize("index", range(6))
def test_a_wrong_header_is_seen(index: int) -> None:
    """Each thing that the loop knows of the relay, made wrong, gives other bytes."""
    taps = Taps()
    own = list(taps.framer.own())
    own[index] = own[index] + np.ones_like(own[index])
    taps.stage._own = Box(framing.Own(*own))
    columns, loops = play_random(taps, 1)
    assert columns != loops
    assert len(columns) == len(loops)


@pytest.mark.parametrize("name", ["stand_in", "hot_bytes"])
def test_a_wrong_pseudonym_or_kind_is_seen(name: str) -> None:
    taps = Taps()
    known = framing.Known(taps.pseudonyms.session, taps.pseudonyms.stand_in, HOT_BYTES)
    wrong = {"stand_in": np.ones_like(known.stand_in), "hot_bytes": np.zeros_like(known.hot_bytes)}
    taps.stage._known = Box(known._replace(**{name: wrong[name]}))
    columns, loops = play_random(taps, 2)
    assert columns != loops


def test_a_full_stage_says_so_and_an_empty_one_takes_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "STAGE_BYTES", 2_000)
    stage = LoopStage(Framer("::", 24_545), Pseudonyms(KEY))
    assert fill(stage, [b"a" * 1_000], [V4])
    payloads = [bytes([n]) * 1_000 for n in range(4)]
    assert not fill(stage, payloads[:1], [V4]) and not fill(stage, payloads, [V4] * 4)
    assert payloads_of(stage.take()) == [b"a" * 1_000]
    assert stage.is_empty
    assert fill(stage, payloads, [V4] * 4)
    assert payloads_of(stage.take()) == payloads


def test_there_is_room_for_any_number_that_is_left() -> None:
    taps = Taps()
    payloads = [(bytes([Kind.PING]) + number.to_bytes(4, "little"), V4) for number in range(3_000)]
    taps.receive(payloads, 0.0)
    taps.receive(payloads, 0.0)
    columns, loops = taps.complete()
    assert columns == loops
    assert len(read(HEAD + loops)) == 6_000


def test_nothing_is_compiled_while_it_captures() -> None:
    """One signature: another type of an argument would stop the relay for seconds."""
    signatures = len(framing.frame.signatures)  # type: ignore[attr-defined]
    bench = CapturedBench(is_compiled=True, room=b"ROOM1")
    play(bench)
    bench.captured()
    play_random(Taps(), 3)
    assert len(framing.frame.signatures) == signatures == 1  # type: ignore[attr-defined]
