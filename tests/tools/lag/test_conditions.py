"""Conditions: what is permitted, how they are written, and what a wrong one is answered."""

import math
from typing import Any

import pytest

from tools.cli import UsageError
from tools.lag.conditions import (
    KEYS,
    PRESETS,
    RANGES,
    Conditions,
    Path,
    describe_path,
    parse_conditions,
    parse_mix,
)


def both(**values: Any) -> Path:
    return Path(Conditions(**values), Conditions(**values))


# --- Conditions


@pytest.mark.parametrize("name", RANGES)
def test_values_beyond_the_range_are_named_with_what_is_permitted(name: str) -> None:
    low, high = RANGES[name]
    Conditions(**{name: low})
    Conditions(**{name: high})
    for value in (low - 0.5, high * 1.01, math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=f"^{name} is .*; permitted: {low:g} to "):
            Conditions(**{name: value})


def test_a_bandwidth_too_small_for_a_datagram_is_refused_but_none_is_no_cap() -> None:
    assert Conditions(bandwidth_kbit=0.0) == Conditions()
    with pytest.raises(ValueError, match=r"bandwidth_kbit is 0.5; permitted: 0 \(no cap\), or 1 to 10,000,000"):
        Conditions(bandwidth_kbit=0.5)


# --- parse_conditions


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("latency=40,jitter=10,loss=1", both(latency_ms=40, jitter_ms=10, loss_percent=1)),
        ("up.loss=1", Path(Conditions(loss_percent=1), Conditions())),
        ("down.loss=1", Path(Conditions(), Conditions(loss_percent=1))),
        (
            "burst=5,duplicate=2,reorder=3,bandwidth=100",
            both(burst=5, duplicate_percent=2, reorder_percent=3, bandwidth_kbit=100),
        ),
        (" latency = 1.5 , up. loss=2", Path(Conditions(latency_ms=1.5, loss_percent=2), Conditions(latency_ms=1.5))),
        ("loss=1,down.loss=2", Path(Conditions(loss_percent=1), Conditions(loss_percent=2))),
        ("down.loss=2,loss=1", both(loss_percent=1)),
        ("none", Path()),
        ("wifi", PRESETS["wifi"]),
        ("wifi,loss=7,burst=1", both(latency_ms=12, jitter_ms=4, loss_percent=7)),
    ],
)
def test_conditions_are_read_as_they_are_documented(text: str, path: Path) -> None:
    assert parse_conditions(text) == path


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_named_and_changed(name: str) -> None:
    assert parse_conditions(name) == PRESETS[name]
    changed = parse_conditions(f"{name},up.latency=77")
    assert changed.up.latency_ms == 77 and changed.down == PRESETS[name].down


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "''; permitted: [up.|down.]KEY=VALUE"),
        ("wfi", "'wfi'; permitted: [up.|down.]KEY=VALUE"),
        ("latency", "'latency'; permitted"),
        ("lag=5", "'lag=5'; permitted"),
        ("left.loss=5", "'left.loss=5'; permitted"),
        ("loss=5,", "''; permitted"),
        ("loss=5,wifi", "'wifi'; permitted"),
        ("loss=five", "'loss=five'; permitted: a number, such as loss=5"),
        ("loss=101", "'loss=101': loss_percent is 101; permitted: 0 to 100"),
        ("loss=nan", "loss_percent is nan; permitted: 0 to 100"),
        ("down.burst=0", "burst is 0; permitted: 1 to 1,000"),
    ],
)
def test_a_wrong_text_is_answered_in_one_line_that_names_the_part(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_conditions(text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_answer_to_a_wrong_key_lists_all_keys_and_presets() -> None:
    with pytest.raises(UsageError) as caught:
        parse_conditions("x=1")
    assert all(name in str(caught.value) for name in (*KEYS, *PRESETS))


# --- parse_mix


@pytest.mark.parametrize(
    ("texts", "mix"),
    [
        ([], [(1.0, Path())]),
        (["wifi"], [(1.0, PRESETS["wifi"])]),
        (["wifi", "lan"], [(0.5, PRESETS["wifi"]), (0.5, PRESETS["lan"])]),
        (["30%:mobile"], [(0.3, PRESETS["mobile"]), (0.7, Path())]),
        (["30%:mobile", "wifi"], [(0.3, PRESETS["mobile"]), (0.7, PRESETS["wifi"])]),
        (["wifi", " 50 %:burst=2", "lan"], [(0.25, PRESETS["wifi"]), (0.5, both(burst=2)), (0.25, PRESETS["lan"])]),
        (["33.3%:lan", "66.7%:wifi"], [(0.333, PRESETS["lan"]), (0.667, PRESETS["wifi"])]),
        (["100%:lan"], [(1.0, PRESETS["lan"])]),
    ],
)
def test_shares_are_filled_up_to_the_whole(texts: list[str], mix: list[tuple[float, Path]]) -> None:
    found = parse_mix(texts)
    assert [path for _, path in found] == [path for _, path in mix]
    assert [share for share, _ in found] == pytest.approx([share for share, _ in mix])
    assert sum(share for share, _ in found) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["60%:lan", "41%:wifi"], "shares are 101 % together; permitted: 100 % for all"),
        (["100%:lan", "wifi"], "shares are 100 % and 1 without a share; permitted: 100 % for all"),
        (["0%:lan"], "share is '0%'; permitted: above 0% to 100%, as in 30%:lan"),
        (["101%:lan"], "share is '101%'; permitted"),
        (["nan%:lan"], "share is 'nan%'; permitted"),
        (["30:lan"], "share is '30'; permitted"),
        (["x%:"], "share is 'x%'; permitted: above 0% to 100%, as in 30%:wifi"),
        (["30%:lon"], "conditions have 'lon'"),
    ],
)
def test_wrong_shares_are_answered_in_one_line(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mix(texts)
    assert words in str(caught.value) and "\n" not in str(caught.value)


# --- describe_path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("none", "nothing added"),
        ("latency=40,loss=1", "latency 40 ms, loss 1 %; one way"),
        ("bandwidth=256,burst=3", "burst 3, bandwidth 256 kbit/s; one way"),
        ("latency=40,up.loss=1", "latency 40 ms, loss 1 % up and 0 % down; one way"),
        ("down.jitter=2.5", "jitter 0 ms up and 2.5 ms down; one way"),
    ],
)
def test_a_path_is_described_by_what_it_adds(text: str, words: str) -> None:
    assert describe_path(parse_conditions(text)) == words
