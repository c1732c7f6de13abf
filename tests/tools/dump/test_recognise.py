"""Which datagrams are ours."""

from random import Random

import pytest

from protocol.constants import Kind
from tests.tools.dump.made import ip4_bytes, ordinary_capture
from tests.tools.dump.test_problems import data_with, update_with
from tools.dump import recognise
from tools.dump.datagrams import Datagram, Direction, Endpoint, Flow
from tools.dump.recognise import Recogniser, guess_direction

CLIENT, RELAY = Endpoint(ip4_bytes("10.0.0.1"), 40_000), Endpoint(ip4_bytes("10.0.0.2"), 5_000)


def up(data: bytes, relay: Endpoint = RELAY) -> Datagram:
    return Datagram(1, 0.0, Flow(CLIENT, relay), data)


def down(data: bytes, relay: Endpoint = RELAY) -> Datagram:
    return Datagram(1, 0.0, Flow(relay, CLIENT), data)


CAPTURE = ordinary_capture()
HELLO = next(packet.data for packet in CAPTURE if packet.data[0] == Kind.HELLO)


def test_all_to_and_from_the_usual_port_is_ours_malformed_too() -> None:
    relay = RELAY._replace(port=24545)
    recogniser = Recogniser()
    for datagram, direction in ((up(b"", relay), Direction.UP), (down(b"\xff", relay), Direction.DOWN)):
        assert recogniser.is_ours(datagram)
        assert (datagram.flow.direction, datagram.flow.relay) == (direction, relay)


def test_a_relay_on_another_port_is_found_by_what_clients_send_to_it() -> None:
    recogniser = Recogniser()
    assert not recogniser.is_ours(up(b"garbage"))
    assert recogniser.is_ours(up(HELLO))
    # from here on everything between them is shown
    assert recogniser.is_ours(up(b"garbage")) and recogniser.is_ours(down(b""))
    assert recogniser.num_foreign == 1 and recogniser.foreign_ports == {5_000: 1}


@pytest.mark.parametrize("begin", [0.3, 0.5, 1.0, 1.5])
def test_a_capture_that_begins_in_the_middle_is_recognised(begin: float) -> None:
    recogniser = Recogniser()
    later = [packet for packet in CAPTURE if packet.time_s - CAPTURE[0].time_s > begin]
    flows: dict[object, Flow] = {}
    found = []
    for packet in later:
        ends = [Endpoint(ip4_bytes(host), 5_000 if port == 24545 else port) for host, port in packet[1:3]]
        flow = flows.setdefault(tuple(ends), Flow(*ends))
        found.append(recogniser.is_ours(Datagram(1, 0.0, flow, packet.data)))
    assert all(found[2:]) and len(found) > 20
    for packet in CAPTURE:
        wanted = Direction.UP if packet.target[1] == 24545 else Direction.DOWN
        assert guess_direction(packet.data) in (wanted, Direction.UNKNOWN)


def test_with_ports_given_nothing_else_is_ours() -> None:
    recogniser = Recogniser([5_001])
    assert not recogniser.is_ours(up(HELLO)) and not recogniser.is_ours(up(HELLO, RELAY._replace(port=24545)))
    assert recogniser.is_ours(up(b"", RELAY._replace(port=5_001)))


def test_strangers_do_not_pass_for_ours() -> None:
    rng = Random(5)
    for size in [*range(80), 200, 800] * 40:
        data = bytearray(rng.randbytes(size))
        if data:
            data[0] = rng.choice([1, 7, 16, 17])
        assert guess_direction(bytes(data)) is Direction.UNKNOWN, data.hex()


def test_a_bare_datagram_must_look_as_if_somebody_had_written_it() -> None:
    assert guess_direction(data_with()) is Direction.UP and guess_direction(update_with()) is Direction.DOWN
    for at, value in ((4, 0), (12, 1), (19, 2), (24, 1)):
        damaged = bytearray(data_with())
        damaged[at] = value
        assert guess_direction(bytes(damaged)) is Direction.UNKNOWN, at


def test_a_foreign_flow_is_looked_into_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(recognise, "guess_direction", lambda data: looked.append(data) or Direction.UNKNOWN)
    recogniser, datagram = Recogniser(), up(b"\x10")
    for _ in range(recognise.MAX_TRIES + 9):
        assert not recogniser.is_ours(datagram)
    assert len(looked) == recognise.MAX_TRIES and recogniser.num_foreign == recognise.MAX_TRIES + 9


def test_relays_and_foreign_ports_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "MAX_RELAYS", 2)
    recogniser = Recogniser()
    ours = [recogniser.is_ours(up(HELLO, RELAY._replace(port=port))) for port in (5_000, 5_001, 5_002, 5_003)]
    assert ours == [True, True, False, False]
    for port in range(100, 110):
        recogniser.is_ours(up(b"x", RELAY._replace(port=port)))
    assert len(recogniser.foreign_ports) == 2 and recogniser.num_foreign == 12
