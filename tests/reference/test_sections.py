"""The engine's section walk against the reference, on valid and damaged datagrams."""

from random import Random
from typing import Any

import pytest

from protocol import codec
from protocol.constants import DataSection, Kind
from protocol.drops import DropReason
from relay import ingress
from relay.rooms import RoomOptions
from tests.reference import sections
from tests.reference.rig import Rig, batch_of
from tests.sim.network import flip_bits

MAX_STATE_BYTES = 40
OPTIONS = RoomOptions(max_players=4, entities_per_player=4, max_state_bytes=MAX_STATE_BYTES)


def random_state(rng: Random) -> dict[str, Any]:
    count, stride = rng.randint(0, 5), rng.choice((0, 1, 24, MAX_STATE_BYTES, MAX_STATE_BYTES + 1))
    states = [{"entity_id": rng.getrandbits(16), "state": rng.randbytes(stride)} for _ in range(count)]
    return {"header": {"sample_ms": rng.getrandbits(16), "count": count, "stride": stride}, "states": states}


def random_log_bits(rng: Random) -> dict[str, Any]:
    return {"words": [rng.getrandbits(32) for _ in range(rng.randint(0, 9))]}


def random_targets(rng: Random) -> tuple[int, list[int]]:
    target = rng.randint(0, 4)
    count = rng.choice((0, 1, 1, 3))
    return target, [rng.getrandbits(9) for _ in range(count)]


def random_message(rng: Random) -> dict[str, Any]:
    target, targets = random_targets(rng)
    header = {
        "message_id": rng.getrandbits(16),
        "kind": rng.choice((0, 1, 127, 128)),
        "flags": 0,
        "channel": rng.getrandbits(8),
        "target": target,
        "target_count": len(targets),
        "more": rng.choice((0, 0, 1, 2)),
    }
    return {"header": header, "targets": targets, "payload": rng.randbytes(rng.choice((0, 1, 30, 1024, 1025)))}


def random_signal(rng: Random) -> dict[str, Any]:
    target, targets = random_targets(rng)
    header = {
        "kind": rng.choice((0, 1, 127, 128)),
        "flags": rng.getrandbits(8),
        "channel": rng.getrandbits(8),
        "fragment": rng.choice((0x00, 0x10, 0x71, 0x77, 0x01, 0x80)),
        "target": target,
        "target_count": len(targets),
        "sequence": rng.getrandbits(16),
        "after_message": rng.getrandbits(16),
    }
    return {"header": header, "targets": targets, "payload": rng.randbytes(rng.choice((0, 1, 30)))}


BODIES = {
    DataSection.STATE: random_state,
    DataSection.LOG_BITS: random_log_bits,
    DataSection.MESSAGE: random_message,
    DataSection.SIGNAL: random_signal,
}


def random_data(rng: Random, session: int, seq: int) -> bytes:
    """Build a DATA whose sections are of known layouts, but not always of permitted values; then perhaps damage it."""
    parts = []
    for _ in range(rng.choice((0, 1, 2, 3, 23, 24, 25))):
        kind = rng.choice([*BODIES, 200])
        body = BODIES[kind](rng) if kind in BODIES else rng.randbytes(rng.randint(0, 9))
        parts.append({"type": int(kind), "body": body})
    header = dict(
        kind=Kind.DATA,
        shard=0,
        seq=seq,
        session=session,
        ack=0,
        ack_bits=0,
        ack_delay=0,
        flags=1,
        log_cursor=0,
        reserved=0,
    )
    while True:
        payload = codec.encode(Kind.DATA, header=header, sections=parts)
        if len(payload) <= 1200:
            break
        parts.pop()
    match rng.randrange(4):
        case 0:
            payload = payload[: rng.randint(26, len(payload))]
        case 1:
            payload = payload[:26] + flip_bits(payload[26:], rng, 2)
    return payload


@pytest.mark.parametrize("seed", range(8))
def test_the_walk_finds_the_sections_that_the_reference_finds(seed: int) -> None:
    rig = Rig(seed, [OPTIONS], players=4)
    rows = rig.rows[0]
    payloads = [random_data(rig.rng, rig.session_id(rows[n % 4]), n + 1) for n in range(400)]
    hot, _ = ingress.split_kinds(batch_of(payloads), rig.stats)
    received, _ = ingress.find_sessions(
        ingress.read_headers(batch_of(payloads), hot, rig.stats), rig.sessions, rig.stats
    )
    kept = ingress.check_sections(received, rig.sessions, rig.rooms, rig.stats)
    expected = {n: sections.walk(payload, MAX_STATE_BYTES) for n, payload in enumerate(payloads)}
    well_formed = [n for n in expected if expected[n] is not None]
    number_of = kept.at // ingress.ROW_BYTES  # datagrams come out ordered by session
    assert sorted(number_of.tolist()) == well_formed
    assert rig.stats.dropped[DropReason.BAD_SECTION] == len(payloads) - len(well_formed)
    found: dict[int, list[tuple[int, int, int]]] = {n: [] for n in well_formed}
    walked = kept.sections
    for datagram, kind, at, length in zip(walked.datagram, walked.kind, walked.at, walked.length, strict=True):
        found[int(number_of[datagram])].append((int(kind), int(at - kept.at[datagram]), int(length)))
    assert {n: sorted(found[n], key=lambda part: part[1]) for n in well_formed} == {n: expected[n] for n in well_formed}
    assert 50 < len(well_formed) < 350  # the input tries both
