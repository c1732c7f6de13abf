"""A capture in the hands of somebody else, while the sessions in it live: nothing in it opens anything.

The thief has the file, the protocol and this source, and reaches the relay from any address. Each attack is also run
with the datagrams as they really were, where it works: so it would work here if the capture gave the secret away.
"""

from collections import Counter
from typing import Any

import pytest

from protocol import codec, dtypes, schemas
from protocol.constants import JoinMode, Kind, Option, Refusal
from protocol.drops import DropReason
from protocol.proofs import join_proof, path_proof, resume_proof, room_key
from relay.addresses import pack_address
from relay.sessions import ROW_BITS
from tests.relay.bench import Client
from tests.relay.capture.captures import HEAD, CapturedBench, read

THIEF = pack_address("203.0.113.66", 6_666)
KEY = room_key("swordfish")
IDENTITY = b"made once, secret"[:16]
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
        self.back = self._let_one_come_back()
        return clients

    def _let_one_come_back(self) -> Client:
        """Let one more player join, lose its connection, and come back as a new process."""
        bench = self.bench
        lost = bench.join(code="OPEN", options=[(Option.IDENTITY, IDENTITY)])
        back = lost.come_back(code="OPEN")
        bench.receive(back.data(back.message(b"again")))
        bench.tick()
        return back

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

    def come_back(self, session: int, secret: bytes, code: str = "OPEN", proof: bytes = b"") -> Any:
        """Ask for a player's place from the thief's address, with a cookie of its own. Returns: the answer, decoded."""
        thief = Client(self.bench)
        thief.address = THIEF
        self.bench.now += 1
        cookie = thief.get_cookie()
        proof = proof or resume_proof(secret, cookie, thief.nonce, session)
        option = schemas.RESUME_OPTION.build({"session": session, "log_index": 0, "proof": proof})
        return thief.answer_to(
            thief.join_datagram(cookie, code=code, mode=JoinMode.RESUME, options=[(Option.RESUME, option)])
        )

    def resumes(self) -> list[Any]:
        """What JOINs said of who comes back."""
        options = [option for value in self.of(Kind.JOIN) for option in value.options]
        return [schemas.RESUME_OPTION.parse(option.value) for option in options if option.key == Option.RESUME]

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
    sent = Counter(Kind(data[0]) for data, _ in stolen.datagrams)
    assert dropped["UNKNOWN_SESSION"] == sent[Kind.DATA] + sent[Kind.BYE] and sent[Kind.DATA] >= 10
    assert dropped["STALE_COOKIE"] == sent[Kind.JOIN] == 6


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


# --- A player's place: who comes back to it is that player


def test_nobody_can_come_back_as_a_player_of_a_capture(stolen: Stolen) -> None:
    before = stolen.state()
    sessions = {value.fields.session for value in stolen.of(Kind.WELCOME)}
    sessions |= {resume.session for resume in stolen.resumes()}
    assert len(sessions) == 6 and len(stolen.resumes()) == 1
    for session in sessions:
        for value in stolen.of(Kind.WELCOME):
            assert stolen.come_back(session, value.fields.secret).reason == Refusal.CANNOT_RESUME
    assert stolen.state() == before


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_not_even_if_its_session_were_known(stolen: Stolen, which: int) -> None:
    """Neither a captured secret nor the proof that somebody else came back with opens it."""
    client = [*stolen.clients, stolen.back][which]
    code = client.welcome.code.rstrip(b"\0").decode()
    before = stolen.state()
    for value in stolen.of(Kind.WELCOME):
        answer = stolen.come_back(client.welcome.session, value.fields.secret, code)
        assert answer.reason == Refusal.CANNOT_RESUME
    for resume in stolen.resumes():
        answer = stolen.come_back(client.welcome.session, b"", code, resume.proof)
        assert answer.reason == Refusal.CANNOT_RESUME
    assert stolen.state() == before
    answer = stolen.come_back(client.welcome.session, client.welcome.secret, code)  # with the secret it would open
    assert answer.fields.player_id == client.welcome.player_id


def test_what_was_really_sent_would_open_it(unscrubbed: Stolen) -> None:
    welcome = unscrubbed.of(Kind.WELCOME)[-1].fields
    assert welcome.session == unscrubbed.back.welcome.session
    answer = unscrubbed.come_back(welcome.session, welcome.secret)
    assert answer.fields.player_id == welcome.player_id and answer.fields.session != welcome.session


def test_a_capture_still_tells_who_came_back_to_what(stolen: Stolen, unscrubbed: Stolen) -> None:
    """A session has one pseudonym wherever it stands."""
    for capture in (stolen, unscrubbed):
        before, after = [value.fields for value in capture.of(Kind.WELCOME)][-2:]
        (resume,) = capture.resumes()
        assert (resume.session, resume.log_index) == (before.session, 0) and after.resumed == 2
    (real,), (shown,) = unscrubbed.resumes(), stolen.resumes()
    assert real.session != shown.session and real.proof != shown.proof


def test_nobody_learns_whom_a_ban_would_know(stolen: Stolen, unscrubbed: Stolen) -> None:
    """Who had somebody's identity could have that player refused: by joining with it, and being banned."""
    assert any(IDENTITY in data for data, _ in unscrubbed.datagrams)
    assert not any(IDENTITY in data for data, _ in stolen.datagrams)
