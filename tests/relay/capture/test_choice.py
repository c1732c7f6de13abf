"""One room, or one seat: its handshakes from the first datagram on, and nobody else's traffic."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from protocol import codec
from protocol.constants import Kind
from relay.addresses import pack_address
from relay.capture import choice as module
from relay.capture.choice import MAX_HELD, MAX_NONCES, Choice
from relay.sessions import ROW_BITS
from tests.relay.bench import Bench, Datagram
from tests.relay.capture.captures import CapturedBench, Packet, play
from tests.relay.finding import labels

ADDRESS = np.frombuffer(pack_address("10.0.0.1", 1000), np.uint32)


def hello(nonce: int) -> bytes:
    numbers = dict.fromkeys(("shard", "revision_min", "revision_max", "features", "fingerprint"), 1)
    return codec.encode(Kind.HELLO, nonce=nonce, client_name=bytes(24), client_release=bytes(16), **numbers)


def kinds_of(packets: list[Packet]) -> Counter[str]:
    return Counter(Kind(packet.payload[0]).name for packet in packets)


def addresses_of(packets: list[Packet]) -> set[tuple[str, int]]:
    return {packet.target if packet.is_sent else packet.source for packet in packets}


def expected(bench: CapturedBench, addresses: set[bytes]) -> list[tuple[int, int, bool]]:
    """Kind, size and direction of all datagrams from and to some players."""
    return sorted((data[0], len(data), is_sent) for data, address, is_sent in bench.truth if address in addresses)


def test_a_room_is_captured_whole_and_alone() -> None:
    bench = CapturedBench(room=b"ROOM1")
    rooms = play(bench, rooms=3)
    wanted = {client.address for client in rooms[1]}
    packets = bench.captured()
    assert sorted((p.payload[0], len(p.payload), p.is_sent) for p in packets) == expected(bench, wanted)
    assert {"HELLO", "CHALLENGE", "JOIN", "WELCOME", "DATA", "UPDATE"} == set(kinds_of(packets))
    assert len(addresses_of(packets)) == 3


def test_a_room_is_captured_whatever_its_game_is() -> None:
    bench = CapturedBench(room=b"ROOM")
    chess, none = (bench.join(code="ROOM", options=options) for options in (labels(game=b"chess"), []))
    bench.join(code="OTHER", options=labels(game=b"chess"))
    for _ in range(3):
        bench.tick()
        bench.receive(chess.listen(), none.listen())
    packets = bench.captured()
    wanted = {chess.address, none.address}
    assert sorted((p.payload[0], len(p.payload), p.is_sent) for p in packets) == expected(bench, wanted)


@pytest.mark.parametrize("chosen", [{"room": b"ROOM"}, {"seat": 2}])
def test_who_comes_back_is_captured_with_its_handshake_and_its_former_session(chosen: dict[str, Any]) -> None:
    """Its JOIN names the session that it was, and a new process has another address; the seat stays its own."""
    bench = CapturedBench(**chosen)
    bench.join(code="OTHER")
    lost = bench.join(code="ROOM")
    back = lost.come_back(code="ROOM")
    bench.receive(back.data(back.message(b"again")))
    bench.tick()
    other = bench.join(code="OTHER").come_back(code="OTHER")
    bench.receive(other.data(other.message(b"elsewhere")))
    bench.tick()
    wanted = {lost.address, back.address}
    packets = bench.captured()
    assert sorted((p.payload[0], len(p.payload), p.is_sent) for p in packets) == expected(bench, wanted)
    assert kinds_of(packets)["JOIN"] == kinds_of(packets)["WELCOME"] == 2 and kinds_of(packets)["DATA"] == 1


def test_each_players_datagrams_are_in_the_order_of_time() -> None:
    """A handshake is held back until it names the room; what others do meanwhile stands before it."""
    bench = CapturedBench(room=b"ROOM")
    ada = bench.join(code="ROOM")
    receive = bench.receive

    def receive_slowly(*datagrams: Datagram) -> None:
        receive(*datagrams)
        for _ in range(2):
            receive(ada.data(ada.message(b"meanwhile")))
            bench.tick()

    bench.receive = receive_slowly  # type: ignore[method-assign]
    bob = bench.join(code="ROOM")
    packets = bench.captured()
    times = [packet.at_s for packet in packets]
    assert times != sorted(times)
    for address in addresses_of(packets):
        times = [packet.at_s for packet in packets if address in (packet.source, packet.target)]
        assert times == sorted(times)
    assert ada.address != bob.address and len(addresses_of(packets)) == 2


def test_a_seat_is_captured_whole_and_alone() -> None:
    bench = CapturedBench(seat=2)
    rooms = play(bench, rooms=2)
    packets = bench.captured()
    assert sorted((p.payload[0], len(p.payload), p.is_sent) for p in packets) == expected(bench, {rooms[0][1].address})
    assert kinds_of(packets)["HELLO"] == kinds_of(packets)["WELCOME"] == 1


def test_a_seat_that_became_free_is_the_next_players() -> None:
    bench = CapturedBench(seat=1)
    first = bench.join()
    bench.join()
    row = first.row
    bench.receive(first.bye())
    bench.tick()
    assert bench.join().row == row
    packets = bench.captured()
    assert kinds_of(packets)["WELCOME"] == 2 and len(addresses_of(packets)) == 2


def test_the_end_of_a_session_is_captured_though_its_row_is_free_already() -> None:
    bench = CapturedBench(room=b"ROOM")
    bench.join(code="ROOM")
    bench.join(code="OTHER")
    bench.wait(75)  # silence: away after 10 s, and 60 s later its place is given up
    packets = bench.captured()
    assert kinds_of(packets)["BYE"] == 3 and len(addresses_of(packets)) == 1


def test_a_refusal_of_the_room_is_captured_with_its_handshake() -> None:
    bench = CapturedBench(room=b"ROOM")
    with pytest.raises(AssertionError):
        bench.join(code="ROOM", mode=2)  # JOIN of a room that is not there
    assert kinds_of(bench.captured()) == {"HELLO": 1, "CHALLENGE": 1, "JOIN": 1, "REFUSE": 1}


def test_a_room_whose_code_the_relay_made_up_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its JOIN names none; WELCOME does, by its session."""
    bench = Bench()
    choice = Choice(bench.engine.world, room=b"ABCDEF")
    monkeypatch.setattr("relay.membership.make_up_code", lambda *_: b"ABCDEF")
    client = bench.join(code="", mode=1)
    (session,) = bench.engine.world.sessions.table.id[[client.row]]
    assert choice.of_sessions(np.array([session], np.uint64)).tolist() == [True]


def test_held_datagrams_are_bounded_and_the_oldest_is_forgotten() -> None:
    choice = Choice(Bench().engine.world, room=b"ROOM")
    for nonce in range(MAX_HELD + 2):
        assert not choice.wants_cold(hello(nonce), ADDRESS, False, 0.0)
    for nonce in range(MAX_HELD + 2):
        join = codec.encode(
            Kind.JOIN,
            fields={"kind": Kind.JOIN, "shard": 0, "nonce": nonce, "cookie": bytes(20), "revision": 1, "features": 0,
                    "mode": 2, "code": b"ROOM".ljust(16, b"\0"), "name": b"Ada".ljust(32, b"\0")},
            options=[],
        )  # fmt: skip
        assert choice.wants_cold(join, ADDRESS, False, 0.0)
    assert [held.nonce for held in choice.released] == [n.to_bytes(8, "little") for n in range(2, MAX_HELD + 2)]


def test_nonces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NONCES", 4)
    choice = Choice(Bench().engine.world, seat=1)
    for nonce in range(6):
        choice._learn_nonce(nonce.to_bytes(8, "little"))
    assert MAX_NONCES > 4 and len(choice._nonces) == 4
    assert not choice.wants_cold(hello(1), ADDRESS, False, 0.0) and choice.wants_cold(hello(5), ADDRESS, False, 0.0)


def test_remembered_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 4)
    bench = Bench()
    choice = Choice(bench.engine.world, room=b"ROOM")
    sessions = bench.engine.world.sessions
    for _ in range(12):
        client = bench.join(code="ROOM")
        assert choice.of_sessions(sessions.table.id[[client.row]]).all()
        bench.receive(client.bye())
        bench.tick()
    assert len(choice._sessions) <= 4 + 2


def test_a_ping_belongs_to_no_room() -> None:
    bench = CapturedBench(room=b"ROOM")
    bench.receive((codec.encode(Kind.PING, shard=0, nonce=5), pack_address("10.1.1.1", 5)))
    bench.tick()
    assert bench.captured() == [] and len(bench.truth) == 2


def test_a_seat_is_the_row_of_a_session_id() -> None:
    choice = Choice(Bench().engine.world, seat=3)
    ids = np.array([(9 << ROW_BITS) + 2, (9 << ROW_BITS) + 3, 2, 2**64 - 1], np.uint64)
    assert choice.of_sessions(ids).tolist() == [True, False, True, False]


@pytest.mark.parametrize("chosen", [{}, {"room": b"A", "seat": 1}])
def test_neither_and_both_are_no_choice(chosen: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="permitted: one of the two"):
        Choice(Bench().engine.world, **chosen)  # type: ignore[arg-type]
