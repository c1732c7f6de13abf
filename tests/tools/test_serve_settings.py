"""Settings: from the command line, the environment, a TOML file or the default, and what is wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from protocol.constants import DEFAULT_PORT
from relay.config import RelayConfig, documented_fields
from tools.cli import UsageError
from tools.serve_settings import ServeSettings, all_settings, merge_settings


def merge(
    options: dict[str, Any] | None = None, environ: dict[str, str] | None = None, toml: Path | None = None
) -> ServeSettings:
    return merge_settings(options or {}, environ or {}, str(toml) if toml else None)


def write(path: Path, text: str) -> Path:
    file = path / "relay.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_defaults_are_those_of_the_config_and_one_port_on_all_addresses() -> None:
    settings = merge()
    assert settings.config == RelayConfig()
    assert (settings.host, settings.port, settings.transport) == (None, DEFAULT_PORT, "auto")


def test_every_field_of_the_config_can_be_set_and_is_explained() -> None:
    settings = {setting.name: setting for setting in all_settings()}
    for name, default in documented_fields():
        if name != "release":
            assert settings[name].default == default
            assert len(settings[name].help) > 20
    assert "release" not in settings


def test_option_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    toml = write(tmp_path, "tick_rate = 10\nmax_rooms = 11\nmax_players = 12\nkeepalive_s = 2")
    environ = {"TICKRELAY_MAX_ROOMS": "21", "TICKRELAY_MAX_PLAYERS": "22", "PATH": "/bin"}
    config = merge({"max_players": "32", "tick_rate": None}, environ, toml).config
    assert (config.tick_rate, config.max_rooms, config.max_players) == (10, 21, 32)
    assert config.keepalive_s == 2.0
    assert config.timeout_s == RelayConfig().timeout_s


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    toml = write(tmp_path, "port = 7")
    assert merge(environ={"TICKRELAY_CONFIG": str(toml)}).port == 7


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("No", False), ("0", False)])
def test_switches_can_be_set_in_the_environment(text: str, value: bool) -> None:
    assert merge(environ={"TICKRELAY_NO_UVLOOP": text}).no_uvloop is value


def test_switches_and_texts_can_be_set_in_the_file(tmp_path: Path) -> None:
    settings = merge(toml=write(tmp_path, 'no_uvloop = true\nhost = "127.0.0.1"\nlog_level = "debug"'))
    assert (settings.no_uvloop, settings.host, settings.log_level) == (True, "127.0.0.1", "debug")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tick_rate": "0"}, "tick_rate (command line) is 0; permitted: 1 to 240"),
        ({"tick_rate": "fast"}, "tick_rate (command line) is 'fast'; permitted: a whole number"),
        ({"tick_rate": "2.5"}, "tick_rate (command line) is '2.5'; permitted: a whole number"),
        ({"timeout_s": "nan"}, "timeout_s (command line) is nan; permitted: 2 to 65"),
        ({"timeout_s": "long"}, "timeout_s (command line) is 'long'; permitted: a number"),
        ({"port": "65536"}, "port (command line) is 65536; permitted: 0 to 65535"),
        ({"transport": "quic"}, "transport (command line) is 'quic'; permitted: auto, batch, asyncio"),
        ({"keepalive_s": "9"}, "keepalive_s (command line) is 9.0; permitted: 0.1 to timeout_s / 2 (5.0)"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_permitted(options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        merge(options)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TICKRELAY_TICK_RATE": "999"}, "tick_rate (environment) is 999; permitted: 1 to 240"),
        ({"TICKRELAY_NO_UVLOOP": "maybe"}, "no_uvloop (environment) is 'maybe'; permitted: true or false"),
        ({"TICKRELAY_TICKRATE": "30"}, "unknown variable TICKRELAY_TICKRATE; did you mean TICKRELAY_TICK_RATE?"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        merge(environ=environ)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tickrate = 30", "unknown key 'tickrate'; did you mean tick_rate?"),
        ("zzz = 1", "unknown key 'zzz'"),
        ('tick_rate = "30"', "is '30'; permitted: a whole number"),
        ("tick_rate = true", "is True; permitted: a whole number"),
        ("tick_rate = 30.0", "is 30.0; permitted: a whole number"),
        ("host = 7", "is 7; permitted: text"),
        ("no_uvloop = 2", "is 2; permitted: true or false"),
        ("tick_rate = 0", "is 0; permitted: 1 to 240"),
        ("tick_rate =", "is not TOML"),
        ("release = '9'", "unknown key 'release'"),
    ],
)
def test_a_wrong_file_is_named_with_the_key(text: str, words: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        merge(toml=file)
    assert words in str(caught.value) and str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not TOML"):
        merge(toml=file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nowhere.toml"):
        merge(toml=tmp_path / "nowhere.toml")
