"""Settings: every range at both ends, and the words that `--help` shows."""

import re
from dataclasses import FrozenInstanceError

import pytest

from relay.config import RANGES, RelayConfig, documented_fields, field_docs

ROOMY = {"default_room_players": 1, "max_room_players": 256, "keepalive_s": 0.1, "timeout_s": 65}
"""Values under which no other setting narrows the range of one."""


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_every_range_are_permitted(name: str) -> None:
    for value in RANGES[name]:
        assert getattr(RelayConfig(**(ROOMY | {name: value})), name) == value


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("end", [0, 1])
def test_a_value_beyond_either_end_is_refused_by_name_value_and_range(name: str, end: int) -> None:
    low, high = RANGES[name]
    value = (low - 1, high + 1)[end]
    with pytest.raises(ValueError) as error:
        RelayConfig(**(ROOMY | {name: value}))
    assert str(error.value) == f"{name} is {value}; permitted: {low} to {high}"


def test_every_number_has_a_range() -> None:
    numbers = {name for name, default in documented_fields() if not isinstance(default, str)}
    assert numbers == set(RANGES)


def test_two_keepalives_fit_into_the_timeout() -> None:
    assert RelayConfig(timeout_s=4.0, keepalive_s=2.0).keepalive_s == 2.0
    with pytest.raises(ValueError, match=r"keepalive_s is 2\.1; permitted: 0\.1 to timeout_s / 2 \(2\.0\)"):
        RelayConfig(timeout_s=4.0, keepalive_s=2.1)


@pytest.mark.parametrize("value", [float("nan")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError):
        RelayConfig(timeout_s=value)


@pytest.mark.parametrize("region", ["x" * 17, "ä" * 9, "eu\nwest", "\x9f"])
def test_a_region_is_a_short_text_without_control_characters(region: str) -> None:
    assert RelayConfig(region="eu-west").region == "eu-west"
    with pytest.raises(ValueError, match=r"region is .*permitted: at most 16 bytes"):
        RelayConfig(region=region)


def test_settings_do_not_change_after_they_were_checked() -> None:
    with pytest.raises(FrozenInstanceError):
        RelayConfig().tick_rate = 0  # type: ignore[misc]


def test_every_field_is_documented_in_the_order_in_which_it_stands() -> None:
    assert list(field_docs()) == [name for name, _ in documented_fields()]
    assert all(len(text) > 10 and "\n" not in text for text in field_docs().values())


def test_defaults_are_those_of_a_config_that_nobody_touched() -> None:
    config = RelayConfig()
    assert all(getattr(config, name) == default for name, default in documented_fields())


def test_the_range_that_a_fields_words_state_is_the_one_that_is_checked() -> None:
    stated = 0
    for name, text in field_docs().items():
        found = re.search(r"\b([\d.,]+) \.\.\. ([\d.,]*\d)(\*\*31)?(?![\d*/a-z_])", text)
        if found is None or name not in RANGES:
            continue
        low, high = (float(number.replace(",", "")) for number in found.group(1, 2))
        assert RANGES[name] == (low, high**31 if found[3] else high), name
        stated += 1
    assert stated >= 12


def test_numbers_that_go_into_a_welcome_fit_its_fields() -> None:
    """datagrams_per_s, messages_per_s, signals_per_s, keepalive_ms and timeout_ms are u16, bytes_per_s is u32."""
    for name in ("datagrams_per_s", "messages_per_s", "signals_per_s", "tick_rate"):
        assert RANGES[name][1] <= 0xFFFF
    assert RANGES["bytes_per_s"][1] <= 0xFFFFFFFF
    assert 1000 * RANGES["timeout_s"][1] <= 0xFFFF
