"""Ways to spoil a valid datagram. Each takes the random source and recorded datagrams, and returns bytes."""

from collections.abc import Callable, Sequence
from random import Random

from protocol import dtypes
from protocol.constants import Kind, Option
from tests.sim.network import flip_bits

EDGES = (0, 1, 2, 7, 8, 31, 32, 63, 64, 127, 128, 255)
EDGES_16 = (*EDGES, 256, 511, 512, 1023, 1024, 1025, 32767, 32768, 65534, 65535)
SECTIONS_AT = dtypes.DATA_HEADER.size


def sections_of(payload: bytes) -> list[bytes]:
    """Cut a DATA into its sections, headers included, as far as they are whole."""
    found, at = [], SECTIONS_AT
    while at + 3 <= len(payload):
        end = at + 3 + int.from_bytes(payload[at + 1 : at + 3], "little")
        found.append(payload[at:end])
        at = end
    return found


def flip(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Flip one to eight bits."""
    return flip_bits(rng.choice(pool), rng, rng.randint(1, 8))


def flip_behind_the_header(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Flip bits in the sections only, so that the datagram is of a session and in its window."""
    payload = rng.choice(pool)
    return payload[:SECTIONS_AT] + flip_bits(payload[SECTIONS_AT:], rng, rng.randint(1, 3))


def truncate(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Cut the end off."""
    payload = rng.choice(pool)
    return payload[: rng.randrange(len(payload) + 1)]


def extend(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Put something behind the end, perhaps beyond the largest size."""
    tail = rng.randbytes(rng.choice((1, 2, 3, 30, 1200)))
    return rng.choice(pool) + (bytes(len(tail)) if rng.random() < 0.3 else tail)


def splice(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Put sections of one datagram behind the header of another."""
    parts = sections_of(rng.choice(pool)) + sections_of(rng.choice(pool))
    rng.shuffle(parts)
    return rng.choice(pool)[:SECTIONS_AT] + b"".join(parts)


def repeat_sections(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Repeat the sections of a datagram, up to more than there may be."""
    payload = rng.choice(pool)
    return payload[:SECTIONS_AT] + b"".join(sections_of(payload) or [b"\xc8\0\0"]) * rng.choice((2, 3, 24, 25))


def change_a_byte_of_a_section(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Set a byte near the begin of a section, where lengths and counts are, to an edge."""
    payload = bytearray(rng.choice(pool))
    starts, at = [], SECTIONS_AT
    for section in sections_of(bytes(payload)):
        starts.append(at)
        at += len(section)
    if starts:
        place = rng.choice(starts) + rng.randrange(16)
        if place < len(payload):
            payload[place] = rng.choice(EDGES)
    return bytes(payload)


def change_a_header_field(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Set seq, session, ack, cursor or another field of a DATA header to an edge, a neighbour or anything."""
    payload = bytearray(rng.choice(pool))
    if len(payload) < SECTIONS_AT or payload[0] != Kind.DATA:
        return flip(rng, pool)
    header = dtypes.DATA_HEADER.decode(payload)._asdict()
    sizes = {
        "seq": 2,
        "session": 8,
        "ack": 2,
        "ack_bits": 4,
        "ack_delay": 1,
        "flags": 1,
        "log_cursor": 4,
        "reserved": 2,
    }
    name = rng.choice(list(sizes))
    ways = (
        header[name] + rng.choice((-65, -64, -63, -1, 1, 63, 64, 32767, 32768)),
        rng.choice(EDGES_16),
        rng.getrandbits(8 * sizes[name]),
        header[name] ^ 1 << rng.randrange(8 * sizes[name]),
    )
    header[name] = rng.choice(ways) % (1 << 8 * sizes[name])
    return dtypes.DATA_HEADER.encode(**header) + bytes(payload[SECTIONS_AT:])


def change_an_option(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Set a byte of the options of a JOIN or LIST to an edge, or put another option before them."""
    payload = bytearray(rng.choice(pool))
    begin = {Kind.JOIN: dtypes.JOIN_FIELDS.size, Kind.LIST: dtypes.LIST_FIELDS.size}.get(Kind(payload[0]))
    if begin is None or len(payload) <= begin:
        return flip(rng, pool)
    if rng.random() < 0.5:
        payload[rng.randrange(begin, len(payload))] = rng.choice(EDGES)
    else:
        value = rng.randbytes(rng.choice((0, 1, 2, 8, 30)))
        payload[begin:begin] = bytes([rng.choice(list(Option)), len(value)]) + value
    return bytes(payload)


def change_kind(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Claim to be another kind."""
    return bytes([rng.choice((*range(20), 127, 128, 144, 255))]) + rng.choice(pool)[1:]


def replay(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Send it again as it was."""
    return rng.choice(pool)


def noise(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Random bytes behind a kind that may be one."""
    return bytes([rng.choice((1, 3, 7, 9, 12, 13, 16, 16, 16, rng.randrange(256)))]) + rng.randbytes(
        rng.choice((0, 1, 20, 25, 26, 60, 255, 1199, 1200))
    )


def refresh(payload: bytes, newest: bytes, seq: int, acks: bool) -> bytes:
    """Give a spoiled DATA the session of the newest genuine one, a seq, and perhaps its acks and cursor.

    Without this nearly all fails at the window, and the checks behind that see little.
    """
    if len(payload) < SECTIONS_AT or payload[0] != Kind.DATA:
        return payload
    rest = newest[12:SECTIONS_AT] if acks else payload[12:SECTIONS_AT]
    return newest[:2] + (seq & 0xFFFF).to_bytes(2, "little") + newest[4:12] + rest + payload[SECTIONS_AT:]


MUTATIONS: tuple[Callable[[Random, Sequence[bytes]], bytes], ...] = (
    flip,
    flip_behind_the_header,
    truncate,
    extend,
    splice,
    repeat_sections,
    change_a_byte_of_a_section,
    change_a_byte_of_a_section,
    change_a_header_field,
    change_a_header_field,
    change_an_option,
    change_kind,
    replay,
    noise,
)
