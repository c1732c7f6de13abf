"""JoinRequest: what may be asked for."""

from typing import Any

import pytest

from protocol.client import JoinMode, JoinRequest, ResumeToken

TOKEN = ResumeToken(7, b"s" * 16, "ROOM-1")
GOOD: dict[str, Any] = {"mode": JoinMode.JOIN, "code": "ROOM-1", "name": "ann"}


def test_a_quick_match_has_no_code_and_no_password() -> None:
    quick: dict[str, Any] = {"mode": JoinMode.QUICK, "name": "ann", "game": "chess", "tags": ["duo"]}
    assert JoinRequest(**quick).code == ""
    for field, value in (("code", "ROOM-1"), ("password", "xyzzy")):
        with pytest.raises(ValueError, match=f"{field} is .*permitted"):
            JoinRequest(**quick, **{field: value})


def test_a_lower_case_code_becomes_upper_case() -> None:
    assert JoinRequest(mode=JoinMode.JOIN, code="room-1", name="ann").code == "ROOM-1"


def test_only_create_may_leave_the_code_to_the_server() -> None:
    assert JoinRequest(mode=JoinMode.CREATE, name="ann").code == ""
    for mode in (JoinMode.JOIN, JoinMode.JOIN_OR_CREATE):
        with pytest.raises(ValueError, match="code"):
            JoinRequest(mode=mode, name="ann")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", "A" * 17),
        ("code", "ROOM 1"),
        ("code", "ÄÖ"),
        ("name", ""),
        ("name", "x" * 33),
        ("name", "ä" * 17),
        ("name", "a\nb"),
        ("name", "a\x7fb"),
        ("name", "a\x9fb"),
        ("name", "\ud800"),
        ("identity", b"x" * 15),
        ("resume", TOKEN),
        ("password", "x" * 1025),
        ("game", "x" * 33),
        ("game_version", "x" * 17),
        ("room_name", "x" * 49),
        ("tags", ["x" * 17]),
        ("shown", ["x" * 33]),
        ("properties", {"": 1}),
        ("max_players", 0),
        ("max_players", 257),
        ("entities_per_player", 0),
        ("entities_per_player", 257),
        ("max_state_bytes", 0),
        ("max_state_bytes", 256),
        ("deadline_s", 0.0),
        ("deadline_s", 601.0),
        ("deadline_s", float("nan")),
        ("client_name", "x" * 25),
        ("client_release", "x" * 17),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} is .*permitted"):
        JoinRequest(**(GOOD | {field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", "A" * 16),
        ("name", "x" * 32),
        ("name", "ä" * 16),
        ("max_players", 256),
        ("entities_per_player", 256),
        ("max_state_bytes", 255),
        ("deadline_s", 600.0),
        ("client_name", "x" * 24),
        ("client_release", "x" * 16),
    ],
)
def test_the_largest_values_are_permitted(field: str, value: object) -> None:
    assert getattr(JoinRequest(**(GOOD | {field: value})), field) == value


def test_a_resume_takes_its_code_from_the_token_and_needs_no_name() -> None:
    request = JoinRequest(mode=JoinMode.RESUME, resume=TOKEN)
    assert (request.code, request.name) == ("ROOM-1", "")
    assert JoinRequest(mode=JoinMode.RESUME, resume=TOKEN, code="room-1", name="ann").code == "ROOM-1"


def test_a_resume_needs_a_token_and_no_other_code() -> None:
    with pytest.raises(ValueError, match="resume is None; permitted: a token for RESUME"):
        JoinRequest(mode=JoinMode.RESUME, code="ROOM-1", name="ann")
    with pytest.raises(ValueError, match="code is 'OTHER'; permitted: the token's"):
        JoinRequest(mode=JoinMode.RESUME, resume=TOKEN, code="OTHER")


def test_secrets_do_not_stand_in_the_text_of_a_request() -> None:
    text = repr(JoinRequest(mode=JoinMode.RESUME, resume=TOKEN, identity=b"i" * 16))
    assert "iiii" not in text and "ssss" not in text


def test_a_password_does_not_stand_in_the_error_about_it() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        JoinRequest(**GOOD, password="secret" * 200)
    assert "secret" not in str(caught.value)
