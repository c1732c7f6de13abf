"""What players of a load send, where `test_crowd.py` does not look: when there is too much of it."""

from typing import Any

import numpy as np

from protocol import codec
from protocol.constants import MAX_DATAGRAM_BYTES, MESSAGE_WINDOW, DataSection, Kind, SignalFlag
from tests.tools.load.made import content, crowd_of, deliver, plan_of, update
from tools.load.claims import Use
from tools.load.crowd import Crowd
from tools.load.uplink import MAX_BACKLOG, Outbound, signal_flags

ME = np.array([1])


def made(**plan: Any) -> Crowd:
    return crowd_of(plan_of(**plan), witness=object())[0]


def sent(outbound: Outbound) -> list[Any]:
    """What was sent, decoded."""
    values = []
    for data, length in zip(outbound.data, outbound.length.tolist()):
        value = codec.decode(data[:length].tobytes())
        assert length <= MAX_DATAGRAM_BYTES and value.header.kind == Kind.DATA  # type: ignore[union-attr]
        values.append(value)
    return values


def bodies(value: Any, kind: DataSection) -> list[Any]:
    return [section.body for section in value.sections if section.type == kind]


def message_ids(outbound: Outbound) -> list[int]:
    return [body.header.message_id for value in sent(outbound) for body in bodies(value, DataSection.MESSAGE)]


def test_who_has_nothing_to_say_sends_nothing() -> None:
    crowd = made()
    assert sent(crowd.build_tick(np.arange(4), 0.0)) == []


def test_a_state_is_repeated_until_it_is_acknowledged() -> None:
    crowd = made()
    crowd.publish(ME, 0.0)
    for _ in range(2):
        (value,) = sent(crowd.build_tick(ME, 0.0))
        (body,) = bodies(value, DataSection.STATE)
        assert [(one.entity_id, one.state) for one in body.states] == [(1, content(Use.STATE, 1, 1))]
    assert crowd.unsettled().tolist() == [1]
    deliver(crowd, update(1, 1, 5, flags=0, ack=1))
    assert sent(crowd.build_tick(ME, 0.0)) == [] and crowd.unsettled().tolist() == []


def test_an_ack_of_a_datagram_with_an_older_state_settles_nothing() -> None:
    crowd = made()
    crowd.publish(ME, 0.0)
    crowd.build_tick(ME, 0.0)
    crowd.publish(ME, 0.1)
    deliver(crowd, update(1, 1, 5, flags=0, ack=1))
    assert crowd.unsettled().tolist() == [1]


def test_what_does_not_fit_waits_for_the_next_tick_and_nothing_gets_lost() -> None:
    crowd = made(signal_bytes=1000)
    crowd.signal(ME, 0.0)
    crowd.signal(ME, 0.0)
    crowd.say(ME, 0.0)
    crowd.publish(ME, 0.0)
    first, second = (sent(crowd.build_tick(ME, 0.0))[0] for _ in range(2))
    assert [len(bodies(first, kind)) for kind in (DataSection.STATE, DataSection.SIGNAL)] == [1, 1]
    assert [body.header.sequence for body in bodies(second, DataSection.SIGNAL)] == [2]
    assert crowd.people.signal_packed[1] == 2
    assert 1 in [body.header.message_id for v in (first, second) for body in bodies(v, DataSection.MESSAGE)]


def test_a_message_that_does_not_fit_is_not_overtaken() -> None:
    crowd = made(message_bytes=500)
    for _ in range(3):
        crowd.say(ME, 0.0)
    assert message_ids(crowd.build_tick(ME, 0.0)) == [1, 2]
    assert message_ids(crowd.build_tick(ME, 0.0)) == [3]


def test_no_more_messages_are_under_way_than_window_and_credit_permit() -> None:
    crowd = made()
    for _ in range(MESSAGE_WINDOW + 5):
        crowd.say(ME, 0.0)
    crowd.people.message_credit[1] = 3
    assert message_ids(crowd.build_tick(ME, 0.0)) == [1, 2, 3]
    crowd.people.message_credit[1] = 1000
    ids = [number for _ in range(4) for number in message_ids(crowd.build_tick(ME, 0.0))]
    assert max(ids) == MESSAGE_WINDOW and set(ids) >= set(range(4, MESSAGE_WINDOW + 1))


def test_who_is_not_answered_stops_talking_and_that_is_counted() -> None:
    crowd = made()
    for _ in range(MAX_BACKLOG + 2):
        crowd.say(ME, 0.0)
    assert crowd.people.said[1] == MAX_BACKLOG and crowd.uplink.messages_held_back == 2


def test_resends_are_counted_and_wait_for_their_time_when_much_waits() -> None:
    crowd = made(message_bytes=200)
    for _ in range(4):
        crowd.say(ME, 0.0)
    assert message_ids(crowd.build_tick(ME, 0.0)) == [1, 2, 3, 4]
    assert crowd.uplink.messages_resent == 0
    assert message_ids(crowd.build_tick(ME, 0.01)) == []
    assert message_ids(crowd.build_tick(ME, 9.0)) == [1, 2, 3, 4]
    assert crowd.uplink.messages_resent == 4


def test_a_message_that_arrived_behind_a_gap_is_not_sent_again() -> None:
    crowd = made(message_bytes=24)
    for _ in range(3):
        crowd.say(ME, 0.0)
    crowd.build_tick(ME, 0.0)
    deliver(crowd, update(1, 1, 5, flags=0, ack=1, message_ack=0, message_bits=0b110))
    assert message_ids(crowd.build_tick(ME, 9.0)) == [1]


def test_keepalives_and_acks_are_said_when_they_are_due() -> None:
    crowd = made()
    assert sent(crowd.build_words(0.9)) == []
    assert len(sent(crowd.build_words(1.0))) == 4
    assert sent(crowd.build_words(1.5)) == []
    crowd.end(2)
    assert len(sent(crowd.build_words(2.1))) == 3


def test_every_mixture_of_flags_occurs() -> None:
    flags = signal_flags(np.arange(1, 7))
    newest, after = int(SignalFlag.NEWEST_FIRST), int(SignalFlag.AFTER_LOG)
    assert flags.tolist() == [0, after, newest, after, 0, newest | after]
