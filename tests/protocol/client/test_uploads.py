"""Uploads: an entity is repeated until a datagram with its newest version is acknowledged."""

from typing import Any

import pytest

from protocol import schemas
from protocol.client.acks import StateVersion
from protocol.client.parcel import Parcel
from protocol.client.uploads import Uploads


class Sender:
    """Uploads with numbered datagrams."""

    def __init__(self) -> None:
        self.uploads = Uploads()
        self.seq = 0

    def send(self) -> tuple[list[tuple[int, bytes]], list[StateVersion]]:
        """Send one DATA: ((entity id, state) as a server reads them, the versions it carried)."""
        self.seq += 1
        parcel = Parcel()
        self.uploads.pack(self.uploads.due(), parcel, self.seq)
        return states_in(parcel), parcel.states


def sections_in(parcel: Parcel) -> list[Any]:
    body = parcel.body()
    sections = []
    while body:
        length = int.from_bytes(body[1:3], "little")
        sections.append(schemas.STATE_SECTION.parse(body[3 : 3 + length]))
        body = body[3 + length :]
    return sections


def states_in(parcel: Parcel) -> list[tuple[int, bytes]]:
    return [(state.entity_id, state.state) for section in sections_in(parcel) for state in section.states]


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_a_state_is_repeated_until_acknowledged(sender: Sender) -> None:
    sender.uploads.publish(9, b"one", 100)
    first, carried = sender.send()
    again, _ = sender.send()
    assert first == again == [(9, b"one")]
    sender.uploads.on_acked(carried)
    assert sender.send() == ([], [])
    assert sender.uploads.num_unacked == 0


def test_an_ack_of_an_older_version_settles_nothing(sender: Sender) -> None:
    sender.uploads.publish(9, b"one", 100)
    _, old = sender.send()
    sender.uploads.publish(9, b"two", 133)
    _, new = sender.send()
    sender.uploads.on_acked(old)
    assert sender.send()[0] == [(9, b"two")]
    sender.uploads.on_acked(new)
    sender.uploads.on_acked(new)
    assert sender.send()[0] == []


def test_the_same_bytes_again_are_no_news(sender: Sender) -> None:
    sender.uploads.publish(9, b"one", 100)
    _, carried = sender.send()
    sender.uploads.publish(9, b"one", 133)
    sender.uploads.on_acked(carried)
    assert sender.uploads.num_unacked == 0
    sender.uploads.publish(9, b"one", 166)
    assert sender.send()[0] == []


def test_a_removal_is_a_state_of_no_bytes_and_repeated_too(sender: Sender) -> None:
    sender.uploads.publish(9, b"one", 100)
    _, carried = sender.send()
    sender.uploads.on_acked(carried)
    sender.uploads.remove(9, is_there=False)
    sender.uploads.remove(9, is_there=False)
    assert sender.send()[0] == sender.send()[0] == [(9, b"")]


def test_what_was_never_published_cannot_be_removed(sender: Sender) -> None:
    sender.uploads.remove(9, is_there=False)
    assert sender.send()[0] == []


def test_a_state_published_after_a_removal_waits_until_that_is_acknowledged(sender: Sender) -> None:
    sender.uploads.publish(9, b"old", 100)
    sender.uploads.remove(9, is_there=False)
    sender.uploads.publish(9, b"new", 133)
    sender.uploads.publish(9, b"newer", 166)
    sent, carried = sender.send()
    assert sent == [(9, b"")]
    sender.uploads.on_acked(carried)
    assert sender.send()[0] == [(9, b"newer")]


def test_a_removal_drops_the_state_that_was_held_back(sender: Sender) -> None:
    sender.uploads.publish(9, b"old", 100)
    sender.uploads.remove(9, is_there=False)
    sender.uploads.publish(9, b"new", 133)
    sender.uploads.remove(9, is_there=False)
    _, carried = sender.send()
    sender.uploads.on_acked(carried)
    assert sender.uploads.num_unacked == 0
    sender.uploads.publish(9, b"next", 166)
    assert sender.send()[0] == [(9, b"next")]


def test_a_late_ack_of_a_former_life_settles_nothing_of_the_next(sender: Sender) -> None:
    sender.uploads.publish(9, b"old", 100)
    _, old = sender.send()
    sender.uploads.remove(9, is_there=False)
    _, removal = sender.send()
    sender.uploads.on_acked(removal)
    sender.uploads.publish(9, b"new", 200)
    sender.uploads.on_acked(old)
    assert sender.send()[0] == [(9, b"new")]


def test_there_is_one_section_per_stride_with_its_newest_sample_time(sender: Sender) -> None:
    sender.uploads.publish(1, b"aa", 65535)
    sender.uploads.publish(2, b"bbb", 65636)
    sender.uploads.publish(3, b"cc", 65540)
    parcel = Parcel()
    assert sender.uploads.pack(sender.uploads.due(), parcel, 1) == []
    headers = [
        (section.header.stride, section.header.count, section.header.sample_ms) for section in sections_in(parcel)
    ]
    assert headers == [(2, 2, 4), (3, 1, 100)]


def test_those_longest_unsent_go_first_when_not_all_fit(sender: Sender) -> None:
    for entity_id in range(10):
        sender.uploads.publish(entity_id, bytes([entity_id]) * 255, 100)
    rounds = [[entity_id for entity_id, _ in sender.send()[0]] for _ in range(5)]
    assert rounds == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4, 5], [6, 7, 0, 1]]


def test_a_newly_published_state_does_not_push_in_before_those_waiting(sender: Sender) -> None:
    for entity_id in range(8):
        sender.uploads.publish(entity_id, bytes(255), 100)
    sender.send()
    for entity_id in range(4):
        sender.uploads.publish(entity_id, b"x" * 255, 133)
    assert [entity_id for entity_id, _ in sender.send()[0]] == [4, 5, 6, 7]


def test_a_datagram_is_filled_to_the_byte(sender: Sender) -> None:
    for entity_id in range(400):
        sender.uploads.publish(entity_id, b"xy", 100)
    parcel = Parcel()
    rest = sender.uploads.pack(sender.uploads.due(), parcel, 1)
    # One section holds at most 255 entities although 281 would fit.
    assert len(parcel.states) == 255 and len(rest) == 145
    for entity_id in range(400):
        sender.uploads.publish(entity_id, b"xyz", 133)
    parcel = Parcel()
    sender.uploads.pack(sender.uploads.due(), parcel, 2)
    assert len(parcel.states) == (1134 - 7) // 5 and 0 <= parcel.room < 5


def test_a_datagram_takes_no_more_than_twenty_four_strides(sender: Sender) -> None:
    for stride in range(1, 31):
        sender.uploads.publish(stride, bytes(stride), 100)
    sent, _ = sender.send()
    assert len(sent) == 24
    assert {entity_id for entity_id, _ in sender.send()[0]} >= {25, 26, 27, 28, 29, 30}


def test_an_entity_that_we_never_published_is_removed_if_it_is_there(sender: Sender) -> None:
    sender.uploads.remove(9, is_there=True)
    sent, carried = sender.send()
    assert sent == [(9, b"")]
    sender.uploads.remove(9, is_there=True)
    sender.uploads.on_acked(carried)
    assert sender.send() == ([], []) and not sender.uploads.entity_ids


def test_what_is_not_ours_any_more_is_not_sent(sender: Sender) -> None:
    sender.uploads.publish(9, b"one", 100)
    _, carried = sender.send()
    sender.uploads.forget(9)
    sender.uploads.forget(10)
    assert sender.send() == ([], []) and sender.uploads.num_unacked == 0
    sender.uploads.publish(9, b"again", 100)
    sender.uploads.on_acked(carried)
    assert sender.send()[0] == [(9, b"again")]


def test_in_a_new_session_every_newest_state_and_open_removal_is_sent_again(sender: Sender) -> None:
    for entity_id, state in ((9, b"one"), (10, b"two"), (11, b"gone"), (12, b"open")):
        sender.uploads.publish(entity_id, state, 100)
    sender.uploads.remove(11, is_there=True)
    _, carried = sender.send()
    sender.uploads.on_acked(carried)
    sender.uploads.remove(12, is_there=True)
    assert sender.uploads.num_unacked == 1
    sender.uploads.on_resumed()
    assert sorted(sender.send()[0]) == [(9, b"one"), (10, b"two"), (12, b"")]
    assert sorted(sender.uploads.entity_ids) == [9, 10, 12]
