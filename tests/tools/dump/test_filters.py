"""Which datagrams are shown."""

import argparse
from typing import Any

import pytest

from protocol.constants import Kind
from tests.tools.dump.made import ordinary_capture
from tests.tools.dump.reading import see
from tools.cli import UsageError
from tools.dump.filters import NAMES, build_filter, compile_expression, parse_session
from tools.dump.views import object_of

CAPTURE = ordinary_capture(seed=2, loss_up=0.05)
SEEN = see([*CAPTURE, CAPTURE[100]])
BEGIN_S = CAPTURE[0].time_s
OPTIONS = ("room", "player", "session", "kind", "direction", "after", "before", "min_bytes", "max_bytes", "where")


def kept(**options: Any) -> list[int]:
    """Numbers of the datagrams that these options let pass."""
    chosen = argparse.Namespace(**{**dict.fromkeys(OPTIONS), "dropped": False, **options})
    keep = build_filter(chosen, lambda: BEGIN_S)
    assert keep is not None
    return [one.datagram.number for one in SEEN if keep(one)]


def where(text: str) -> list[int]:
    keep = compile_expression(text)
    return [one.datagram.number for one in SEEN if keep(one)]


def numbers(wanted: Any) -> list[int]:
    return [one.datagram.number for one in SEEN if wanted(one)]


def test_without_options_there_is_no_filter() -> None:
    assert build_filter(argparse.Namespace(**dict.fromkeys(OPTIONS), dropped=False), lambda: 0.0) is None


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"room": "lobby"}, lambda s: True),
        ({"player": "Ada"}, lambda s: s.player == "Ada"),
        ({"kind": "hello, 3"}, lambda s: s.kind in (1, 3)),
        ({"direction": "down"}, lambda s: s.direction.value == "down"),
        ({"after": 0.5, "before": 1.0}, lambda s: 0.5 <= s.datagram.time_s - BEGIN_S < 1.0),
        ({"min_bytes": 60, "max_bytes": 80}, lambda s: 60 <= len(s.datagram.data) <= 80),
        ({"min_bytes": 256, "max_bytes": 256}, lambda s: len(s.datagram.data) == 256),
        ({"dropped": True}, lambda s: s.dropped is not None),
        ({"player": "Bob", "kind": "DATA"}, lambda s: s.player == "Bob" and s.kind == Kind.DATA),
        ({"where": "bytes > 60", "direction": "up"}, lambda s: len(s.datagram.data) > 60 and s.direction.value == "up"),
    ],
)
def test_each_option_keeps_exactly_what_it_says(options: dict[str, Any], wanted: Any) -> None:
    assert kept(**options) == numbers(wanted) != []


def test_players_and_sessions_may_be_given_by_number() -> None:
    session = next(one.session for one in SEEN if one.session is not None and one.session.player_id == 1)
    own = numbers(lambda s: s.session is session)
    assert kept(player="1") == own and kept(session=f"0x{session.session:016x}") == own
    assert kept(session=f"{session.session:016X}"[:6]) == own


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("kind == UPDATE and bytes > 60", lambda s: s.kind == Kind.UPDATE and len(s.datagram.data) > 60),
        ("player in ('Ada', 'Eve') or kind == HELLO", lambda s: s.player == "Ada" or s.kind == Kind.HELLO),
        ("not direction == up", lambda s: s.direction.value != "up"),
        ("40 < bytes <= 60", lambda s: 40 < len(s.datagram.data) <= 60),
        ("dropped == DUPLICATE", lambda s: s.dropped is not None and s.dropped.name == "DUPLICATE"),
        ("ahead > 1", lambda s: s.ahead > 1),
        ("round_trip_ms > 40", lambda s: s.round_trip_s is not None and s.round_trip_s > 0.04),
        ("tick > 30", lambda s: s.kind == Kind.UPDATE and s.value().header.tick > 30),
        ("log_cursor >= 3", lambda s: s.kind == Kind.DATA and s.value().header.log_cursor >= 3),
        ("session is None", lambda s: s.session is None),
        ("problem is not None", lambda s: s.problem is not None),
        ("seq == 17 and ack not in [15, 16]", lambda s: s.seq == 17 and s.value().header.ack not in (15, 16)),
        ("'24545' in target", lambda s: s.direction.value == "up"),
        ("ahead < -3", lambda s: s.dropped is None and s.ahead < -3),
        ("ahead <= 0", lambda s: s.seq is not None and s.dropped is None and s.ahead <= 0),
        ("ahead is None", lambda s: s.seq is None or s.dropped is not None),
        ("tick != 5", lambda s: s.kind == Kind.UPDATE and s.value().header.tick != 5),
        ("seq not in (1, 2)", lambda s: s.seq is not None and s.seq & 0xFFFF not in (1, 2)),
        ("dropped != None", lambda s: s.dropped is not None),
        ("dropped in (None, DUPLICATE)", lambda s: s.dropped is None or s.dropped.name == "DUPLICATE"),
    ],
)
def test_expressions_mean_what_they_say(text: str, wanted: Any) -> None:
    assert where(text) == numbers(wanted)


def test_late_datagrams_are_found_by_a_negative_number() -> None:
    late = see([*CAPTURE[:60], *CAPTURE[70:100], *CAPTURE[60:70]])
    keep = compile_expression("ahead < -3")
    assert [one.ahead for one in late if keep(one)] == [one.ahead for one in late if one.ahead < -3] != []


def test_session_ids_may_stand_without_quotes() -> None:
    session = next(one.session for one in SEEN if one.session is not None)
    shown = f"0x{session.session:016x}"
    own = numbers(lambda s: s.session is session)
    assert where(f"session == {shown}") == where(f"session == '{shown}'") == where(f"session in [1, {shown}]") == own
    assert where(f"session != {shown}") == numbers(lambda s: s.session is not None and s.session is not session)
    assert where(f"{shown} == session") == own != []


def test_every_name_can_be_used() -> None:
    for name in NAMES:
        assert where(f"{name} is None or {name} == {name}") == numbers(lambda s: True), name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "where is ''"),
        ("kind ==", "where is 'kind =='"),
        ("__import__('os').system('true')", "is not permitted"),
        ("player.upper() == 'ADA'", "is not permitted"),
        ("bytes + 1 > 4", "bytes + 1 is not permitted"),
        ("-player == 4", "-player is not permitted"),
        ("-'a' == 4", "-'a' is not permitted"),
        ("sise > 4", "sise is not known, only number, time"),
        ("[x for x in player]", "is not permitted"),
        ("(" * 500 + "1" + ")" * 500, "where is"),
    ],
)
def test_what_is_no_expression_is_named_and_never_run(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_expression(text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "0x", "xyz", "0x" + "1" * 17])
def test_what_is_no_session_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="session is"):
        parse_session(text)


@pytest.mark.parametrize("text", ["FOO", "300", "", "DATA,"])
def test_what_is_no_kind_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="kind is"):
        kept(kind=text)


def test_sizes_are_those_that_were_sent_even_if_the_capture_cut_them() -> None:
    cut = see(CAPTURE, snap_bytes=20 + 8 + 50)
    options = argparse.Namespace(**{**dict.fromkeys(OPTIONS), "dropped": False, "min_bytes": 60})
    keeps = build_filter(options, lambda: BEGIN_S), compile_expression("bytes >= 60")
    for keep in keeps:
        assert keep is not None
        assert [one.datagram.number for one in cut if keep(one)] == [
            number for number, packet in enumerate(CAPTURE, 1) if len(packet.data) >= 60
        ]
    assert [object_of(one)["bytes"] for one in cut] == [len(packet.data) for packet in CAPTURE]
