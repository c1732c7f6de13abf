"""Taking secrets out of captured payloads, in place: DATA and UPDATE by columns, everything else one by one.

In a DATA or UPDATE only the header holds secrets (checked here at import, against the schemas); a cold datagram is
walked by its schema. What belongs to no field of a cold datagram is set to zero: nobody can say that it is harmless.
A cold datagram costs 9 us (PING) to 53 (WELCOME). The relay refuses a flood of them for less; so a capture looks into a
bounded number a second, and of the others only kind and shard are kept.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from protocol import codec, dtypes, schemas
from protocol.constants import MAX_DATAGRAM_BYTES, Kind
from protocol.drops import DropReason
from relay.capture.blocks import Blocks
from relay.capture.fields import OPTION_KEYS, PUBLIC_OPTIONS, Secrecy, field_paths, secrecy_of, spans_of
from relay.capture.pseudonyms import Pseudonyms
from relay.columns import Ints, expand, places, windows
from relay.ingress import COLD_KINDS

BLANK = ord("x")
"""What stands for a blanked letter: it can be read, and a name of it is still a name."""
_HOT = {Kind.DATA: (schemas.DATA, dtypes.DATA_HEADER_DTYPE), Kind.UPDATE: (schemas.UPDATE, dtypes.UPDATE_HEADER_DTYPE)}


def _secret_offset() -> int:
    """Find the one secret of DATA and UPDATE, in their headers and at the same place in both: the session.

    Raises: TypeError if there is another. Who adds one must take it out of a batch here.
    """
    offsets = set()
    for kind, (schema, header) in _HOT.items():
        prefix = kind.name.lower()
        for path in field_paths(schema, prefix):
            if secrecy_of(path) is Secrecy.SECRET:
                name = path.removeprefix(f"{prefix}.")
                if name != "session" or header.fields is None or header[name] != np.dtype("<u8"):
                    raise TypeError(f"{path} is secret, and nobody takes it out of a batch; permitted: session, u64")
                offsets.add(int(header.fields[name][1]))
    if len(offsets) != 1:
        raise TypeError(f"sessions are at {sorted(offsets)}; permitted: one place in DATA and UPDATE")
    return offsets.pop()


_COLD_KINDS = frozenset(bytes([kind]) for kind in COLD_KINDS)
"""First bytes of the cold datagrams that a relay reads at all."""
SESSION_AT = _secret_offset()
"""Where the session stands in a hot kind's header."""
HOT_BYTES = np.full(256, MAX_DATAGRAM_BYTES * 2)
"""Bytes of a hot kind's header; of another kind more than it can have."""
for _kind, (_, _header) in _HOT.items():
    HOT_BYTES[int(_kind)] = _header.itemsize


def hot_of(blocks: Blocks, kind: Kind) -> Ints:
    """List the datagrams that are of a hot kind and have its whole header."""
    kinds = blocks.buffer[blocks.payload_at]
    return places((kinds == int(kind)) & (blocks.length >= HOT_BYTES[int(kind)]))


def scrub(blocks: Blocks, pseudonyms: Pseudonyms, blank_texts: bool, max_cold: int) -> int:
    """Replace every secret of every payload.

    Args:
        blank_texts: Blank the texts of cold datagrams too; those of hot ones are `redact`'s.
        max_cold: Cold datagrams that are looked into. Of the later ones all but kind and shard becomes 0.
    Returns: how many cold datagrams there were.
    """
    # the first byte of an empty payload is another's, but it is no whole header anyway
    is_hot = HOT_BYTES[blocks.buffer[blocks.payload_at]] <= blocks.length
    session_at = blocks.payload_at + SESSION_AT
    cold = places(~is_hot)
    if len(cold):
        session_at = session_at[is_hot]
        _scrub_cold(blocks, cold[:max_cold], pseudonyms, blank_texts)
        _empty(blocks, cold[max_cold:])
    words: npt.NDArray[Any] = windows(blocks.buffer, "<u8")
    words[session_at] = pseudonyms.of_sessions(words[session_at])
    return len(cold)


def _empty(blocks: Blocks, which: Ints) -> None:
    """Set payloads to 0 behind kind and shard."""
    datagram, k = expand(np.maximum(blocks.length[which] - 2, 0))
    blocks.buffer[blocks.payload_at[which][datagram] + 2 + k] = 0


def _scrub_cold(blocks: Blocks, which: Ints, pseudonyms: Pseudonyms, blank_texts: bool) -> None:
    for i in which.tolist():
        start = int(blocks.payload_at[i])
        stop = start + int(blocks.length[i])
        data = blocks.buffer[start:stop].tobytes()
        if blank_texts and not _has_layout(data, bool(blocks.is_sent[i])):
            clean = data[:2] + bytes(len(data[2:]))
        else:
            clean = scrub_datagram(data, pseudonyms, blank_texts)
        blocks.buffer[start:stop] = np.frombuffer(clean, np.uint8)


def _has_layout(data: bytes, is_sent: bool) -> bool:
    """Tell whether a cold datagram is what its kind says; if not, a message may stand in fields that anybody may see.

    What the relay sends is; what it received need not be, as a DATA whose kind says PONG.
    """
    return is_sent or (data[:1] in _COLD_KINDS and not isinstance(codec.decode(data), DropReason))


def scrub_datagram(data: bytes, pseudonyms: Pseudonyms, blank_texts: bool) -> bytes:
    """Return one datagram without its secrets, as long as it was. Raises: nothing, whatever the bytes."""
    clean = bytearray(len(data))
    clean[:2] = data[:2]  # kind and shard, whether or not the kind is known
    key = b""
    for span in spans_of(data):
        value = data[span.start : span.stop]
        if span.path in OPTION_KEYS:
            key = value
        secrecy = secrecy_of(span.path)
        if span.path == "join.options.value" and key and key[0] in PUBLIC_OPTIONS:
            secrecy = Secrecy.PUBLIC
        if secrecy is Secrecy.SECRET:
            value = pseudonyms.of(span.path.rpartition(".")[2], value)
        elif secrecy is Secrecy.TEXT and blank_texts:
            value = bytes(BLANK if letter else 0 for letter in value)  # padding stays padding
        clean[span.start : span.stop] = value
    return bytes(clean)
