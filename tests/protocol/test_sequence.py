"""Serial numbers: rebuilt from 16 bits, accepted once, acknowledged bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import ACK_BITS, WINDOW
from protocol.sequence import ReceiveWindow, acked_seqs, extend, extend_array

wholes = st.integers(min_value=0, max_value=2**40)


@given(near=wholes, distance=st.integers(min_value=-32_768, max_value=32_767))
def test_a_number_less_than_half_a_round_away_is_rebuilt(near: int, distance: int) -> None:
    whole = near + distance
    assert extend(whole & 0xFFFF, near) == whole


@given(near=wholes, low=st.integers(min_value=0, max_value=0xFFFF))
def test_the_rebuilt_number_keeps_its_low_bits_and_is_the_nearest(near: int, low: int) -> None:
    whole = extend(low, near)
    assert whole & 0xFFFF == low
    assert -32_768 <= whole - near <= 32_767


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), wholes), max_size=20))
def test_the_array_form_gives_the_same_numbers(pairs: list[tuple[int, int]]) -> None:
    low = np.array([pair[0] for pair in pairs], dtype=np.uint16)
    near = np.array([pair[1] for pair in pairs], dtype=np.int64)
    before = low.copy(), near.copy()
    result = extend_array(low, near)
    assert result.dtype == np.int64
    assert result.tolist() == [extend(int(a), b) for a, b in pairs]
    assert (low == before[0]).all() and (near == before[1]).all()


class SetWindow:
    """The window as a set of all numbers ever accepted: slow, and plainly right."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def check(self, seq: int) -> bool | None:
        newest = max(self.seen, default=0)
        if seq < 1 or newest - seq >= WINDOW:
            return None
        return seq not in self.seen

    def ack_bits(self) -> int:
        newest = max(self.seen, default=0)
        return sum(1 << i for i in range(ACK_BITS) if newest - 1 - i in self.seen)


steps = st.lists(st.one_of(st.integers(-70, 3), st.integers(-2, 2), st.sampled_from([-64, -63, 63, 64, 65, 500])))


@given(steps)
def test_the_window_accepts_what_a_set_of_all_numbers_would(distances: list[int]) -> None:
    window, model = ReceiveWindow(), SetWindow()
    for distance in distances:
        seq = window.newest + distance
        verdict = window.check(seq)
        assert verdict is model.check(seq), seq
        if verdict:
            window.accept(seq)
            model.seen.add(seq)
        assert window.newest == max(model.seen, default=0)
        assert window.ack_bits() == model.ack_bits()


def test_checking_changes_nothing() -> None:
    window = ReceiveWindow()
    assert window.check(7) is True
    assert window.check(7) is True
    assert window.newest == 0


def test_a_datagram_at_the_edge_of_the_window_is_too_old() -> None:
    window = ReceiveWindow()
    window.accept(100)
    assert window.check(100 - WINDOW + 1) is True
    assert window.check(100 - WINDOW) is None
    assert window.check(100 - WINDOW - 1) is None


@pytest.mark.parametrize("seq", [0, -1, -70_000])
def test_a_number_before_the_first_is_never_accepted(seq: int) -> None:
    assert ReceiveWindow().check(seq) is None


def test_bit_0_means_the_datagram_before_the_acknowledged_one() -> None:
    window = ReceiveWindow()
    for seq in (1, 2, 4):
        window.accept(seq)
    assert (window.newest, window.ack_bits()) == (4, 0b110)
    assert acked_seqs(4, 0b110) == [4, 2, 1]


@given(st.sets(st.integers(1, 60), min_size=1))
def test_what_is_reported_is_what_arrived(received: set[int]) -> None:
    window = ReceiveWindow()
    for seq in sorted(received):
        window.accept(seq)
    newest = max(received)
    assert acked_seqs(newest, window.ack_bits()) == sorted((s for s in received if s >= newest - 32), reverse=True)


def test_bits_for_datagrams_before_the_first_name_nothing() -> None:
    assert acked_seqs(3, 0xFFFFFFFF) == [3, 2, 1]
