"""Sequence numbers of one direction: windows, gaps, acknowledgements, round trips."""

from random import Random

import pytest

from protocol.drops import DropReason
from protocol.sequence import ReceiveWindow
from tests.tools.dump.samples import VECTORS
from tools.dump.streams import UNKNOWN_BASE, Stream

RESULTS = {None: "new", DropReason.DUPLICATE: "duplicate", DropReason.TOO_OLD: "too_old"}


@pytest.mark.parametrize("case", VECTORS["receive_windows"], ids=lambda case: str(case["name"]))
def test_what_is_dropped_is_what_the_shared_vectors_say(case: dict[str, list[dict[str, object]]]) -> None:
    stream = Stream(knows_begin=True)
    for arrival in case["arrivals"]:
        reason = stream.check(int(str(arrival["seq"])))
        assert RESULTS[reason] == arrival["result"]
        if reason is None:
            stream.accept(int(str(arrival["seq"])), 0.0)


def test_a_gap_is_missing_until_it_is_filled() -> None:
    stream = Stream(knows_begin=True)
    assert [stream.accept(seq, 0.0) for seq in (2, 3, 6, 4)] == [2, 1, 3, -2]
    assert (stream.num_missing, stream.num_late, stream.num_accepted) == (2, 1, 4)  # 1 and 5


@pytest.mark.parametrize("first", [1, 40_000, 65_535])
def test_numbers_go_on_over_the_wrap_wherever_the_capture_begins(first: int) -> None:
    stream = Stream(knows_begin=first == 1)
    wanted = range(first, first + 70_000)
    for n, whole in enumerate(wanted):
        seq = stream.extend(whole & 0xFFFF)
        assert stream.check(seq) is None and stream.accept(seq, 0.0) == 1
        assert seq == (whole if first == 1 else whole + UNKNOWN_BASE), n
    assert stream.num_missing == 0


def test_those_before_the_first_seen_are_late_and_not_missing() -> None:
    stream = Stream(knows_begin=False)
    for low in (5, 3, 4, 7):
        stream.accept(stream.extend(low), 0.0)
    assert (stream.num_missing, stream.num_late) == (1, 2)


def test_a_round_trip_is_the_time_to_the_first_acknowledgement_less_its_delay() -> None:
    stream = Stream(knows_begin=True)
    for seq in (1, 2, 3):
        stream.accept(seq, seq / 10)
    assert stream.handle_ack(2, 1, 10, 0.35) == pytest.approx(0.14)
    assert stream.handle_ack(2, 1, 10, 0.36) is None  # not new
    assert stream.handle_ack(3, 3, 255, 0.5) is None  # 255 ms or more
    assert stream.handle_ack(9, 0, 0, 0.6) is None  # never seen
    assert list(stream.round_trips_s) == pytest.approx([0.14])


def test_an_acknowledgement_before_anything_was_seen_means_nothing() -> None:
    assert Stream(knows_begin=False).handle_ack(5, 0, 0, 1.0) is None


@pytest.mark.parametrize("seed", range(8))
def test_what_acknowledgements_never_report_is_counted_once_it_is_out_of_their_reach(seed: int) -> None:
    rng = Random(seed)
    stream, receiver = Stream(knows_begin=seed % 2 == 0), ReceiveWindow()
    first = 1 if seed % 2 == 0 else 9_000
    lost = set()
    for seq in range(first, first + 2_000):
        stream.accept(stream.extend(seq & 0xFFFF), 0.0)
        if rng.random() < 0.2:
            lost.add(seq)
            continue
        receiver.accept(seq)
        if rng.random() < 0.7:
            stream.handle_ack(seq & 0xFFFF, receiver.ack_bits(), 0, 0.0)
            acked = seq
    reach_end = acked - 33
    wanted = len([seq for seq in lost if seq <= reach_end])
    assert abs(stream.num_unreported - wanted) <= 8  # those before the first acknowledgement are not known
    assert wanted > 300


def test_acknowledgements_that_were_not_captured_are_no_loss() -> None:
    stream = Stream(knows_begin=True)
    for seq in range(1, 1000):
        stream.accept(seq, 0.0)
        if seq in (40, 990):
            stream.handle_ack(seq, 0xFFFFFFFF, 0, 0.0)
    assert stream.num_unreported == 0
