"""Taking secrets out of captured payloads, in place: DATA and UPDATE by columns, everything else one by one.

In a DATA or UPDATE only the header holds secrets (checked here at import, against the schemas); a cold datagram is
walked by its schema. What belongs to no field of a cold datagram is set to zero: nobody can say that it is harmless.
A cold datagram costs some 20 us, and the relay has a budget of them (SPEC 12).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from protocol import dtypes, schemas
from protocol.constants import Kind
from relay.capture.blocks import Blocks
from relay.capture.fields import OPTION_KEYS, PUBLIC_OPTIONS, Secrecy, field_paths, secrecy_of, spans_of
from relay.capture.pseudonyms import Pseudonyms
from relay.columns import Bools, Ints, places, windows

BLANK = ord("x")
"""What stands for a blanked letter: it can be read, and a name of it is still a name."""
_HOT = {Kind.DATA: (schemas.DATA, dtypes.DATA_HEADER_DTYPE), Kind.UPDATE: (schemas.UPDATE, dtypes.UPDATE_HEADER_DTYPE)}
_KIND_NUMBERS = {kind: int(kind) for kind in _HOT}


def _secrets_of(kind: Kind) -> list[int]:
    """Find the secrets in the header of a hot kind. Returns: their offsets, each of a u64 that names a session."""
    schema, header = _HOT[kind]
    prefix = f"{kind.name.lower()}."
    offsets = []
    for path in field_paths(schema, prefix[:-1]):
        if secrecy_of(path) is Secrecy.SECRET:
            name = path.removeprefix(prefix)
            if name != "session" or header.fields is None or header["session"] != np.dtype("<u8"):
                raise TypeError(f"{path} is secret, and nobody takes it out of a batch yet; permitted: session, u64")
            offsets.append(int(header.fields["session"][1]))
    return offsets


_SECRET_OFFSETS = {kind: _secrets_of(kind) for kind in _HOT}


def hot_of(blocks: Blocks, kinds: Ints, kind: Kind) -> Ints:
    """List the datagrams that are of a hot kind and have its whole header."""
    _, header = _HOT[kind]
    return places((kinds == _KIND_NUMBERS[kind]) & (blocks.length >= header.itemsize))


def scrub(blocks: Blocks, pseudonyms: Pseudonyms, blank_texts: bool) -> tuple[Ints, Ints]:
    """Replace every secret of every payload.

    Args:
        blank_texts: Blank the texts of cold datagrams too; those of hot ones are `redact`'s.
    Returns: which datagrams are DATA and which are UPDATE.
    """
    if not len(blocks.length):
        return blocks.length, blocks.length
    kinds = blocks.buffer[blocks.payload_at].astype(np.int64)
    kinds[blocks.length == 0] = 0
    is_cold = np.ones(len(kinds), np.bool_)
    data, update = hot_of(blocks, kinds, Kind.DATA), hot_of(blocks, kinds, Kind.UPDATE)
    words: npt.NDArray[Any] = windows(blocks.buffer, "<u8")
    for kind, which in ((Kind.DATA, data), (Kind.UPDATE, update)):
        is_cold[which] = False
        for offset in _SECRET_OFFSETS[kind]:
            at = blocks.payload_at[which] + offset
            words[at] = pseudonyms.of_sessions(words[at])
    _scrub_cold(blocks, is_cold, pseudonyms, blank_texts)
    return data, update


def _scrub_cold(blocks: Blocks, is_cold: Bools, pseudonyms: Pseudonyms, blank_texts: bool) -> None:
    for i in places(is_cold).tolist():
        start = int(blocks.payload_at[i])
        stop = start + int(blocks.length[i])
        clean = scrub_datagram(blocks.buffer[start:stop].tobytes(), pseudonyms, blank_texts)
        blocks.buffer[start:stop] = np.frombuffer(clean, np.uint8)


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
