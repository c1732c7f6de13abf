"""Who is who, and what a receiver would drop."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec, schemas
from protocol.constants import ByeReason, JoinMode, Kind, Option, Refusal
from protocol.drops import DropReason
from tests.tools.dump.made import RELAY, Game, Packet, chatter, ordinary_capture
from tests.tools.dump.reading import see
from tests.tools.dump.samples import damaged
from tests.tools.dump.test_problems import data_with, message
from tools.dump import sessions as module
from tools.dump.datagrams import Direction
from tools.dump.sessions import Seen, printable, text_of

CAPTURE = ordinary_capture()
BOB = ("10.0.1.1", 40_001)


def at(seen: list[Seen], kind: Kind, number: int = 0) -> Seen:
    return [one for one in seen if one.kind == kind][number]


def index_of(packets: list[Packet], kind: Kind, number: int = 0) -> int:
    return [i for i, packet in enumerate(packets) if packet.data[0] == kind][number]


def test_every_datagram_of_an_ordinary_game_has_its_room_player_and_direction() -> None:
    seen = see(CAPTURE)
    assert len(seen) == len(CAPTURE) > 200
    for one, packet in zip(seen, CAPTURE):
        assert one.room == "LOBBY" and one.player == ("Ada", "Bob")[BOB in packet[1:3]]
        assert one.direction is (Direction.UP if packet.target == RELAY else Direction.DOWN)
        assert one.problem is None
    taken = [one for one in seen if one.dropped is None]
    assert [one.kind_name for one in seen if one.dropped is not None] == ["BYE"] * (len(seen) - len(taken))
    sessions = {one.session for one in seen if one.session is not None}
    assert {session.name: session.player_id for session in sessions if session} in (
        {"Ada": 0, "Bob": 1},
        {"Ada": 1, "Bob": 0},
    )
    assert {session.ended for session in sessions if session} == {"BYE LEFT by the client"}


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_how_many_are_read_at_once_makes_no_difference(batch: int) -> None:
    def facts(seen: list[Seen]) -> list[object]:
        return [
            (s.kind, s.seq, s.ahead, s.dropped, s.round_trip_s, s.session.session if s.session else 0) for s in seen
        ]

    capture = ordinary_capture(loss_up=0.1, loss_down=0.1, seed=3)
    assert facts(see(capture, batch)) == facts(see(capture))


def test_sequence_numbers_are_whole_and_count_from_one() -> None:
    for one in see(CAPTURE):
        if one.kind in (Kind.DATA, Kind.UPDATE):
            assert one.session is not None and one.session.stream(one.direction).knows_begin
            assert one.seq == one.value().header.seq and one.ahead == 1


def test_round_trips_are_those_of_the_network() -> None:
    trips = [one.round_trip_s for one in see(CAPTURE) if one.kind == Kind.DATA and one.round_trip_s is not None]
    assert len(trips) > 50 and all(0.045 < trip < 0.060 for trip in trips)


def test_a_copy_is_a_duplicate_and_an_old_one_too_old() -> None:
    game = Game(2).run(4.0, chatter).capture
    early, late = index_of(game, Kind.DATA, 4), index_of(game, Kind.DATA, 200)
    packets = [*game[: early + 3], game[early], *game[early + 3 : late], game[early], *game[late:]]
    seen = see(packets)
    dropped = [(one.datagram.number - 1, one.dropped) for one in seen if one.dropped is not None]
    assert dropped == [(early + 3, DropReason.DUPLICATE), (late + 1, DropReason.TOO_OLD)]
    assert not any(one.problem for one in seen)


def test_overtaken_datagrams_are_late_and_taken() -> None:
    packets = [packet for packet in CAPTURE if packet.data[0] != Kind.BYE]
    first, second = (index_of(packets, Kind.UPDATE, number) for number in (20, 22))
    packets[first], packets[second] = packets[second], packets[first]
    seen = see(packets)
    assert seen[first].ahead > 1 and seen[second].ahead < 0
    assert all(one.dropped is None for one in seen)


def test_after_the_end_of_a_session_its_datagrams_are_unknown() -> None:
    bye = index_of(CAPTURE, Kind.BYE)
    data = next(p for p in reversed(CAPTURE[:bye]) if p.data[0] == Kind.DATA and p.source == CAPTURE[bye].source)
    seen = see([*CAPTURE, data])
    assert seen[-1].dropped is DropReason.UNKNOWN_SESSION
    assert seen[-1].dropped_text == "the session had ended: BYE LEFT by the client"


def test_a_reset_ends_a_session_too() -> None:
    cut = index_of(CAPTURE, Kind.DATA, 50)
    data = CAPTURE[cut]
    session = codec.decode(data.data).header.session  # type: ignore[union-attr]
    reset = codec.encode(Kind.RESET, shard=0, session=session, reset_token=bytes(16))
    seen = see(
        [*CAPTURE[: cut + 1], Packet(data.time_s, RELAY, data.source, reset), data._replace(time_s=data.time_s + 1)]
    )
    assert seen[-1].dropped is DropReason.UNKNOWN_SESSION and "RESET" in seen[-1].dropped_text


def test_the_relays_reason_of_the_end_is_told() -> None:
    game = Game(2).run(1.0, chatter)
    for address, data in game.engine.shutdown(game.now).datagrams():
        game.capture.append(Packet(game.capture[-1].time_s, RELAY, game.by_address[address].address, data))
    ended = {one.session.ended for one in see(game.capture) if one.session is not None}
    assert ended == {f"BYE {ByeReason.SHUTDOWN.name} by the relay"}


@pytest.mark.parametrize("first_kind", [Kind.CHALLENGE, Kind.JOIN, Kind.WELCOME, Kind.UPDATE, Kind.DATA])
def test_a_capture_cut_in_the_middle_of_a_handshake_shows_what_it_has(first_kind: Kind) -> None:
    capture = ordinary_capture(num_players=1)
    seen = see(capture[index_of(capture, first_kind) :])
    assert not any(one.problem for one in seen)
    data = at(seen, Kind.DATA, 5)
    assert data.session is not None and data.dropped is None
    knows_player = first_kind <= Kind.WELCOME and first_kind != Kind.UPDATE
    assert (data.session.player_id is not None) == knows_player and (data.room == "LOBBY") == knows_player
    assert (data.player == "Ada") == (first_kind in (Kind.CHALLENGE, Kind.JOIN))
    assert data.ahead == 1 and data.round_trip_s is not None


def test_malformed_datagrams_are_shown_with_reason_and_offset_and_do_not_count_as_received() -> None:
    bye = index_of(CAPTURE, Kind.BYE)
    number = [i for i, p in enumerate(CAPTURE[:bye]) if p.data[0] == Kind.DATA and p.source == BOB][30]
    packets = list(CAPTURE[:bye])
    broken = bytearray(packets[number].data)
    broken[27] += 1  # length of the first section
    packets[number] = packets[number]._replace(data=bytes(broken))
    seen = see(packets)
    one = seen[number]
    assert one.problem is not None and (one.problem.reason, one.problem.offset) == (DropReason.BAD_SECTION, 26 + 1)
    assert one.dropped is DropReason.BAD_SECTION and one.player == "Bob" and one.seq is not None
    following = next(one for one in seen[number + 1 :] if one.kind == Kind.DATA and one.player == "Bob")
    assert following.ahead == 2


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00", b"\x10\x00", b"\x0d\x00", bytes(1300), b"\x11" + bytes(40), b"\x05\x00x"]
)
def test_garbage_at_a_players_address_is_shown_as_that_players(garbage: bytes) -> None:
    cut = index_of(CAPTURE, Kind.DATA, 50)
    seen = see([*CAPTURE[:cut], Packet(CAPTURE[cut].time_s, BOB, RELAY, garbage)])
    assert seen[-1].problem is not None and seen[-1].dropped is not None
    assert (seen[-1].player, seen[-1].room, seen[-1].direction) == ("Bob", "LOBBY", Direction.UP)


def test_a_kind_that_goes_the_wrong_way_is_unknown_to_who_gets_it() -> None:
    update = CAPTURE[index_of(CAPTURE, Kind.UPDATE, 5)]
    (one,) = see([update._replace(source=update.target, target=RELAY)])
    assert one.dropped is DropReason.UNKNOWN_KIND and one.session is None
    assert one.problem is not None and one.problem.text == "UPDATE does not go up"
    hello = CAPTURE[index_of(CAPTURE, Kind.HELLO)]
    (one,) = see([hello._replace(source=RELAY, target=hello.source)])
    assert one.dropped is DropReason.UNKNOWN_KIND


def test_a_datagram_that_the_capture_cut_is_no_fault_of_anybody() -> None:
    from tests.tools.dump.made import ipv4
    from tools.dump.captures import Frame
    from tools.dump.packets import PacketReader
    from tools.dump.recognise import Recogniser
    from tools.dump.sessions import Sessions

    reader, recogniser, sessions = PacketReader(), Recogniser(), Sessions()
    seen = []
    for packet in CAPTURE:
        datagram = reader.read(Frame(packet.time_s, 101, ipv4(packet)[: 20 + 8 + 60]))
        if datagram is not None and recogniser.is_ours(datagram):
            seen += sessions.read([datagram]).seen
    cut = [one for one in seen if one.datagram.missing_bytes]
    assert len(cut) > 50 and all(one.problem and one.problem.reason is None for one in cut)
    assert not [one for one in seen if one.dropped is not None and one.kind != Kind.BYE]
    assert all(one.ahead == 1 for one in cut if one.kind == Kind.UPDATE)


def test_a_state_that_is_too_long_for_its_room_is_a_bad_section() -> None:
    cut = index_of(CAPTURE, Kind.DATA, 50)
    base = CAPTURE[cut]
    header = bytearray(base.data[:26])
    header[2:4] = (int.from_bytes(header[2:4], "little") + 1).to_bytes(2, "little")
    section = bytes((1, 4 + 2 + 25, 0)) + bytes((0, 0, 1, 25)) + bytes(27)
    seen = see([*CAPTURE[: cut + 1], base._replace(data=bytes(header) + section)])
    assert seen[-1].dropped is DropReason.BAD_SECTION and "STATE of 25 bytes; permitted: 24" in seen[-1].dropped_text


def test_the_same_session_before_and_behind_a_proxy_is_not_a_duplicate() -> None:
    proxy = ("10.0.0.9", 24546)
    both = []
    for packet in CAPTURE[:150]:
        source, target = (proxy if end == RELAY else end for end in packet[1:3])
        both += [Packet(packet.time_s, source, target, packet.data), packet]
    seen = see(both)
    assert len(seen) == 300 and not any(one.dropped for one in seen)


def test_a_new_address_of_a_session_is_followed() -> None:
    cut, new = 150, ("10.9.9.9", 77)
    moved = [
        packet._replace(
            source=new if packet.source == BOB else packet.source, target=new if packet.target == BOB else packet.target
        )
        for packet in CAPTURE[cut:]
    ]
    seen = see([*CAPTURE[:cut], *moved])
    bobs = {one.session for one in seen if one.player == "Bob" and one.session is not None}
    assert len(bobs) == 1 and str(bobs.pop().client) == "10.9.9.9:77"


def test_what_is_remembered_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 5)
    packets = []
    for number in range(20):
        hello = bytearray(CAPTURE[index_of(CAPTURE, Kind.HELLO)].data)
        hello[6:14] = number.to_bytes(8, "little")
        data = bytearray(data_with(message()))
        data[4:12] = (number + 1).to_bytes(8, "little")
        packets += [Packet(0.0, ("10.0.1.1", 1 + number), RELAY, bytes(payload)) for payload in (hello, data)]
    known = module.Sessions()
    for one in see(packets):
        known.read([one.datagram])
    assert len(known.sessions) == len(known.attempts) == 5


def test_names_can_not_steer_a_terminal() -> None:
    assert printable(b"a\x1b[31mb\xff\n") == "a\\x1b[31mb\\xff\\n"
    assert text_of("Zoë\0\0".encode()) == "Zoë"
    assert printable("\u202e".encode()) == "\\u202e"


@given(st.lists(st.tuples(damaged(), st.booleans(), st.integers(0, 300)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_bytes_in_a_live_session_raise_and_every_refused_one_has_a_reason(
    wild: list[tuple[bytes, bool, int]],
) -> None:
    packets = list(CAPTURE)
    for data, is_up, place in wild:
        ends = (BOB, RELAY) if is_up else (RELAY, BOB)
        packets.insert(place % len(packets), Packet(packets[0].time_s, *ends, data))
    seen = see(packets)
    assert len(seen) == len(packets)
    for one in seen:
        if isinstance(codec.decode(one.datagram.data), DropReason):
            assert one.problem is not None and one.dropped is not None


# --- Coming back


def resumed_capture(former: int, name: bytes = b"", refused: bool = False) -> list[Packet]:
    """The ordinary game without its end, and then the datagrams of somebody who comes back as a new process."""
    before = [packet for packet in CAPTURE if packet.data[0] != Kind.BYE]
    again, now = ("10.0.7.7", 7_777), before[-1].time_s + 12.0
    resume = schemas.RESUME_OPTION.build({"session": former, "log_index": 0, "proof": bytes(16)})
    join = {"kind": Kind.JOIN, "shard": 0, "nonce": 77, "cookie": bytes(20), "revision": 1, "features": 0}
    join |= {"mode": JoinMode.RESUME, "code": b"LOBBY".ljust(16, b"\0"), "name": name.ljust(32, b"\0")}
    asked = codec.encode(Kind.JOIN, fields=join, options=[{"key": Option.RESUME, "value": resume}])
    welcome: Any = codec.decode(before[index_of(before, Kind.WELCOME)].data)
    welcome.fields.update({"nonce": 77, "session": NEW_SESSION, "resumed": 2})
    answer = schemas.WELCOME.build(welcome)
    if refused:
        refusal = {"nonce": 77, "reason": Refusal.CANNOT_RESUME, "revision_min": 1, "revision_max": 1, "text": b""}
        answer = codec.encode(Kind.REFUSE, shard=0, **refusal)
    return [*before, Packet(now, again, RELAY, asked), Packet(now + 0.01, RELAY, again, answer)]


NEW_SESSION = 0xABCD << 32


def ada() -> Any:
    """The session of Ada, as the capture has it before she is away."""
    return next(one.session for one in see(CAPTURE) if one.session is not None and one.player == "Ada")


@pytest.mark.parametrize("name", [b"", b"Mallory"])
def test_who_comes_back_keeps_its_name_and_its_former_session_is_over(name: bytes) -> None:
    """The name in such a JOIN is ignored by the relay, too."""
    seen = see(resumed_capture(ada().session, name))
    back, former = seen[-1].session, next(one.session for one in seen if one.player == "Ada" and one.session)
    assert back is not None and back is not former and back.session == NEW_SESSION
    assert back.name == "Ada" and back.code == "LOBBY" and not back.ended
    assert former.ended == f"resumed as 0x{NEW_SESSION:016x}" and former.ended_s == seen[-1].datagram.time_s


def test_a_datagram_of_a_session_that_was_resumed_is_pointed_out() -> None:
    capture = resumed_capture(ada().session)
    late = next(packet for packet in reversed(CAPTURE) if packet.data[0] == Kind.DATA and packet.source[1] == 40_000)
    (*_, one) = see([*capture, late._replace(time_s=capture[-1].time_s + 1)])
    assert one.dropped is DropReason.UNKNOWN_SESSION and "resumed as" in one.dropped_text


def test_who_is_refused_ends_no_session() -> None:
    seen = see(resumed_capture(ada().session, refused=True))
    assert {one.session.ended for one in seen if one.session is not None} == {""}
    assert seen[-1].attempt is not None and seen[-1].attempt.answer == "REFUSE CANNOT_RESUME"


def test_who_comes_back_to_what_was_not_captured_is_a_new_session_under_the_name_it_says() -> None:
    seen = see(resumed_capture(5, b"Zoe"))
    assert seen[-1].session is not None and seen[-1].session.name == "Zoe"
    assert {one.session.ended for one in seen if one.session is not None} == {""}


def test_a_list_of_rooms_and_its_pages_are_one_attempt() -> None:
    fields = {"kind": Kind.LIST, "shard": 0, "nonce": 78, "cookie": bytes(20), "revision": 1, "features": 0}
    question = codec.encode(Kind.LIST, fields=fields | {"after": 0, "flags": 0}, options=[])
    head = {"kind": Kind.ROOMS, "shard": 0, "nonce": 78, "after": 0, "next": 0, "num_listed": 0}
    page = codec.encode(Kind.ROOMS, fields=head, region=b"", rooms=[])
    asked, told = see([Packet(1.0, BOB, RELAY, question), Packet(1.1, RELAY, BOB, page)])
    assert asked.attempt is told.attempt is not None and told.attempt.answer == "ROOMS"
