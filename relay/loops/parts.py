"""What messages and signals have in common: they are looked for in checked datagrams, and name who they are for."""

from typing import Any

import numpy as np

from protocol import dtypes
from protocol.constants import MAX_SLOTS, DataSection, Target
from relay.audience import WORDS
from relay.batch import ROW_BYTES
from relay.loops.jit import inlined

MESSAGES, SIGNALS = 0, 1
"""What `count_parts` counts where."""
SECTION_BYTES = dtypes.SECTION_HEADER.size
_DATA_BYTES = dtypes.DATA_HEADER.size
_MESSAGE, _SIGNAL = int(DataSection.MESSAGE), int(DataSection.SIGNAL)
_ALL, _ALL_BUT = int(Target.ALL), int(Target.ALL_BUT)
_ID_BYTES = 2


@inlined
def first_section(row: int) -> int:
    """Return where the sections of the datagram in a batch row begin."""
    return row * ROW_BYTES + _DATA_BYTES


@inlined
def count_parts(source: Any, row: int, length: int, counts: Any) -> None:
    """Count the messages and signals of a checked datagram."""
    at, end = first_section(row), row * ROW_BYTES + length
    while at < end:
        kind = source.byte[at]
        counts[MESSAGES] += kind == _MESSAGE
        counts[SIGNALS] += kind == _SIGNAL
        at += SECTION_BYTES + np.int64(source.u16[at + 1])


@inlined
def read_audience(source: Any, header: Any, at: int, words: Any) -> None:
    """Read the targets of a checked section, whose ids begin at a byte, as `audience.read_audiences`.

    Args:
        words: (WORDS,) uint64, is overwritten.
    """
    for word in range(WORDS):
        words[word] = 0
    for k in range(header.target_count):
        player_id = np.int64(source.u16[at + _ID_BYTES * k])
        if player_id < MAX_SLOTS:
            words[player_id >> 6] |= np.uint64(1) << np.uint64(player_id & 63)
    if header.target in (_ALL, _ALL_BUT):
        for word in range(WORDS):
            words[word] = ~words[word]


@inlined
def payload_bytes(header: Any, size: int, header_bytes: int) -> int:
    """Return the payload of a checked section of `size` bytes: what is left behind header and ids."""
    return size - header_bytes - _ID_BYTES * np.int64(header.target_count)
