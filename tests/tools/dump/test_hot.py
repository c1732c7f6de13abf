"""The quick reading of DATA and UPDATE, held against the codec and against find_problem."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol.constants import Kind
from tests.tools.dump.samples import GOOD, damaged, datagrams
from tests.tools.dump.test_problems import BROKEN_RULES, data_with, log_range, message, page, signal, update_with
from tools.dump.hot import Hot, read_hot
from tools.dump.problems import find_problem


def assert_agrees(hot: Hot, payloads: list[bytes]) -> None:
    """What is certain has no problem, and its header, sizes and sections are those of the codec."""
    for row, place in enumerate(hot.place.tolist()):
        data = payloads[place]
        assert hot.size[row] == len(data)
        problem = find_problem(data)
        assert bool(hot.certain[row]) == (problem is None), (data.hex(), problem)
        if problem is not None:
            continue
        value = codec.decode(data)
        header = {name: int(hot.header[name][row]) for name in hot.header.dtype.names or ()}
        assert header == {key: value.header[key] for key in header}
        mine = hot.sections.where(hot.sections.datagram == row)
        order = np.argsort(mine.at)
        assert mine.kind[order].tolist() == [section.type for section in value.sections]
        strides = [section.body.header.stride for section in value.sections if data[0] == 16 and section.type == 1]
        strides += [g.header.stride for s in value.sections if data[0] == 17 and s.type == 1 for g in s.body.groups]
        assert hot.max_stride[row] == max(strides, default=0)


@given(st.lists(st.one_of(datagrams(), damaged()), max_size=12))
@settings(max_examples=300, deadline=None)
def test_quick_and_thorough_agree_on_random_and_damaged_datagrams(payloads: list[bytes]) -> None:
    for kind in (Kind.DATA, Kind.UPDATE):
        hot = read_hot(kind, payloads)
        wanted = [i for i, data in enumerate(payloads) if codec_knows(kind, data)]
        assert hot.place.tolist() == wanted
        assert_agrees(hot, payloads)


def codec_knows(kind: Kind, data: bytes) -> bool:
    return data[:1] == bytes([kind]) and (26 if kind is Kind.DATA else 32) <= len(data) <= 1200


def test_quick_and_thorough_agree_on_the_vectors() -> None:
    payloads = [data for _, data in GOOD]
    for kind in (Kind.DATA, Kind.UPDATE):
        hot = read_hot(kind, payloads)
        assert len(hot) > 3
        assert_agrees(hot, payloads)


@pytest.mark.parametrize("data", [data for data, _, _ in BROKEN_RULES], ids=[text for _, _, text in BROKEN_RULES])
def test_no_datagram_that_breaks_a_rule_is_certain(data: bytes) -> None:
    assert read_hot(Kind(data[0]), [data]).certain.tolist() == [False]


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.UPDATE])
def test_nothing_to_read_is_no_error(kind: Kind) -> None:
    assert len(read_hot(kind, [])) == len(read_hot(kind, [b"", b"\x01\0"])) == 0


def test_good_sections_of_every_kind_are_certain_so_that_the_quick_way_is_taken() -> None:
    data = data_with((1, bytes((0, 0, 1, 3)) + bytes(5)), (2, bytes(4)), message(), signal())
    update = update_with(page(), page(stride=9), log_range(5, 9, 4, 6, 8), (3, bytes((1, 0, 0, 0)) + bytes(6)))
    for kind, payload, stride in ((Kind.DATA, data, 3), (Kind.UPDATE, update, 9)):
        hot = read_hot(kind, [payload, payload])
        assert hot.certain.tolist() == [True, True] and hot.max_stride.tolist() == [stride, stride]
        assert len(hot.sections.at) == 8
