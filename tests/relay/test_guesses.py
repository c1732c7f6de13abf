"""Wrong codes and passwords: counted per host, so that nobody finds a private room by trying."""

from protocol.constants import JoinMode, Kind, Option, Refusal
from protocol.proofs import room_key
from relay.addresses import pack_address
from relay.guesses import GUESSES_AT_ONCE, GUESSES_PER_S, MAX_GUESSERS, SHARE_OF_OPENING, Guesses
from tests.relay.bench import Bench, Client

HERE, THERE = pack_address("192.0.2.1", 1000), pack_address("192.0.2.2", 1000)
SAME_64, LOOPBACK = [pack_address(f"2001:db8::{n}", 1000) for n in (1, 2)], pack_address("127.0.0.1", 1)


def use_up(guesses: Guesses, address: bytes, now: float = 0.0) -> None:
    for _ in range(GUESSES_AT_ONCE):
        assert guesses.may_guess(address, now)
        guesses.note(address, now)


def test_after_some_wrong_guesses_a_host_must_wait() -> None:
    guesses = Guesses()
    use_up(guesses, HERE)
    assert not guesses.may_guess(HERE, 0.0) and guesses.may_guess(THERE, 0.0)
    assert not guesses.may_guess(HERE, 0.9 / GUESSES_PER_S) and guesses.may_guess(HERE, 1.0 / GUESSES_PER_S)
    guesses.note(HERE, 1.0 / GUESSES_PER_S)
    assert not guesses.may_guess(HERE, 1.0 / GUESSES_PER_S)


def test_a_host_is_an_ipv4_address_or_a_64_of_ipv6_and_loopback_is_none() -> None:
    guesses = Guesses()
    use_up(guesses, SAME_64[0])
    assert not guesses.may_guess(SAME_64[1], 0.0)
    use_up(guesses, LOOPBACK)
    assert guesses.may_guess(LOOPBACK, 0.0)


def test_hosts_remembered_are_bounded_and_who_guessed_longest_ago_is_forgotten() -> None:
    guesses = Guesses()
    use_up(guesses, HERE)
    for n in range(MAX_GUESSERS - 2):
        guesses.note(pack_address(f"10.0.{n // 256}.{n % 256}", 1), 0.0)
    guesses.note(HERE, 0.0)
    for n in range(2):
        guesses.note(pack_address(f"10.1.0.{n}", 1), 0.0)
    assert len(guesses) == MAX_GUESSERS and not guesses.may_guess(HERE, 0.0)
    for n in range(MAX_GUESSERS):
        guesses.note(pack_address(f"10.2.{n // 256}.{n % 256}", 1), 0.0)
    assert len(guesses) == MAX_GUESSERS and guesses.may_guess(HERE, 0.0)


def test_wrong_codes_and_passwords_are_refused_until_the_host_must_wait_and_then_right_ones_too() -> None:
    bench = Bench()
    bench.join(code="SECRET", options=[(Option.ROOM_KEY, room_key("xyzzy"))])
    answers = [
        Client(bench, "192.0.2.9").ask(code="SECRET" if n % 2 else f"GUESS{n}", mode=JoinMode.JOIN).reason
        for n in range(GUESSES_AT_ONCE)
    ]
    assert set(answers) == {Refusal.NO_SUCH_ROOM, Refusal.WRONG_PASSWORD}
    bench.join(code="OPEN")
    refused = Client(bench, "192.0.2.9").ask(code="OPEN", mode=JoinMode.JOIN)
    assert (refused.kind, refused.reason) == (Kind.REFUSE, Refusal.TOO_MANY_TRIES)
    assert Client(bench, "192.0.2.10").join(code="OPEN", mode=JoinMode.JOIN)
    bench.wait(1.1 / GUESSES_PER_S)
    assert Client(bench, "192.0.2.9").join(code="OPEN", mode=JoinMode.JOIN)


def test_to_open_rooms_by_chosen_codes_is_guessing_too_and_by_made_up_ones_is_not() -> None:
    """Else who tries codes would join or create: it gets into what there is, and leaves what there was not."""
    bench = Bench()
    num_rooms = round((GUESSES_AT_ONCE - 1) / SHARE_OF_OPENING) + 1
    for n in range(num_rooms):
        bench.receive(Client(bench, "192.0.2.9").join(code=f"GUESS{n}").bye())
    assert Client(bench, "192.0.2.9").ask(code="MINE").reason == Refusal.TOO_MANY_TRIES
    for _ in range(num_rooms + 1):
        bench.receive(Client(bench, "192.0.2.10").join(mode=JoinMode.CREATE, code="").bye())
    bench.join(code="THERE")
    for _ in range(GUESSES_AT_ONCE):
        exists = Client(bench, "192.0.2.11").ask(mode=JoinMode.CREATE, code="THERE")
        assert exists.reason == Refusal.ROOM_EXISTS
    assert Client(bench, "192.0.2.11").ask(mode=JoinMode.CREATE, code="THERE").reason == Refusal.TOO_MANY_TRIES
