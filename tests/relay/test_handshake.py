"""Everything before a session: cookies, HELLO, PING, and what a JOIN may ask for."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec, dtypes, proofs
from protocol.constants import (
    MAX_ENTITIES_PER_PLAYER,
    MAX_STATE_BYTES,
    REVISION_MAX,
    JoinMode,
    Kind,
    Option,
    Refusal,
)
from protocol.drops import DropReason
from relay.addresses import pack_address
from relay.config import RelayConfig
from relay.handshake import (
    COOKIE_MEMORY_S,
    COOKIE_SLOT_S,
    Cookies,
    Join,
    JoinRequest,
    Refused,
    answer_hello,
    answer_ping,
    build_refuse,
    check_join,
    proof_is_right,
    read_join,
    read_room_options,
)
from relay.rooms import RoomOptions
from tests.relay.bench import SECRET

HERE = pack_address("192.0.2.1", 1000)
ELSEWHERE = [
    pack_address("192.0.2.2", 1000),
    pack_address("192.0.2.1", 1001),
    pack_address("fe80::1", 1000, 1),
    pack_address("fe80::1", 1000, 2),
]
CONFIG = RelayConfig(max_room_players=64, default_room_players=16)


def hello(revision_min: int = 1, revision_max: int = 1, magic: bytes = b"TKRL", features: int = 0) -> bytes:
    texts = {"client_name": bytes(24), "client_release": bytes(16), "fingerprint": 0}
    return codec.encode(
        Kind.HELLO,
        shard=0,
        magic=magic,
        nonce=77,
        revision_min=revision_min,
        revision_max=revision_max,
        features=features,
        **texts,
    )


def join(options: list[tuple[int, bytes]] | None = None, **changed: Any) -> Any:
    fields = {"kind": Kind.JOIN, "shard": 0, "nonce": 5, "cookie": bytes(20), "revision": 1, "features": 0}
    fields |= {"mode": JoinMode.JOIN_OR_CREATE, "code": b"ROOM".ljust(16, b"\0"), "name": b"Ada".ljust(32, b"\0")}
    listed = [{"key": key, "value": value} for key, value in options or []]
    return read_join(codec.encode(Kind.JOIN, fields=fields | changed, options=listed))


def check(options: list[tuple[int, bytes]] | None = None, **changed: Any) -> JoinRequest | Refused:
    return check_join(join(options, **changed), CONFIG)


def reason(outcome: object) -> Refusal | None:
    return outcome.reason if isinstance(outcome, Refused) else None


# --- reading JOIN

SIZE = dtypes.JOIN_FIELDS.size


@given(
    st.binary(min_size=SIZE, max_size=SIZE), st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=4))), st.data()
)
def test_a_join_is_read_as_its_schema_does(head: bytes, options: list[tuple[int, bytes]], data: st.DataObject) -> None:
    whole = bytes([Kind.JOIN]) + head[1:] + b"".join(bytes((key, len(value))) + value for key, value in options)
    wire = whole[: data.draw(st.integers(2, len(whole)))] + data.draw(st.binary(max_size=3))
    mine, value = read_join(wire), codec.decode(wire)
    if isinstance(value, DropReason):
        assert mine == value
    else:
        assert isinstance(mine, Join) and mine.options == codec.options_of(value)
        assert all(field == value.fields[name] for name, field in mine.fields._asdict().items())


# --- cookies


def test_a_cookie_is_good_for_its_slot_and_the_next_one() -> None:
    cookies = Cookies(SECRET)
    now = 1000.0  # the beginning of a slot
    cookie = cookies.issue(HERE, 7, now)
    assert len(cookie) == 20
    for later in (0.0, 9.9, 10.0, 19.9):
        assert cookies.check(cookie, HERE, 7, now + later)
    for later in (20.0, 25.0, 1e6):
        assert not cookies.check(cookie, HERE, 7, now + later)
    assert not cookies.check(cookie, HERE, 7, now - 0.1)  # of a slot that has not begun


def test_a_cookie_is_good_for_10_s_whenever_it_was_issued() -> None:
    cookies = Cookies(SECRET)
    for now in (0.0, 3.3, 9.999, 12345.678):
        assert cookies.check(cookies.issue(HERE, 7, now), HERE, 7, now + COOKIE_SLOT_S)
        assert not cookies.check(cookies.issue(HERE, 7, now), HERE, 7, now + COOKIE_MEMORY_S)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_a_cookie_is_of_no_use_to_another_address(address: bytes) -> None:
    cookies = Cookies(SECRET)
    assert not cookies.check(cookies.issue(HERE, 7, 5.0), address, 7, 5.0)


def test_a_cookie_is_of_no_use_with_another_nonce_or_another_relay() -> None:
    cookie = Cookies(SECRET).issue(HERE, 7, 5.0)
    assert not Cookies(SECRET).check(cookie, HERE, 8, 5.0)
    assert not Cookies(bytes(32)).check(cookie, HERE, 7, 5.0)
    assert Cookies(SECRET).check(cookie, HERE, 7, 5.0)  # but it outlives a restart


def test_a_cookie_with_any_bit_wrong_is_refused() -> None:
    cookies = Cookies(SECRET)
    cookie = cookies.issue(HERE, 7, 5.0)
    for bit in range(160):
        wrong = (int.from_bytes(cookie, "little") ^ 1 << bit).to_bytes(20, "little")
        assert not cookies.check(wrong, HERE, 7, 5.0)


def test_cookies_go_on_where_the_number_of_the_slot_wraps() -> None:
    cookies = Cookies(SECRET)
    now = 2**32 * COOKIE_SLOT_S
    assert cookies.check(cookies.issue(HERE, 7, now - 1.0), HERE, 7, now + 1.0)
    assert not cookies.check(cookies.issue(HERE, 7, now - 11.0), HERE, 7, now + 1.0)


def test_a_reset_token_is_known_again_after_a_restart_and_to_nobody_else() -> None:
    token = Cookies(SECRET).reset_token(99)
    assert len(token) == 16
    assert Cookies(SECRET).reset_token(99) == token
    assert Cookies(SECRET).reset_token(98) != token != Cookies(bytes(32)).reset_token(99)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_a_path_challenge_is_for_one_address_session_and_20_s(address: bytes) -> None:
    cookies = Cookies(SECRET)
    now = 1000.0
    challenge = cookies.path_challenge(HERE, 99, now)
    assert 0 <= challenge < 1 << 64
    assert cookies.check_path_challenge(challenge, HERE, 99, now + 19.9)
    assert not cookies.check_path_challenge(challenge, HERE, 99, now + 20.0)
    assert not cookies.check_path_challenge(challenge, address, 99, now)
    assert not cookies.check_path_challenge(challenge, HERE, 98, now)
    assert not cookies.check_path_challenge(challenge ^ 1, HERE, 99, now)


# --- HELLO and PING


def test_hello_is_answered_by_a_cookie_for_its_address_and_nonce() -> None:
    cookies = Cookies(SECRET)
    answer = answer_hello(hello(), HERE, cookies, 5.0)
    assert isinstance(answer, bytes)
    challenge = codec.decode(answer)
    assert (challenge.kind, challenge.nonce, challenge.revision, challenge.features) == (Kind.CHALLENGE, 77, 1, 0)
    assert challenge.fingerprint == codec.FINGERPRINT
    assert cookies.check(challenge.cookie, HERE, 77, 5.0)


def test_the_highest_common_revision_is_chosen_and_unknown_features_are_not() -> None:
    answer = answer_hello(hello(0, 65535, features=0xFFFFFFFF), HERE, Cookies(SECRET), 5.0)
    challenge = codec.decode(answer)
    assert (challenge.revision, challenge.features) == (REVISION_MAX, 0)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (2, 2), (2, 65535), (65535, 0)])
def test_no_common_revision_is_refused_with_ours_and_a_text(low: int, high: int) -> None:
    refuse = codec.decode(answer_hello(hello(low, high), HERE, Cookies(SECRET), 5.0))
    assert (refuse.kind, refuse.reason, refuse.nonce) == (Kind.REFUSE, Refusal.VERSION, 77)
    assert (refuse.revision_min, refuse.revision_max) == (1, 1)
    assert b"pdate" in refuse.text


def test_no_answer_is_larger_than_its_request() -> None:
    for low, high in ((1, 1), (0, 0), (2, 9), (65535, 65534)):
        request = hello(low, high)
        answer = answer_hello(request, HERE, Cookies(SECRET), 5.0)
        assert isinstance(answer, bytes) and len(answer) <= len(request)
    ping = codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=1)
    pong = answer_ping(ping, RelayConfig(release="x" * 99), 100, 10, 10)
    assert isinstance(pong, bytes) and len(pong) <= len(ping)
    assert all(len(build_refuse(5, Refused(one, "ä" * 300))) <= 256 for one in Refusal)


@pytest.mark.parametrize("size", [2, 65, 66, 255])
def test_a_hello_or_ping_that_is_not_padded_is_too_short(size: int) -> None:
    assert answer_hello(hello()[:size], HERE, Cookies(SECRET), 5.0) == DropReason.TOO_SHORT
    assert answer_ping(bytes(min(size, 127)), CONFIG, 0, 0, 0) == DropReason.TOO_SHORT


def test_stray_traffic_is_not_answered() -> None:
    assert answer_hello(hello(magic=b"HTTP"), HERE, Cookies(SECRET), 5.0) == DropReason.BAD_MAGIC
    ping = bytearray(codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=1))
    ping[2] ^= 1
    assert answer_ping(bytes(ping), CONFIG, 0, 0, 0) == DropReason.BAD_MAGIC


def test_what_follows_the_fields_of_hello_and_ping_is_ignored() -> None:
    assert isinstance(answer_hello(hello() + b"later" * 99, HERE, Cookies(SECRET), 5.0), bytes)
    ping = codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=1)
    assert isinstance(answer_ping(ping + b"later", CONFIG, 0, 0, 0), bytes)


def test_pong_tells_how_busy_the_relay_is() -> None:
    ping = codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=123)
    pong = codec.decode(answer_ping(ping, RelayConfig(tick_rate=60, max_players=90, release="1.2.3"), 42, 7, 3))
    assert (pong.nonce, pong.tick_rate, pong.load_percent) == (123, 60, 42)
    assert (pong.players, pong.max_players, pong.rooms) == (7, 90, 3)
    assert pong.release.rstrip(b"\0") == b"1.2.3"


def test_a_load_beyond_a_byte_is_shown_as_the_highest() -> None:
    ping = codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=1)
    assert codec.decode(answer_ping(ping, CONFIG, 1000, 0, 0)).load_percent == 255


# --- JOIN


def test_a_join_in_order_is_read_field_by_field() -> None:
    proof = bytes(range(16))
    options = [(Option.MAX_PLAYERS, b"\x08\0"), (Option.PROOF, proof), (200, b"unknown")]
    request = check(options, mode=JoinMode.CREATE, cookie=bytes(range(20)))
    assert isinstance(request, JoinRequest)
    assert (request.nonce, request.mode, request.code, request.name) == (5, JoinMode.CREATE, b"ROOM", "Ada")
    assert request.options == RoomOptions(max_players=8, entities_per_player=1, max_state_bytes=32)
    assert (request.proof, request.cookie) == (proof, bytes(range(20)))


@pytest.mark.parametrize("revision", [0, 2, 65535])
def test_a_revision_that_we_do_not_speak_is_refused(revision: int) -> None:
    assert reason(check(revision=revision)) == Refusal.VERSION


@pytest.mark.parametrize("mode", [0, 6, 255])
def test_modes_of_later_revisions_are_unsupported(mode: int) -> None:
    assert reason(check(mode=mode)) == Refusal.UNSUPPORTED


@pytest.mark.parametrize("name", ["A", "ä" * 16, "x" * 32, "a b", "\u00a0", "名前", "\U0001f600" * 8])
def test_names_of_1_to_32_bytes_are_taken(name: str) -> None:
    request = check(name=name.encode().ljust(32, b"\0"))
    assert isinstance(request, JoinRequest) and request.name == name


@pytest.mark.parametrize(
    "name",
    [b"", b"\xff", b"\xc3", b"a\nb", b"a\0b", b"\x1b[2J", b"\x7f", b"\xc2\x80", b"\xc2\x9f", b"x" * 31 + b"\xc3"],
)
def test_names_that_are_empty_no_utf_8_or_have_control_characters_are_refused(name: bytes) -> None:
    assert reason(check(name=name.ljust(32, b"\0"))) == Refusal.BAD_NAME


@pytest.mark.parametrize("code", [b"A", b"ROOM-42", b"ABCDEFGHIJKLMNOP"])
def test_codes_of_1_to_16_letters_are_taken(code: bytes) -> None:
    request = check(code=code.ljust(16, b"\0"))
    assert isinstance(request, JoinRequest) and request.code == code


@pytest.mark.parametrize("code", [b"room", b"A B", b"A\0B", b"\xc3\x84", b"A_"])
@pytest.mark.parametrize("mode", [JoinMode.CREATE, JoinMode.JOIN, JoinMode.JOIN_OR_CREATE])
def test_other_codes_are_refused(code: bytes, mode: JoinMode) -> None:
    assert reason(check(code=code.ljust(16, b"\0"), mode=mode)) == Refusal.BAD_CODE


def test_only_create_may_leave_the_code_to_the_relay() -> None:
    empty = bytes(16)
    assert isinstance(check(code=empty, mode=JoinMode.CREATE), JoinRequest)
    assert reason(check(code=empty, mode=JoinMode.JOIN)) == Refusal.BAD_CODE
    assert reason(check(code=empty, mode=JoinMode.JOIN_OR_CREATE)) == Refusal.BAD_CODE


def test_a_token_is_not_supported_yet() -> None:
    assert reason(check([(Option.IDENTITY, b"x")])) == Refusal.BAD_OPTIONS


def test_of_an_option_that_stands_twice_the_first_counts() -> None:
    request = check([(Option.MAX_PLAYERS, b"\x03\0"), (Option.MAX_PLAYERS, b"\x09\0")])
    assert isinstance(request, JoinRequest) and request.options.max_players == 3


# --- options of a room


@pytest.mark.parametrize(
    ("key", "size", "highest"),
    [
        (Option.MAX_PLAYERS, 2, 64),
        (Option.ENTITIES_PER_PLAYER, 2, MAX_ENTITIES_PER_PLAYER),
        (Option.MAX_STATE_BYTES, 1, MAX_STATE_BYTES),
    ],
)
def test_both_ends_of_an_option_are_permitted_and_beyond_them_it_is_refused(
    key: Option, size: int, highest: int
) -> None:
    def read(value: int, size: int = size) -> RoomOptions | Refused:
        return read_room_options({key: value.to_bytes(size, "little")}, CONFIG)

    for value in (1, highest):
        chosen = read(value)
        assert isinstance(chosen, RoomOptions) and getattr(chosen, key.name.lower()) == value
    assert reason(read(0)) == Refusal.BAD_OPTIONS
    if highest < 256**size - 1:
        refused = read(highest + 1)
        assert reason(refused) == Refusal.BAD_OPTIONS
        assert isinstance(refused, Refused) and str(highest) in refused.text
    for wrong_size in (0, size + 1):
        assert reason(read(1 if wrong_size else 0, wrong_size)) == Refusal.BAD_OPTIONS


def test_options_that_are_not_given_have_their_defaults() -> None:
    assert read_room_options({}, CONFIG) == RoomOptions(max_players=16, entities_per_player=1, max_state_bytes=32)


@pytest.mark.parametrize("size", [1, 16, 31, 33, 255])
def test_a_room_key_has_32_bytes_or_none(size: int) -> None:
    assert reason(read_room_options({Option.ROOM_KEY: bytes(size)}, CONFIG)) == Refusal.BAD_OPTIONS


def test_a_room_key_is_kept() -> None:
    key = proofs.room_key("open sesame")
    chosen = read_room_options({Option.ROOM_KEY: key}, CONFIG)
    assert isinstance(chosen, RoomOptions) and chosen.room_key == key


def large_room(players: int, per_player: int, state_bytes: int) -> RoomOptions | Refused:
    config = RelayConfig(max_room_players=256)
    options = {
        Option.MAX_PLAYERS: players.to_bytes(2, "little"),
        Option.ENTITIES_PER_PLAYER: per_player.to_bytes(2, "little"),
        Option.MAX_STATE_BYTES: bytes([state_bytes]),
    }
    return read_room_options(options, config)


def test_a_room_has_at_most_65536_entity_ids() -> None:
    assert isinstance(large_room(256, 128, 1), RoomOptions)
    assert reason(large_room(256, 129, 1)) == Refusal.BAD_OPTIONS


def test_a_room_has_at_most_1024_pages() -> None:
    """255 bytes a state: 4 ids a page, so 4,096 ids are the most."""
    assert isinstance(large_room(256, 8, 255), RoomOptions)
    assert reason(large_room(256, 9, 255)) == Refusal.BAD_OPTIONS


# --- passwords


@pytest.mark.parametrize("seed", range(3))
def test_a_proof_is_right_for_one_key_cookie_and_nonce(seed: int) -> None:
    key, cookie = proofs.room_key("open sesame"), Random(seed).randbytes(20)
    right = proofs.join_proof(key, cookie, 5)

    def tried(proof: bytes, cookie: bytes = cookie, nonce: int = 5) -> bool:
        options = RoomOptions(max_players=1, entities_per_player=1, max_state_bytes=1)
        return proof_is_right(JoinRequest(nonce, JoinMode.JOIN, b"R", "Ada", options, proof, cookie, b""), key)

    assert tried(right)
    assert not tried(right, cookie=bytes(20)) and not tried(right, nonce=6)
    assert not tried(b"") and not tried(right[:15]) and not tried(right + b"\0") and not tried(bytes(16))
    assert not tried(proofs.join_proof(proofs.room_key("open says me"), cookie, 5))


def test_a_room_without_a_password_asks_for_no_proof() -> None:
    request = check()
    assert isinstance(request, JoinRequest)
    assert proof_is_right(request, b"")


def test_a_room_has_no_more_players_by_default_than_the_relay_permits() -> None:
    options = read_room_options({}, RelayConfig(max_room_players=8))
    assert isinstance(options, RoomOptions)
    assert options.max_players == 8
