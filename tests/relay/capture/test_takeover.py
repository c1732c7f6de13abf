"""A capture in the hands of somebody else, while the sessions in it live: nothing in it opens anything.

The thief has the file, the protocol and this source, and reaches the relay from any address. Each attack is also run
with the datagrams as they really were, where it works: so it would work here if the capture gave the secret away.
"""

from collections import Counter
from typing import Any

import pytest

from protocol import codec, dtypes
from protocol.constants import JoinMode, Kind, Option
from protocol.drops import DropReason
from protocol.proofs import join_proof, path_proof, room_key
from relay.addresses import pack_address
from relay.sessions import ROW_BITS
from tests.relay.bench import Client
from tests.relay.capture.captures import HEAD, CapturedBench, read

THIEF = pack_address("203.0.113.66", 6_666)
KEY = room_key("swordfish")
MOVED = 1
"""Which player's address changed, and was asked to prove itself."""


class Stolen:
    """A relay with a player in a room with a password and two in one without, and what a thief read of them."""

    def __init__(self, is_scrubbed: bool) -> None:
        self.bench = CapturedBench()
        self.clients = self._play()
        bench = self.bench
        bench.recorder.on_beat(bench.now + 1)
        truth = [(data, address) for data, address, _ in bench.truth]
        captured = [
            (p.payload, pack_address(*(p.target if p.is_sent else p.source))) for p in read(HEAD + bench.memory.blocks)
        ]
        assert len(captured) == len(truth)
        self.datagrams = captured if is_scrubbed else truth
        """(payload, the player's address) of every datagram so far."""
        bench.sent.clear()

    def _play(self) -> list[Client]:
        bench = self.bench
        clients = [bench.join(code="VAULT", mode=JoinMode.CREATE, options=[(Option.ROOM_KEY, KEY)])]
        guest = Client(bench)
        cookie = guest.get_cookie()
        proof = join_proof(KEY, cookie, guest.nonce)
        join = guest.join_datagram(cookie, code="VAULT", mode=JoinMode.JOIN, options=[(Option.PROOF, proof)])
        bench.receive((join, guest.address))
        bench.flush()
        clients += bench.join_all(2, code="OPEN")
        for client in clients:
            bench.receive(client.data(client.state(b"here"), client.message(b"hello")))
        bench.tick()
        moved = clients[MOVED]
        home, moved.address = moved.address, pack_address("198.51.100.9", 9)
        bench.receive(moved.data(moved.message(b"from elsewhere")))
        bench.tick()
        moved.address = home
        return clients

    def of(self, kind: Kind) -> list[Any]:
        """All datagrams of a kind, decoded."""
        values = [codec.decode(data) for data, _ in self.datagrams if data[0] == kind]
        return [value for value in values if not isinstance(value, DropReason)]

    def send(self, payload: bytes, address: bytes = THIEF) -> list[bytes]:
        """Send to the relay. Returns: its answers to that address."""
        self.bench.receive((payload, address))
        self.bench.flush()
        return self.bench.take(address)

    def dropped_by(self, payload: bytes, address: bytes = THIEF) -> Counter[str]:
        """Send to the relay. Returns: why it was dropped."""
        before = Counter(self.bench.dropped())
        self.send(payload, address)
        return Counter(self.bench.dropped()) - before

    def join(self, nonce: int, **join: Any) -> Any:
        """Join from the thief's address by the book, with a cookie of its own. Returns: the answer, decoded."""
        thief = Client(self.bench)
        thief.address, thief.nonce = THIEF, nonce
        self.bench.now += 1
        return thief.ask(**join)

    def state(self) -> list[object]:
        """What a theft would change: the sessions, the rooms, their tables and logs."""
        engine, table = self.bench.engine, self.bench.engine.world.sessions.table
        found: list[object] = [engine.world.rooms.table.log_head.tolist()]
        for row in engine.world.sessions.live.tolist():
            found.append((int(table.id[row]), table.address[row].tobytes(), int(table.recv_newest[row])))
        return found + [(engine.room_members(code), engine.room_table(code)) for code in ("VAULT", "OPEN")]

    def real_session(self, which: int) -> int:
        return int(self.clients[which].welcome.session)


@pytest.fixture
def stolen() -> Stolen:
    return Stolen(is_scrubbed=True)


@pytest.fixture
def unscrubbed() -> Stolen:
    return Stolen(is_scrubbed=False)


# --- What was captured, sent once more


@pytest.mark.parametrize("from_their_address", [False, True])
def test_no_captured_datagram_is_taken_once_more(stolen: Stolen, from_their_address: bool) -> None:
    before = stolen.state()
    dropped: Counter[str] = Counter()
    for payload, address in stolen.datagrams:
        stolen.bench.now += 0.01  # within the budgets
        dropped += stolen.dropped_by(payload, address if from_their_address else THIEF)
        assert stolen.state() == before
    num_data, num_join = (sum(data[0] == kind for data, _ in stolen.datagrams) for kind in (Kind.DATA, Kind.JOIN))
    assert dropped["UNKNOWN_SESSION"] == num_data >= 10
    assert dropped["STALE_COOKIE"] == num_join == 4


def test_with_higher_seqs_and_other_low_bits_they_are_not_taken_either(stolen: Stolen) -> None:
    """A session is a row and random bits: with a captured session's upper bits and every row there is."""
    before = stolen.state()
    for value in stolen.of(Kind.DATA):
        for row in (None, *range(8)):
            header = {name: item for name, item in value.header.items() if not name.startswith("_")} | {"seq": 60}
            if row is not None:
                header["session"] = header["session"] >> ROW_BITS << ROW_BITS | row
            stolen.bench.now += 0.01
            assert stolen.dropped_by(dtypes.DATA_HEADER.encode(**header)) == {"UNKNOWN_SESSION": 1}
    assert stolen.state() == before


def test_as_it_really_was_a_datagram_is_taken(unscrubbed: Stolen) -> None:
    before = unscrubbed.state()
    value = unscrubbed.of(Kind.DATA)[-1]
    header = {name: item for name, item in value.header.items() if not name.startswith("_")} | {"seq": 60}
    assert unscrubbed.dropped_by(dtypes.DATA_HEADER.encode(**header)) == {}
    assert unscrubbed.state() != before


# --- Ending a session


def bye(session: int) -> bytes:
    return codec.encode(Kind.BYE, shard=0, session=session, reason=1, text=b"")


def test_no_captured_session_can_be_ended(stolen: Stolen) -> None:
    before = stolen.state()
    for value in stolen.of(Kind.WELCOME):
        assert stolen.dropped_by(bye(value.fields.session)) == {"UNKNOWN_SESSION": 1}
    assert stolen.state() == before


def test_as_it_really_was_it_can(unscrubbed: Stolen) -> None:
    (session, *_) = [value.fields.session for value in unscrubbed.of(Kind.WELCOME)]
    before = unscrubbed.state()
    assert unscrubbed.dropped_by(bye(session)) == {}
    assert unscrubbed.state() != before


def test_no_client_can_be_told_that_its_session_is_gone(stolen: Stolen) -> None:
    """A client believes a RESET with its session and its token, and a BYE with its session."""
    for value, client in zip(stolen.of(Kind.WELCOME), (stolen.clients[0], None, *stolen.clients[1:]), strict=False):
        if client is not None:
            assert value.fields.session != client.welcome.session
            assert value.fields.reset_token != client.welcome.reset_token


# --- Getting a WELCOME once more: it would say session and secret


def test_a_captured_nonce_brings_nobody_elses_welcome(stolen: Stolen) -> None:
    known = {stolen.real_session(which) for which in range(3)}
    for value in stolen.of(Kind.WELCOME):
        answer = stolen.join(value.fields.nonce, code="OPEN", mode=JoinMode.JOIN)
        assert answer.fields.session not in known  # a player of the thief's own, which anybody may have


def test_the_real_nonce_would_bring_it(unscrubbed: Stolen) -> None:
    (value, *_) = unscrubbed.of(Kind.WELCOME)
    answer = unscrubbed.join(value.fields.nonce, code="OPEN", mode=JoinMode.JOIN)
    assert answer.fields.secret == value.fields.secret
    assert answer.fields.session == unscrubbed.real_session(0)


# --- The room's password


def test_what_was_captured_of_the_password_does_not_open_the_room(stolen: Stolen) -> None:
    options = [option for value in stolen.of(Kind.JOIN) for option in value.options if option.key in (4, 5)]
    assert {option.key for option in options} == {Option.ROOM_KEY, Option.PROOF}
    thief = Client(stolen.bench)
    thief.address = THIEF
    for option in options:
        cookie = thief.get_cookie()
        for proof in (option.value[:16], join_proof(option.value, cookie, thief.nonce)):
            thief.nonce += 1
            fresh = thief.get_cookie()
            join = thief.join_datagram(fresh, code="VAULT", mode=JoinMode.JOIN, options=[(Option.PROOF, proof)])
            (answer,) = stolen.send(join)
            assert codec.decode(answer).reason == 6  # type: ignore[union-attr]


def test_the_real_key_would_open_it(unscrubbed: Stolen) -> None:
    (key,) = [option.value for value in unscrubbed.of(Kind.JOIN) for option in value.options if option.key == 4]
    thief = Client(unscrubbed.bench)
    thief.address, thief.nonce = THIEF, 77
    cookie = thief.get_cookie()
    proof = join_proof(key, cookie, thief.nonce)
    join = thief.join_datagram(cookie, code="VAULT", mode=JoinMode.JOIN, options=[(Option.PROOF, proof)])
    assert unscrubbed.send(join)[0][0] == Kind.WELCOME


# --- Moving a session to the thief's address


def response(session: int, challenge: int, proof: bytes) -> bytes:
    return codec.encode(Kind.PATH_RESPONSE, shard=0, session=session, challenge=challenge, proof=proof)


def test_a_path_check_cannot_be_answered_from_a_capture(stolen: Stolen) -> None:
    before = stolen.state()
    challenges = stolen.of(Kind.PATH_CHALLENGE)
    assert challenges
    for welcome in stolen.of(Kind.WELCOME):
        for asked in challenges:
            proof = path_proof(welcome.fields.secret, asked.challenge, asked.session)
            stolen.bench.now += 0.01
            assert stolen.dropped_by(response(asked.session, asked.challenge, proof)) == {"UNKNOWN_SESSION": 1}
    assert stolen.state() == before


@pytest.mark.parametrize("which", [0, 1, 2])
def test_not_even_if_the_session_were_known(stolen: Stolen, which: int) -> None:
    """Say that somebody overheard a session's number: without its secret it stays where it is."""
    client = stolen.clients[which]
    stolen.bench.now += 1
    payload, _ = client.data()
    answers = [codec.decode(data) for data in stolen.send(payload)]
    (asked,) = [value for value in answers if value.kind == Kind.PATH_CHALLENGE]  # type: ignore[union-attr]
    for welcome in stolen.of(Kind.WELCOME):
        proof = path_proof(welcome.fields.secret, asked.challenge, asked.session)
        assert stolen.dropped_by(response(asked.session, asked.challenge, proof)) == {"BAD_PATH_PROOF": 1}
    real = path_proof(client.welcome.secret, asked.challenge, asked.session)
    assert stolen.dropped_by(response(asked.session, asked.challenge, real)) == {}  # with the secret it would move
    assert stolen.bench.counted("path_moves") == 1
