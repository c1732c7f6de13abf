"""Acknowledgements: what is owed, what is learned, what is forgotten."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.client.acks import REMEMBERED_DATAGRAMS, Flight, LossMeter, Receipts, StateVersion
from protocol.constants import AckFlag


def header(ack: int, bits: int = 0, delay: int = 0, flags: int = 0) -> Any:
    return SimpleNamespace(ack=ack & 0xFFFF, ack_bits=bits, ack_delay=delay, flags=flags)


def test_nothing_is_known_of_losses_at_first() -> None:
    assert LossMeter().loss == 0.0


def test_a_loss_is_the_share_that_did_not_arrive() -> None:
    meter = LossMeter()
    for _ in range(100):
        meter.add(4, 3)
    assert meter.loss == pytest.approx(0.25)


def test_a_loss_of_long_ago_fades() -> None:
    meter = LossMeter()
    meter.add(100, 0)
    for _ in range(2000):
        meter.add(1, 1)
    assert meter.loss < 0.01


def test_a_late_datagram_never_makes_a_loss_negative() -> None:
    meter = LossMeter()
    meter.add(1, 1)
    meter.add(0, 1)
    assert meter.loss == 0.0


def test_before_anything_arrived_the_report_says_so() -> None:
    assert Receipts().report(5.0) == (0, 0, 0, AckFlag.NOTHING_RECEIVED)


def test_a_report_names_the_newest_and_those_before_it() -> None:
    receipts = Receipts()
    for seq in (1, 2, 4):
        receipts.accept(seq, 1.0, is_bare=False)
    # newest 4; bit 0 is 3 (missing), bit 1 is 2, bit 2 is 1
    assert receipts.report(1.020) == (4, 0b110, 20, 0)


def test_the_delay_counts_from_the_newest_and_saturates() -> None:
    receipts = Receipts()
    receipts.accept(2, 1.0, is_bare=False)
    receipts.accept(1, 1.1, is_bare=False)  # late: the newest is still 2
    assert receipts.report(1.2)[2] == 200
    assert receipts.report(3.0)[2] == 255
    assert receipts.report(0.5)[2] == 0  # a caller whose clock steps back


def test_an_acknowledgement_is_owed_fifty_ms_after_the_first_datagram_that_needs_one() -> None:
    receipts = Receipts()
    receipts.accept(1, 1.0, is_bare=True)
    assert not receipts.is_owed and receipts.due_at == math.inf
    receipts.accept(2, 1.1, is_bare=False)
    receipts.accept(3, 1.12, is_bare=False)
    assert receipts.is_owed and receipts.due_at == pytest.approx(1.15)
    receipts.report(1.15)
    assert not receipts.is_owed and receipts.due_at == math.inf


def test_the_sixteenth_datagram_makes_it_due_at_once() -> None:
    receipts = Receipts()
    for seq in range(1, 16):
        receipts.accept(seq, 1.0, is_bare=False)
    assert receipts.due_at == pytest.approx(1.05)
    receipts.accept(16, 1.01, is_bare=False)
    assert receipts.due_at == 1.01
    receipts.accept(17, 1.02, is_bare=False)
    assert receipts.due_at == 1.01


def test_losses_downward_are_gaps_in_the_numbers() -> None:
    receipts = Receipts()
    for seq in range(2, 101, 2):
        receipts.accept(seq, 1.0, is_bare=True)
    assert receipts.loss == pytest.approx(0.5)


def test_acknowledging_a_datagram_acknowledges_the_states_it_carried() -> None:
    flight = Flight()
    first, second, third = (StateVersion(entity_id, 1) for entity_id in (5, 6, 7))
    for states in ([first], [second], [third]):
        flight.add(1.0, states)
    assert flight.on_acked(header(3, 0b10), 1.1) == [first, third]
    assert flight.on_acked(header(3, 0b11), 1.2) == [second]
    assert flight.on_acked(header(3, 0b11), 1.3) == []


def test_nothing_received_acknowledges_nothing_and_is_always_permitted() -> None:
    flight = Flight()
    nothing = header(0, flags=AckFlag.NOTHING_RECEIVED)
    assert flight.may_be_acked(nothing)
    flight.add(1.0, [StateVersion(1, 1)])
    assert flight.on_acked(nothing, 1.1) == []


@pytest.mark.parametrize(("ack", "permitted"), [(0, False), (1, True), (3, True), (4, False), (65535, False)])
def test_only_what_was_sent_may_be_acknowledged(ack: int, permitted: bool) -> None:
    flight = Flight()
    for _ in range(3):
        flight.add(1.0, ())
    assert flight.may_be_acked(header(ack)) is permitted


def test_numbers_go_on_beyond_sixteen_bits() -> None:
    flight = Flight()
    flight.newest = 65535
    state = StateVersion(1, 1)
    assert flight.add(1.0, [state]) == 65536
    assert flight.may_be_acked(header(0)) and not flight.may_be_acked(header(1))
    assert flight.on_acked(header(0), 1.1) == [state]


def test_the_round_trip_is_measured_without_the_peers_delay() -> None:
    flight = Flight()
    flight.add(1.0, ())
    flight.on_acked(header(1, delay=20), 1.1)
    assert flight.rtt_s == pytest.approx(0.08)
    flight.add(2.0, ())
    flight.on_acked(header(2, 1), 2.16)
    assert flight.rtt_s == pytest.approx(0.09)


def test_a_saturated_delay_or_an_old_ack_gives_no_sample() -> None:
    flight = Flight()
    flight.add(1.0, ())
    flight.on_acked(header(1, delay=255), 2.0)
    flight.on_acked(header(1), 3.0)
    assert flight.rtt_s is None


def test_a_round_trip_is_never_negative() -> None:
    flight = Flight()
    flight.add(1.0, ())
    flight.on_acked(header(1, delay=200), 1.1)
    assert flight.rtt_s == 0.0


def test_what_an_ack_passes_over_counts_as_lost_until_it_comes() -> None:
    flight = Flight()
    for _ in range(40):
        flight.add(1.0, ())
    flight.on_acked(header(2), 1.1)  # 1 is missing
    assert flight.loss == pytest.approx(1 / 2)
    flight.on_acked(header(4, 0b10), 1.2)  # and 3; nobody waits until neither can be named again
    assert flight.loss == pytest.approx(2 / 4)
    flight.on_acked(header(4, 0b11), 1.2)  # 3 was only late
    assert flight.loss == pytest.approx(1 / 4)
    flight.on_acked(header(35, 0xFFFFFFFF), 1.3)
    assert flight.loss == pytest.approx(1 / 35)


def test_what_left_the_window_between_two_acks_is_unknown_and_not_lost() -> None:
    flight = Flight()
    states = [StateVersion(1, 1)]
    flight.add(1.0, states)
    for _ in range(99):
        flight.add(1.0, ())
    assert flight.on_acked(header(100, 0xFFFFFFFF), 1.1) == []
    assert flight.loss == 0.0


def test_the_oldest_datagram_is_forgotten_when_too_many_are_open() -> None:
    flight = Flight()
    for number in range(REMEMBERED_DATAGRAMS + 2):
        flight.add(1.0, [StateVersion(number, 1)])
    assert flight.on_acked(header(1), 1.1) == []
    assert flight.on_acked(header(2), 1.1) == []
    assert flight.on_acked(header(3), 1.1) == [StateVersion(2, 1)]
