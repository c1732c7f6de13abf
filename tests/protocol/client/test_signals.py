"""Signals: at most once, in time, newest first if asked."""

from collections import Counter
from typing import Any

import pytest

from protocol import schemas
from protocol.client.events import Signal
from protocol.client.parcel import Parcel
from protocol.client.signals import MAX_HELD, MAX_QUEUED, MAX_UNFINISHED, SignalInbox, SignalOutbox
from protocol.constants import DataSection, SignalFlag, Target
from protocol.drops import DropReason
from protocol.records import SignalPart

NEWEST, AFTER = SignalFlag.NEWEST_FIRST, SignalFlag.AFTER_LOG


def queue(outbox: SignalOutbox, payload: bytes, target: Target = Target.ALL, players: tuple[int, ...] = ()) -> None:
    outbox.queue(payload, 1, 0, target, players, AFTER, 65537)


def send(outbox: SignalOutbox, newest_message: int = 65537) -> list[Any]:
    parcel = Parcel()
    outbox.pack(parcel, newest_message)
    body = parcel.body()
    sections = []
    while body:
        length = int.from_bytes(body[1:3], "little")
        sections.append(schemas.SIGNAL_UP_SECTION.parse(body[3 : 3 + length]))
        body = body[3 + length :]
    return sections


def test_a_signal_is_sent_once_with_its_number_and_the_message_before_it() -> None:
    outbox = SignalOutbox()
    queue(outbox, b"beep")
    queue(outbox, b"boop", Target.LIST, (1, 2))
    first, second = send(outbox)
    assert (first.header.sequence, first.header.flags, first.header.after_message, first.payload) == (1, 2, 1, b"beep")
    assert (second.header.sequence, list(second.targets), second.payload) == (2, [1, 2], b"boop")
    assert send(outbox) == [] and outbox.num_waiting == 0


def test_a_large_signal_is_cut_into_fragments_over_several_datagrams() -> None:
    outbox = SignalOutbox()
    queue(outbox, bytes(8 * 1024))
    fragments = []
    while outbox.num_waiting:
        fragments += send(outbox)
    assert [section.header.fragment for section in fragments] == [7 << 4 | number for number in range(8)]
    assert {section.header.sequence for section in fragments} == {1}


def test_a_signal_of_nine_fragments_is_refused() -> None:
    with pytest.raises(ValueError, match="payload is 8193 bytes; permitted: 0 to 8192"):
        queue(SignalOutbox(), bytes(8 * 1024 + 1))


def test_a_long_list_of_players_leaves_less_room_in_every_fragment() -> None:
    outbox = SignalOutbox()
    with pytest.raises(ValueError, match="permitted: 0 to 4608"):
        queue(outbox, bytes(4609), Target.LIST, tuple(range(255)))
    queue(outbox, bytes(577), Target.LIST, tuple(range(255)))
    assert [len(section.payload) for section in send(outbox) + send(outbox)] == [576, 1]


def test_when_too_many_wait_the_oldest_give_way() -> None:
    outbox = SignalOutbox()
    for number in range(MAX_QUEUED + 2):
        queue(outbox, b"%d" % number)
    assert (outbox.num_waiting, outbox.num_dropped) == (MAX_QUEUED, 2)
    assert send(outbox)[0].payload == b"2"


def test_a_signal_gives_way_whole() -> None:
    outbox = SignalOutbox()
    queue(outbox, bytes(2048))
    for _ in range(MAX_QUEUED - 1):
        queue(outbox, b"x")
    assert (outbox.num_waiting, outbox.num_dropped) == (MAX_QUEUED - 1, 1)


def test_a_fragment_that_does_not_fit_waits_for_the_next_datagram() -> None:
    outbox = SignalOutbox()
    queue(outbox, bytes(1000))
    parcel = Parcel()
    parcel.add(DataSection.MESSAGE, bytes(200))
    outbox.pack(parcel, 65537)
    assert outbox.num_waiting == 1


def test_what_follows_a_message_that_may_not_be_sent_yet_waits_and_nothing_else_does() -> None:
    outbox = SignalOutbox()
    for payload, after in ((b"first", 3), (b"early", 5), (b"free", 0), (b"early too", 5), (b"later", 6)):
        outbox.queue(payload, 1, 0, Target.ALL, (), AFTER if after else SignalFlag(0), after)
    assert [section.payload for section in send(outbox, 4)] == [b"first", b"free"]
    assert not outbox.has_due(4) and outbox.has_due(5) and outbox.num_waiting == 3
    assert [section.payload for section in send(outbox, 6)] == [b"early", b"early too", b"later"]
    assert not outbox.has_due(6)


@pytest.fixture
def dropped() -> Counter[DropReason]:
    return Counter()


@pytest.fixture
def members() -> set[int]:
    return {2, 3}


@pytest.fixture
def inbox(dropped: Counter[DropReason], members: set[int]) -> SignalInbox:
    return SignalInbox(dropped, members)


def part(sequence: int = 1, payload: bytes = b"beep", **changes: Any) -> SignalPart:
    fields = {"kind": 1, "flags": 0, "channel": 0, "number": 0, "last": 0, "sender": 2, "position": 0}
    return SignalPart(**(fields | {"sequence": sequence, "payload": payload} | changes))


def test_a_whole_signal_is_handed_over_at_once(inbox: SignalInbox) -> None:
    assert inbox.take(part(), 0, 1.0) == Signal(2, 1, 0, b"beep", 1)


def test_fragments_are_put_together_in_any_order(inbox: SignalInbox) -> None:
    assert inbox.take(part(payload=b"c", number=2, last=2), 0, 1.0) is None
    assert inbox.take(part(payload=b"a", number=0, last=2), 0, 1.0) is None
    signal = inbox.take(part(payload=b"b", number=1, last=2), 0, 1.0)
    assert signal is not None and signal.payload == b"abc"


def test_a_number_is_the_same_signals_for_five_seconds(inbox: SignalInbox) -> None:
    assert inbox.take(part(1, flags=NEWEST), 0, 1.0) is not None
    assert inbox.take(part(40_000, flags=NEWEST), 0, 5.9) is None, "older, for all that is known"
    assert inbox.take(part(40_000, flags=NEWEST), 0, 6.1) is not None, "it spoke to others meanwhile"
    assert inbox.take(part(39_999, flags=NEWEST), 0, 6.2) is None
    assert inbox.take(part(7, number=0, last=1, payload=b"old "), 0, 7.0) is None
    assert inbox.take(part(7, number=1, last=1, payload=b"new"), 0, 12.1) is None
    signal = inbox.take(part(7, number=0, last=1, payload=b"really "), 0, 12.2)
    assert signal is not None and signal.payload == b"really new"


def test_the_oldest_unfinished_signal_makes_room(inbox: SignalInbox) -> None:
    for sequence in range(1, MAX_UNFINISHED + 3):
        inbox.take(part(sequence, number=0, last=1), 0, 1.0)
    assert inbox.num_unfinished_dropped == 2
    assert inbox.take(part(2, number=1, last=1), 0, 1.0) is None  # its first fragment is gone
    assert inbox.take(part(MAX_UNFINISHED + 2, number=1, last=1), 0, 1.0) is not None


def test_an_older_signal_is_dropped_only_if_it_asked_for_newest_first(inbox: SignalInbox) -> None:
    assert inbox.take(part(5, flags=NEWEST), 0, 1.0) is not None
    assert inbox.take(part(4, flags=NEWEST), 0, 1.0) is None
    assert inbox.take(part(5, flags=NEWEST), 0, 1.0) is None
    assert inbox.num_superseded == 2
    assert inbox.take(part(3), 0, 1.0) is not None
    assert inbox.take(part(4, flags=NEWEST), 0, 1.0) is None
    assert inbox.take(part(6, flags=NEWEST), 0, 1.0) is not None


def test_newest_is_meant_per_sender_and_channel_and_across_the_wrap(inbox: SignalInbox) -> None:
    assert inbox.take(part(65535, flags=NEWEST), 0, 1.0) is not None
    assert inbox.take(part(9, flags=NEWEST, sender=3), 0, 1.0) is not None
    assert inbox.take(part(9, flags=NEWEST, channel=1), 0, 1.0) is not None
    assert inbox.take(part(0, flags=NEWEST), 0, 1.0) is not None
    assert inbox.take(part(65535, flags=NEWEST), 0, 1.0) is None


def test_a_player_who_gets_a_used_id_counts_anew(inbox: SignalInbox) -> None:
    inbox.take(part(500, flags=NEWEST), 0, 1.0)
    inbox.on_left(2)
    inbox.on_left(3)
    inbox.on_joined(2)
    assert inbox.take(part(1, flags=NEWEST), 0, 1.0) is not None


def test_a_player_who_comes_back_afresh_counts_anew(inbox: SignalInbox) -> None:
    assert inbox.take(part(500, flags=NEWEST), 0, 1.0) is not None
    inbox.take(part(2, number=0, last=1, payload=b"old"), 0, 1.0)
    inbox.on_new_life(2)
    assert inbox.take(part(1, flags=NEWEST), 0, 1.1) is not None
    assert inbox.take(part(2, number=1, last=1, payload=b"new"), 0, 1.1) is None


def test_a_signal_that_overtakes_its_senders_join_waits_for_it(inbox: SignalInbox, members: set[int]) -> None:
    # Found by the simulator: signal 309 came before PLAYER_JOINED, 308 after it, and both were handed over.
    assert inbox.take(part(309, flags=NEWEST, sender=5), 0, 1.0) is None
    assert inbox.release(0, 1.1) == []
    members.add(5)
    inbox.on_joined(5)
    assert [signal.sequence for signal in inbox.release(0, 1.2)] == [309]
    assert inbox.take(part(308, flags=NEWEST, sender=5), 0, 1.3) is None


def test_nothing_of_a_player_who_has_left_is_handed_over(
    inbox: SignalInbox, members: set[int], dropped: Counter[DropReason]
) -> None:
    inbox.take(part(1, flags=AFTER, position=7), 6, 1.0)
    inbox.take(part(2, flags=AFTER, position=7, sender=3), 6, 1.0)
    inbox.take(part(3, number=0, last=1), 6, 1.0)
    inbox.take(part(3, number=0, last=1, sender=3), 6, 1.0)
    members.discard(2)
    inbox.on_left(2)
    assert inbox.take(part(4), 7, 1.1) is None
    assert dropped[DropReason.SIGNAL_LATE] == 2
    assert [signal.sender for signal in inbox.release(7, 1.1)] == [3]
    members.add(2)
    inbox.on_joined(2)
    assert inbox.take(part(3, number=1, last=1), 7, 1.2) is None  # the first half was the other player's
    assert inbox.take(part(3, number=1, last=1, sender=3), 7, 1.2) is not None


def test_a_signal_waits_for_its_place_in_the_log(inbox: SignalInbox) -> None:
    assert inbox.take(part(1, flags=AFTER, position=7), 6, 1.0) is None
    assert inbox.take(part(2, flags=AFTER, position=6), 6, 1.0) is not None
    assert inbox.release(6, 1.5) == []
    assert inbox.release(7, 1.6) == [Signal(2, 1, 0, b"beep", 1)]
    assert inbox.release(8, 1.7) == []


def test_the_position_is_extended_near_what_has_been_handed_over(inbox: SignalInbox) -> None:
    assert inbox.take(part(1, flags=AFTER, position=0xFFFF), 0x10002, 1.0) is not None
    assert inbox.take(part(2, flags=AFTER, position=3), 0x10002, 1.0) is None
    assert len(inbox.release(0x10003, 1.0)) == 1


def test_a_signal_that_waits_two_seconds_is_dropped(inbox: SignalInbox, dropped: Counter[DropReason]) -> None:
    inbox.take(part(1, flags=AFTER, position=7), 6, 1.0)
    assert inbox.release(6, 2.999) == []
    assert inbox.release(7, 3.0) == []
    assert dropped == {DropReason.SIGNAL_LATE: 1}


def test_when_256_wait_a_further_one_is_dropped(inbox: SignalInbox, dropped: Counter[DropReason]) -> None:
    for sequence in range(1, MAX_HELD + 3):
        inbox.take(part(sequence, flags=AFTER, position=7), 6, 1.0)
    assert dropped == {DropReason.SIGNAL_QUEUE_FULL: 2}
    assert len(inbox.release(7, 1.1)) == MAX_HELD


def test_of_waiting_signals_the_newest_wins_too(inbox: SignalInbox) -> None:
    inbox.take(part(2, flags=AFTER | NEWEST, position=7), 6, 1.0)
    inbox.take(part(1, flags=AFTER | NEWEST, position=7), 6, 1.0)
    assert [signal.sequence for signal in inbox.release(7, 1.1)] == [2]
