"""What can be asked for, and the one line that says what cannot."""

import socket
from typing import Any

import pytest

from tools import cli
from tools.cli import EXIT_USAGE, UsageError
from tools.lag.conditions import PRESETS
from tools.load import options as module
from tools.load.audience import Aim
from tools.load.options import build_parser, check_limits, find_address, plan_of
from tools.load.plan import RANGES, Movement, Plan

OPTION_OF = {"duration_s": "duration", "warm_up_s": "warm-up", "settle_s": "settle"}


def plan(*arguments: str) -> Plan:
    return plan_of(build_parser().parse_args(arguments))


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command with a wrong value. Returns: what it says, without its name."""
    try:
        code = cli.main(["load", *arguments], {})
    except SystemExit as ended:
        code = ended.code  # type: ignore[assignment]
    out, err = capsys.readouterr()
    assert code == EXIT_USAGE and out == ""
    assert err.count("\n") == 1 and err.startswith("tickrelay load: ")
    return err.removeprefix("tickrelay load: ").strip()


def test_without_options_a_load_is_the_plans_default() -> None:
    made, default = plan(), Plan(port=24545)
    names = [name for name in RANGES if name != "port"]
    assert [getattr(made, name) for name in names] == [getattr(default, name) for name in names]
    assert (made.aim, made.movement, made.paths, made.floor) == (Aim.MIXED, Movement.ALL, (), False)


EVERYTHING = """
--port 5 --rooms 3 --players 4 --rate 20.5 --state-bytes 40 --messages 2 --signals 3 --message-bytes 50
--signal-bytes 60 --join-rate 70 --per-socket 2 --leaves 0.5 --crashes 0.25 --moves 0.75 --seed 9
--duration 5 --warm-up 1.5 --settle 3 --aim others --movement walk --net mobile
"""


def test_every_option_reaches_the_plan() -> None:
    made = plan(*EVERYTHING.split())
    assert (made.port, made.rooms, made.players, made.rate, made.state_bytes) == (5, 3, 4, 20.5, 40)
    assert (made.messages, made.signals, made.message_bytes, made.signal_bytes) == (2.0, 3.0, 50, 60)
    assert (made.join_rate, made.per_socket, made.leaves, made.crashes, made.moves) == (70.0, 2, 0.5, 0.25, 0.75)
    assert (made.seed, made.duration_s, made.warm_up_s, made.settle_s) == (9, 5.0, 1.5, 3.0)
    assert (made.aim, made.movement) == (Aim.OTHERS, Movement.WALK)
    assert made.paths == ((1.0, PRESETS["mobile"]),)


def test_the_report_knows_what_was_asked_for() -> None:
    settings = plan("--rooms", "3", "--json", "--report", "x.html").settings
    assert settings["rooms"] == 3 and settings["movement"] == "all"
    assert not settings.keys() & {"json", "report", "relay_pid", "yes_i_own_this_host", "floor"}


@pytest.mark.parametrize("name", RANGES)
def test_every_number_out_of_its_range_is_named_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = OPTION_OF.get(name, name.replace("_", "-"))
    low, high = RANGES[name]
    for value in (low - 1, high + 1):
        text = complaint(capsys, f"--{option}={value}")
        assert text == f"{option} is {type(getattr(Plan(port=1), name))(value)}; permitted: {low} to {high}"


@pytest.mark.parametrize("option", ["rate", "duration", "messages", "leaves", "min-delivered", "max-age-ms"])
@pytest.mark.parametrize("value", ["nan", "-inf", "x", ""])
def test_what_is_no_number_is_no_option(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert option in complaint(capsys, f"--{option}={value}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--state-bytes=7"], "state_bytes is 7; permitted: 0, or 8 to"),
        (["--aim=nobody"], "invalid choice: 'nobody'"),
        (["--movement=fly"], "invalid choice: 'fly'"),
        (["--net=fog"], "conditions have 'fog'"),
        (["--net=70%:wifi", "--net=60%:mobile"], "shares are 130 %"),
        (["--min-delivered=0"], "min-delivered is 0.0; permitted: above 0, up to 1"),
        (["--min-delivered=1.1"], "min-delivered is 1.1"),
        (["--max-age-ms=0"], "max-age-ms is 0.0; permitted: above 0"),
        (["--max-latency-ms=-1"], "max-latency-ms is -1.0"),
        (["--max-relay-cpu=0"], "max-relay-cpu is 0.0"),
        (["--max-rooms=0"], "max-rooms is 0"),
        (["--find-capacity", "--report=x.html"], "--report shows one load"),
        (["--report=."], "--report .: is a folder"),
        (["--report=no/such/folder/x.html"], "there is no folder"),
        (["--relay-pid=4194999"], "relay-pid is 4194999; there is no such process"),
        (["--relay-pid=x"], "--relay-pid"),
        (["--rms=3"], "unrecognized arguments"),
        (["--roo=3"], "unrecognized arguments"),
        (["somewhere"], "unrecognized arguments"),
        (["--host=no.such.host.invalid"], "no.such.host.invalid has no address"),
        (["--host="], "has no address"),
        (["--host=" + "a" * 70 + ".org"], "cannot be a name"),
    ],
)
def test_every_wrong_value_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in complaint(capsys, *arguments)


@pytest.mark.parametrize("host", ["192.0.2.7", "0.0.0.0", "2001:db8::1"])
def test_another_machine_is_refused_unless_it_is_ones_own(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = complaint(capsys, "--host", host)
    assert text.startswith(f"{host} is not this machine.") and "attack" in text and "--yes-i-own-this-host" in text
    family, address = find_address(host, 5, owned=True)
    assert address[:2] == (host, 5)
    assert family == (socket.AF_INET6 if ":" in host else socket.AF_INET)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_this_machine_needs_no_permission(host: str) -> None:
    _, address = find_address(host, 5, owned=False)
    assert address[1] == 5


def test_a_name_that_leads_elsewhere_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("198.51.100.3", port))]

    monkeypatch.setattr(module.socket, "getaddrinfo", lookup)
    with pytest.raises(UsageError, match=r"relay\.test is not this machine"):
        find_address("relay.test", 5, owned=False)
    assert find_address("relay.test", 5, owned=True)[1] == ("198.51.100.3", 5)


def test_the_default_limits_are_permitted() -> None:
    check_limits(build_parser().parse_args([]))


def test_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["load", "--help"], {})
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for action in build_parser()._actions:
        option = action.option_strings[-1]
        if option == "--floor":
            assert option not in shown
            continue
        assert option in shown
        if isinstance(action.default, int | float) and not isinstance(action.default, bool):
            assert f"(default: {action.default:g})" in shown or f"(default: {action.default})" in shown
