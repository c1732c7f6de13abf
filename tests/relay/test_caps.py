"""The relay's own caps as data: true to the code, and every test that a row names exists."""

import ast
from pathlib import Path

from protocol.constants import ByeReason, Refusal
from protocol.drops import DropReason
from relay import delivery, lobby, pacing, signals
from relay.caps import CAPS
from relay.config import RelayConfig

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_that_a_cap_names_exists() -> None:
    named = [cap.test for cap in CAPS if cap.test]
    assert len(named) > len(CAPS) // 2
    for test in named:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in functions if name else functions, test


def test_every_cap_is_named_once_and_says_what_happens_beyond_it() -> None:
    assert len({cap.what for cap in CAPS}) == len(CAPS)
    for cap in CAPS:
        assert cap.what and cap.policy and any(letter.isdigit() for letter in cap.limit), cap


def test_what_a_cap_is_counted_as_is_a_reason_or_a_counter_of_the_relay() -> None:
    reasons = {reason.name for kind in (DropReason, Refusal, ByeReason) for reason in kind}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "relay").glob("*.py"))
    for cap in CAPS:
        for name in cap.counted.split(", "):
            assert name == "-" or name in reasons or f'count("{name}"' in source, cap


def test_limits_are_those_of_the_code() -> None:
    limits = {cap.what: cap.limit for cap in CAPS}
    config = RelayConfig()
    assert limits["sessions of the relay"].startswith(f"{config.max_players:,} ")
    assert limits["datagrams of a session"].startswith(f"{config.datagrams_per_s:,} a second")
    assert limits["signals gathered until the next sends"] == f"{signals.MAX_QUEUED:,}"
    assert f"{lobby.GREETINGS_PER_S:,}" in limits["HELLO, and JOIN, LIST, BYE and PATH_RESPONSE that prove nothing"]
    assert f"{lobby.JOINS_PER_S:,}" in limits["JOIN with a good cookie"]
    assert f"{lobby.PINGS_PER_S:,}" in limits["PING answered"]
    assert limits["fragments to one client"] == f"{delivery.FRAGMENTS_PER_S} a second"
    assert f"{pacing.MAX_FLIGHT_DATAGRAMS} datagrams" in limits["under way to one client"]
    assert limits["join attempts remembered"].startswith("4 x `max_players` + 4,096, ")
