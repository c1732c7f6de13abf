"""`tickrelay ping`: an answer, or what to check."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol import codec
from protocol.client import Pong
from protocol.constants import DEFAULT_PORT, Kind
from tests.relay.transport.doubles import HOSTS, client_socket
from tests.tools.commands import serving, tickrelay
from tools import ping
from tools.cli import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("relay.example", ("relay.example", DEFAULT_PORT)),
        ("relay.example:7000", ("relay.example", 7000)),
        ("192.0.2.7:1", ("192.0.2.7", 1)),
        ("::1", ("::1", DEFAULT_PORT)),
        ("[::1]", ("::1", DEFAULT_PORT)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_addresses_are_read_in_every_usual_form(text: str, address: tuple[str, int]) -> None:
    assert ping.parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":7000", "host:", "host:0", "host:65536", "host:x", "[::1", "[::1]7000", "[]:5", "host:²"]
)
def test_a_wrong_address_says_what_is_permitted(text: str) -> None:
    if text == "host:":
        assert ping.parse_address(text) == ("host", DEFAULT_PORT)
        return
    with pytest.raises(UsageError, match="permitted: HOST"):
        ping.parse_address(text)


@contextmanager
def relay_double(silent_for: int = 0, garbage: bytes = b"") -> Iterator[int]:
    """Answer PINGs on a port of 127.0.0.1 after ignoring some; every answer comes after some garbage."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)
        done = threading.Event()

        def answer() -> None:
            ignored = 0
            while not done.is_set():
                try:
                    data, address = sock.recvfrom(2000)
                except TimeoutError:
                    continue
                if ignored < silent_for:
                    ignored += 1
                    continue
                value = codec.decode(data)
                fields = dict(revision_min=1, revision_max=1, release=b"9.9".ljust(16, b"\0"), tick_rate=60)
                counts = dict(load_percent=7, players=3, max_players=100, rooms=2, later=b"")
                sock.sendto(garbage, address)
                sock.sendto(codec.encode(Kind.PONG, shard=0, nonce=value.nonce, **fields, **counts), address)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            done.set()
            thread.join()


def test_an_answer_is_shown_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with relay_double(garbage=b"\x08garbage") as port:
        assert ping.main([f"127.0.0.1:{port}"], {}) == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(
        rf"127\.0\.0\.1:{port}: round trip \d+\.\d ms, tickrelay 9\.9 \(protocol 1 to 1\), 60 ticks/s, load 7 %, "
        r"3 of 100 players in 2 rooms\n",
        shown,
    )


def test_a_lost_datagram_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ping, "RETRY_S", 0.02)
    with relay_double(silent_for=2) as port:
        answer = ping.ping([(socket.AF_INET, ("127.0.0.1", port))], timeout_s=2.0)
    assert answer is not None and answer.round_trip_s < 0.5


def test_all_addresses_of_a_host_are_asked() -> None:
    with relay_double() as port, client_socket("127.0.0.1") as silent:
        addresses = [(socket.AF_INET, silent.getsockname()), (socket.AF_INET, ("127.0.0.1", port))]
        answer = ping.ping(addresses, timeout_s=2.0)
    assert answer is not None and answer.port == port


def test_silence_says_what_to_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ping, "ping", lambda addresses: None)
    assert ping.main(["127.0.0.1:9"], {}) == 1
    shown = capsys.readouterr().err
    for words in ("no answer from 127.0.0.1, UDP port 9", "running", "firewall", "address right"):
        assert words in shown


def test_a_destination_without_a_route_is_silence() -> None:
    assert ping.ping([(socket.AF_INET, ("255.255.255.255", 9))], timeout_s=0.05) is None


def test_an_unknown_name_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert ping.main(["no-such-host.invalid"], {}) == 1
    assert "is the name right?" in capsys.readouterr().err


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    pong = Pong(1, 2, "1.0", 30, 5, 1, 2, 3)
    assert ping.answer_text(ping.Answer(pong, "::1", 7, 0.01234)).startswith("[::1]:7: round trip 12.3 ms")
    assert ping.answer_text(ping.Answer(pong, "192.0.2.1", 7, 0.01234)).startswith("192.0.2.1:7: round trip 12.3 ms")


def test_the_region_is_shown_if_the_relay_says_it() -> None:
    pong = Pong(1, 2, "1.0", 30, 5, 1, 2, 3, "eu-west")
    assert ping.answer_text(ping.Answer(pong, "192.0.2.1", 7, 0.01234)).startswith("192.0.2.1:7 in eu-west: round trip")


@pytest.mark.slow
def test_a_real_relay_answers(tmp_path: Path) -> None:
    with serving(tmp_path, "--tick-rate", "50", "--region", "eu-west") as relay:
        for host in HOSTS:
            address = f"[{host}]:{relay.port}" if ":" in host else f"{host}:{relay.port}"
            done = tickrelay(tmp_path, "ping", address)
            assert done.returncode == 0
            for words in (" in eu-west: ", "50 ticks/s", "0 of 2000 players in 0 rooms"):
                assert words in done.stdout


@pytest.mark.slow
def test_nobody_there_takes_three_seconds_and_exit_1(tmp_path: Path) -> None:
    done = tickrelay(tmp_path, "ping", "127.0.0.1:9")
    assert done.returncode == 1 and "firewall" in done.stderr
