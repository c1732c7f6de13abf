"""What messages and signals have in common: counted, and read as `relay.audience` reads it."""

from random import Random

import numpy as np
import pytest

pytest.importorskip("numba")

from protocol import dtypes
from protocol.constants import MAX_SLOTS, DataSection, Target
from relay.audience import WORDS, read_audiences
from relay.batch import ROW_BYTES
from relay.columns import windows
from relay.ingress import Sections
from relay.loops.intake import Source
from relay.loops.parts import MESSAGES, SIGNALS, count_parts, payload_bytes, read_audience
from tests.relay.bench import ids, section, states_section

HEADER = dtypes.MESSAGE_HEADER


def view(data: bytes) -> Source:
    """View bytes as a batch of one row, the second of its kind, is viewed."""
    flat = np.zeros(2 * ROW_BYTES, np.uint8)
    flat[ROW_BYTES : ROW_BYTES + len(data)] = np.frombuffer(data, np.uint8)
    types = ("<u2", "<u4", *(getattr(dtypes, f"{name}_DTYPE") for name in ("DATA_HEADER", "STATE_HEADER")))
    headers = (dtypes.MESSAGE_HEADER_DTYPE, dtypes.SIGNAL_UP_HEADER_DTYPE)
    return Source(flat, *(windows(flat, dtype) for dtype in (*types, *headers)))


def test_messages_and_signals_are_counted_wherever_they_stand() -> None:
    sections = [section(DataSection.MESSAGE, bytes(9)), section(DataSection.SIGNAL, b""), states_section([(1, b"x")])]
    data = bytes(dtypes.DATA_HEADER.size) + b"".join([*sections, sections[0], section(77, bytes(300))])
    counts = np.zeros(2, np.int64)
    count_parts(view(data), 1, len(data), counts)
    assert (counts[MESSAGES], counts[SIGNALS]) == (2, 1)
    count_parts(view(data[: dtypes.DATA_HEADER.size]), 1, dtypes.DATA_HEADER.size, counts)
    assert counts.tolist() == [2, 1]


@pytest.mark.parametrize("target", [Target.ALL, Target.ALL_BUT, Target.ONE, Target.LIST])
def test_an_audience_is_what_the_columns_read(target: Target) -> None:
    rng = Random(int(target))
    for _ in range(50):
        count = {Target.ALL: 0, Target.LIST: rng.randrange(1, 200)}.get(target, 1)
        players = [rng.choice([rng.randrange(MAX_SLOTS), rng.randrange(65_536), 0, MAX_SLOTS]) for _ in range(count)]
        fields = {"message_id": 1, "kind": 1, "flags": 0, "channel": 0, "more": 0}
        body = HEADER.encode(**fields, target=target, target_count=count) + ids(players) + b"payload"
        source = view(body)
        sections = Sections(*(np.array([n]) for n in (0, int(DataSection.MESSAGE), ROW_BYTES, len(body))))
        words = np.full(WORDS, 7, np.uint64)
        read_audience(source, source.message[ROW_BYTES], ROW_BYTES + HEADER.size, words)
        expected = read_audiences(source.byte, sections, source.message[ROW_BYTES : ROW_BYTES + 1])
        assert words.tolist() == expected[0].tolist()
        assert payload_bytes(source.message[ROW_BYTES], len(body), HEADER.size) == 7
