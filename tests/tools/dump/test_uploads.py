"""How captured uploads are rewritten for another session."""

from dataclasses import fields, replace
from typing import Any

import pytest
from construct import Container
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec, dtypes, schemas
from protocol.client.handshake import Welcome
from protocol.constants import DataSection, Kind, RequestKind
from tests.tools.dump.made import Game, Packet, chatter
from tests.tools.dump.reading import see
from tests.tools.dump.samples import damaged
from tests.tools.dump.test_problems import data_with, message
from tools.dump.sessions import Session
from tools.dump.uploads import Recording, Rewriter, Upload, build_recording, room_options, split_sections

_OTHERS: dict[str, Any] = dict.fromkeys((field.name for field in fields(Welcome)), 0)
NEW = Welcome(
    **_OTHERS | dict(
        session=0xBEEF, secret=bytes(16), reset_token=bytes(16), code="NEW", player_id=7, player_slots=20,
        max_players=10, entities_per_player=4, max_state_bytes=24, page_ids=34, tick_rate=60, tick=600, log_index=5,
        message_id=3, message_credit=40, keepalive_s=1.0, timeout_s=10.0,
    )
)  # fmt: skip


def recording_of(packets: list[Packet], with_welcome: bool = True) -> tuple[Recording, Session]:
    """The recording of the one player in a capture."""
    seen = see(packets)
    session = next(one.session for one in seen if one.session is not None)
    if not with_welcome:
        session.welcome = None
    ups = [(one.datagram.time_s, one.seq or 0, one.datagram.data) for one in seen if one.kind == Kind.DATA]
    update: Any = next(one for one in seen if one.kind == Kind.UPDATE)
    return build_recording(session, ups, (update.datagram.time_s, update.value().header.tick)), session


GAME = Game(1, loss_up=0.1, seed=6).run(3.0, chatter)
RECORDING, SESSION = recording_of(GAME.capture)


def sections_of(body: bytes) -> list[Any]:
    """Decode sections behind a made-up header."""
    value: Any = codec.decode(data_with() + body)
    assert not isinstance(value, codec.DropReason), value
    return list(value.sections)


def test_a_recording_has_the_uploads_in_order_counted_from_one() -> None:
    assert RECORDING.name == "Ada" and RECORDING.uploads[0].seq == 1
    seqs = [upload.seq for upload in RECORDING.uploads]
    assert seqs == sorted(seqs) and len(set(seqs)) == len(seqs) and seqs[-1] > len(seqs)  # with gaps
    assert RECORDING.uploads[0].at_s == 0 and 2.5 < RECORDING.duration_s < 3
    assert RECORDING.entity_ids == [SESSION.player_id] and RECORDING.max_stride == 12


def test_the_games_bytes_stay_and_ids_are_those_of_the_new_session() -> None:
    rewriter = Rewriter(RECORDING, NEW)
    messages = []
    for upload in RECORDING.uploads:
        old: Any = codec.decode(upload.data)
        kept = [section for section in old.sections if section.type != DataSection.LOG_BITS]
        new = sections_of(rewriter.rewrite_sections(upload, 10_000))
        assert [section.type for section in new] == [section.type for section in kept]
        for before, after in zip(kept, new):
            if after.type == DataSection.STATE:
                assert [state.entity_id for state in after.body.states] == [7]
                assert [s.state for s in after.body.states] == [s.state for s in before.body.states]
            else:
                assert after.body.payload == before.body.payload
            if after.type == DataSection.MESSAGE:
                messages.append(after.body.header.message_id)
    assert min(messages) == NEW.message_id + 1 and max(messages) == NEW.message_id + len(set(messages))


def test_samples_are_as_old_as_they_were() -> None:
    rewriter = Rewriter(RECORDING, NEW)
    for upload in RECORDING.uploads[5:]:
        old: Any = codec.decode(upload.data)
        before = next(s.body.header.sample_ms for s in old.sections if s.type == DataSection.STATE)
        server_ms = 70_000
        new = sections_of(rewriter.rewrite_sections(upload, server_ms))
        after = next(s.body.header.sample_ms for s in new if s.type == DataSection.STATE)
        clock_at_s, tick = RECORDING.clock or (0, 0)
        old_age_ms = tick * 1000 / 30 + (upload.at_s - clock_at_s) * 1000 - before
        assert 0 <= (server_ms - after) & 0xFFFF <= 1000
        assert (server_ms - after) & 0xFFFF == pytest.approx(max(0, old_age_ms), abs=2)


def test_entities_keep_their_local_index() -> None:
    rewriter = Rewriter(RECORDING, NEW)
    slots, player = SESSION.welcome.player_slots, SESSION.player_id or 0
    assert rewriter.entity_id(2 * slots + player) == 2 * 20 + 7
    assert rewriter.entity_id(1 * slots + player + 3) == 1 * 20 + player + 3  # somebody else's stays somebody else's


def test_without_the_old_welcome_local_indexes_are_made_up_in_order() -> None:
    recording = Recording("", [Upload(0.0, 1, b"")], entity_ids=[9, 41, 300], max_stride=9, first_message=70)
    rewriter = Rewriter(recording, NEW)
    assert [rewriter.entity_id(old) for old in (9, 41, 300)] == [7, 27, 47]
    assert room_options(recording) == {"entities_per_player": 3, "max_state_bytes": 9}
    sections = sections_of(rewriter.rewrite_sections(Upload(0.0, 1, data_with(message(message_id=71))), 0))
    assert sections[0].body.header.message_id == NEW.message_id + 2


@pytest.mark.parametrize("room_flags", [0, 1])
def test_the_room_is_made_as_the_old_one_was(room_flags: int) -> None:
    old = Container(SESSION.welcome) | {"room_flags": room_flags}
    assert room_options(replace(RECORDING, welcome=Container(old))) == {
        "max_players": old["max_players"],
        "entities_per_player": old["entities_per_player"],
        "max_state_bytes": 24,
        "anyone_sets": bool(room_flags),
    }


def test_our_own_number_among_targets_is_translated_and_log_bits_are_left_out() -> None:
    own = SESSION.player_id or 0
    data = data_with((2, bytes(4)), message(target=3, targets=(own, 5, 900)))
    (section,) = sections_of(Rewriter(RECORDING, NEW).rewrite_sections(Upload(0.0, 1, data), 0))
    assert list(section.body.targets) == [7, 5, 900]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (RequestKind.SET_PROPERTY, {"owner": "own"}, {"owner": 7}),
        (RequestKind.SET_PROPERTY, {"owner": 65_535}, {"owner": 65_535}),
        (RequestKind.GIVE_ENTITY, {"entity_id": "own", "owner": 5}, {"entity_id": 7, "owner": 5}),
        (RequestKind.HAND_OVER_HOST, {"player_id": "own"}, {"player_id": 7}),
        (RequestKind.KICK, {"player_id": 5, "text": b"out"}, {"player_id": 5, "text": b"out"}),
        (RequestKind.CLEAR_KEPT, {"log_index": 9}, {"log_index": 9}),
    ],
)
def test_who_and_what_a_request_names_is_translated(
    kind: RequestKind, before: dict[str, Any], after: dict[str, Any]
) -> None:
    rest = {"is_conditional": 0, "version": 0, "key": b"team", "type": 4, "value": b"red"}
    named = {name: SESSION.player_id or 0 if value == "own" else value for name, value in before.items()}
    schema = schemas.REQUEST_PAYLOADS[kind]
    data = data_with(message(kind=kind, payload=schema.build(rest | named)))
    (section,) = sections_of(Rewriter(RECORDING, NEW).rewrite_sections(Upload(0.0, 1, data), 0))
    assert section.body.payload == schema.build(rest | after)


@pytest.mark.parametrize(("kind", "more"), [(RequestKind.KICK, 1), (127, 0), (1, 0), (RequestKind.LOCK, 0)])
def test_what_only_looks_like_a_request_stays_as_it_is(kind: int, more: int) -> None:
    payload = (SESSION.player_id or 0).to_bytes(2, "little") + b"words"
    data = data_with(message(kind=kind, more=more, payload=payload))
    (section,) = sections_of(Rewriter(RECORDING, NEW).rewrite_sections(Upload(0.0, 1, data), 0))
    assert section.body.payload == payload


def test_a_signal_follows_its_message_under_the_new_number() -> None:
    body = dtypes.SIGNAL_UP_HEADER.encode(1, 2, 0, 0, 0, 0, 9, 4) + b"x"
    (section,) = sections_of(Rewriter(RECORDING, NEW).rewrite_sections(Upload(0.0, 1, data_with((4, body))), 0))
    assert section.body.header.after_message == NEW.message_id + 4 and section.body.header.sequence == 9


@given(damaged())
@settings(max_examples=300, deadline=None)
def test_malformed_sections_are_rewritten_without_raising_and_keep_their_sizes(data: bytes) -> None:
    whole = data_with() + data
    body = Rewriter(RECORDING, NEW).rewrite_sections(Upload(0.0, 1, whole), 5)
    log_bits = sum(3 + len(part) for kind, part in split_sections(whole)[0] if kind == DataSection.LOG_BITS)
    assert len(body) == len(data) - log_bits


@given(st.lists(damaged(), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_recordings_are_built_from_any_bytes(payloads: list[bytes]) -> None:
    ups = [(float(n), n + 1, data_with() + data) for n, data in enumerate(payloads)]
    recording = build_recording(SESSION, ups, None)
    assert len(recording.uploads) == len(payloads) and all(0 <= n <= 65_535 for n in recording.entity_ids)
