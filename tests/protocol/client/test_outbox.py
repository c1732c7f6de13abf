"""Outbox: messages are numbered, windowed and repeated until acknowledged."""

from typing import Any

import pytest

from protocol import schemas
from protocol.client.outbox import LAST_BYTES, MAX_WAITING_BYTES, Outbox, OutboxFull
from protocol.client.parcel import Parcel
from protocol.constants import MAX_MESSAGE_BYTES, RequestKind, Target

RETRY_S = 1.5 * 0.2 + 0.05


class Sender:
    """An outbox whose messages are read as a server reads them."""

    def __init__(self, message_id: int = 0, credit: int = 1000) -> None:
        self.outbox = Outbox(message_id, credit)

    def queue(self, payload: bytes, target: Target = Target.ALL, players: tuple[int, ...] = ()) -> None:
        self.outbox.queue(payload, 1, 0, target, players)

    def send(self, now: float, rtt_s: float | None = None) -> list[Any]:
        """Send as many DATA as it takes; returns the sections."""
        todo = self.outbox.due(now)
        sections = []
        while todo:
            parcel = Parcel()
            todo = self.outbox.pack(todo, parcel, now, rtt_s)
            sections += messages_in(parcel)
        return sections

    def send_ids(self, now: float, rtt_s: float | None = None) -> list[int]:
        return [section.header.message_id for section in self.send(now, rtt_s)]


def messages_in(parcel: Parcel) -> list[Any]:
    body = parcel.body()
    sections = []
    while body:
        length = int.from_bytes(body[1:3], "little")
        sections.append(schemas.MESSAGE_SECTION.parse(body[3 : 3 + length]))
        body = body[3 + length :]
    return sections


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_few_bytes_are_repeated_in_every_tick_until_acknowledged(sender: Sender) -> None:
    sender.queue(bytes(256))
    sender.queue(bytes(256))
    assert sender.send_ids(1.0) == sender.send_ids(1.001) == [1, 2]
    sender.outbox.on_acked(1, 0, 1000)
    assert sender.send_ids(1.002) == [2]
    sender.outbox.on_acked(2, 0, 1000)
    assert sender.send_ids(1.003) == []
    assert sender.outbox.num_waiting == 0
    assert sender.outbox.num_resent == 3


def test_many_bytes_are_repeated_after_a_round_trip_and_a_half_and_50_ms(sender: Sender) -> None:
    sender.queue(bytes(513))
    assert sender.send_ids(1.0) == [1]
    assert sender.send_ids(1.0 + RETRY_S - 0.001) == []
    assert sender.send_ids(1.0 + RETRY_S + 0.001, rtt_s=0.04) == [1]
    assert sender.send_ids(1.0 + RETRY_S + 0.105) == []
    assert sender.send_ids(1.0 + RETRY_S + 0.112) == [1]


def test_only_what_did_not_arrive_is_sent_again(sender: Sender) -> None:
    for _ in range(5):
        sender.queue(bytes(600))
    assert sender.send_ids(1.0) == [1, 2, 3, 4, 5]
    sender.outbox.on_acked(1, 0b1010, 1000)  # 1, 3 and 5 arrived
    assert sender.outbox.num_waiting == 2
    assert sender.send_ids(2.0) == [2, 4]
    sender.outbox.on_acked(5, 0, 1000)
    assert sender.outbox.num_waiting == 0


def test_no_more_than_the_window_is_sent(sender: Sender) -> None:
    for _ in range(40):
        sender.queue(b"")
    assert sender.send_ids(1.0) == list(range(1, 33))
    sender.outbox.on_acked(2, 0, 1000)
    assert sender.send_ids(1.1) == list(range(3, 35))


def test_no_more_than_the_credit_is_sent() -> None:
    sender = Sender(credit=2)
    for _ in range(4):
        sender.queue(b"x")
    assert sender.send_ids(1.0) == [1, 2]
    sender.outbox.on_acked(2, 0, 3)
    assert sender.send_ids(1.1) == [3]


def test_ids_go_on_beyond_sixteen_bits() -> None:
    sender = Sender(message_id=65534, credit=100)
    for _ in range(3):
        sender.queue(b"x")
    assert sender.send_ids(1.0) == [65535, 0, 1]
    assert sender.outbox.last_id == 65537
    assert sender.outbox.may_be_acked(0) and not sender.outbox.may_be_acked(2)
    sender.outbox.on_acked(0, 0, 100)
    assert sender.send_ids(1.1) == [1]


def test_only_what_was_sent_may_be_acknowledged(sender: Sender) -> None:
    sender.queue(b"x")
    assert sender.outbox.may_be_acked(0)
    assert not sender.outbox.may_be_acked(1)
    sender.send(1.0)
    assert sender.outbox.may_be_acked(1)
    assert not sender.outbox.may_be_acked(65535)


def test_bits_for_what_was_never_sent_lose_no_message() -> None:
    sender = Sender(credit=1)
    sender.queue(b"x")
    sender.queue(b"y")
    sender.send(1.0)
    sender.outbox.on_acked(0, 0xFFFFFFFF, 100)
    assert sender.send_ids(1.1) == [2]


def test_a_large_message_is_cut_into_fragments(sender: Sender) -> None:
    payload = bytes(range(256)) * 10
    sender.queue(payload, Target.ONE, (3,))
    sections = sender.send(1.0)
    assert b"".join(section.payload for section in sections) == payload
    assert [section.header.more for section in sections] == [1, 1, 0]
    assert [(section.header.target, list(section.targets)) for section in sections] == [
        (Target.ONE, [3]),
        (Target.ALL, []),
        (Target.ALL, []),
    ]


def test_a_long_list_of_players_makes_the_first_fragment_shorter(sender: Sender) -> None:
    sender.queue(bytes(1024), Target.LIST, tuple(range(255)))
    sections = sender.send(1.0)
    assert [len(section.payload) for section in sections] == [578, 446]
    assert list(sections[0].targets) == list(range(255))


def test_a_payload_of_exactly_one_fragment_is_one_section(sender: Sender) -> None:
    sender.queue(bytes(1024))
    assert [len(section.payload) for section in sender.send(1.0)] == [1024]


def test_the_largest_message_has_1024_fragments_and_no_more_bytes_are_taken(sender: Sender) -> None:
    sender.queue(bytes(MAX_MESSAGE_BYTES))
    assert sender.outbox.num_waiting == 1024
    with pytest.raises(ValueError, match="payload is 1048577 bytes; permitted: 0 to 1048576"):
        sender.queue(bytes(MAX_MESSAGE_BYTES + 1))


def test_a_message_that_a_list_of_players_makes_too_many_fragments_of_is_refused(sender: Sender) -> None:
    with pytest.raises(ValueError, match="1025 fragments; permitted: 1 to 1024"):
        sender.queue(bytes(MAX_MESSAGE_BYTES), Target.LIST, tuple(range(255)))
    assert sender.outbox.num_waiting == 0


def test_when_too_much_waits_no_more_is_taken_until_some_is_acknowledged(sender: Sender) -> None:
    for _ in range(MAX_WAITING_BYTES // MAX_MESSAGE_BYTES):
        sender.queue(bytes(MAX_MESSAGE_BYTES))
    for _ in range(2):
        with pytest.raises(OutboxFull, match="4194304 bytes wait"):
            sender.queue(b"x")
    assert sender.outbox.num_waiting == 4096
    sender.send(1.0)
    sender.outbox.on_acked(1, 0, 1000)
    sender.queue(b"x")
    assert sender.outbox.num_waiting == 4096


@pytest.mark.parametrize("num_bytes", [20_000, 30_000])
def test_a_large_message_ends_in_a_small_fragment_which_costs_little_to_repeat(sender: Sender, num_bytes: int) -> None:
    payload = bytes(range(256)) * (num_bytes // 256)
    sender.queue(payload)
    pieces = sender.send(1.0)
    bodies = [piece.payload for piece in pieces]
    assert b"".join(bodies) == payload
    assert len(bodies[-1]) <= LAST_BYTES < min(len(body) for body in bodies[:-2])


def test_requests_are_messages_of_their_own_kinds(sender: Sender) -> None:
    sender.queue(b"hello")
    assert sender.outbox.queue_request(RequestKind.LOCK, b"\x01") == 2
    _, request = sender.send(1.0)
    header = request.header
    assert (header.message_id, header.kind, header.target, header.more, request.payload) == (2, 118, 0, 0, b"\x01")


def test_a_message_that_arrived_behind_a_gap_is_sent_again_in_a_new_session() -> None:
    """The server forgets what it holds behind a gap when a session is resumed: it would wait for that for ever."""
    sender = Sender()
    for _ in range(5):
        sender.queue(bytes(600))
    sender.send(1.0)
    sender.outbox.on_acked(1, 0b1010, 1000)  # 1, 3 and 5 arrived
    assert sender.send_ids(1.01) == [] and sender.outbox.num_waiting == 2
    assert sender.outbox.continues(2) and not sender.outbox.continues(0) and not sender.outbox.continues(6)
    sender.outbox.on_resumed(2, 4)
    assert sender.outbox.num_waiting == 3
    assert sender.send_ids(1.02) == [3, 4]
    sender.outbox.on_acked(4, 0, 1000)
    assert sender.send_ids(1.03) == [5]
    sender.outbox.on_acked(5, 0, 1000)
    assert sender.outbox.num_waiting == 0


def test_what_arrived_behind_a_gap_is_forgotten_when_the_gap_is_filled(sender: Sender) -> None:
    for _ in range(3):
        sender.queue(b"x")
    sender.send(1.0)
    sender.outbox.on_acked(0, 0b110, 1000)
    sender.outbox.on_acked(3, 0, 1000)
    sender.outbox.on_resumed(3, 1000)
    assert sender.send_ids(2.0) == []
