"""The numbers of the wire fit each other and what SPEC.md says of them."""

from enum import IntEnum, IntFlag

from protocol import constants as c


def test_every_kind_leaves_the_top_bit_free_for_sealed_traffic() -> None:
    assert all(0 < kind < 128 for kind in c.Kind)


def test_no_enumeration_gives_a_number_twice() -> None:
    enums = [v for v in vars(c).values() if isinstance(v, type) and issubclass(v, IntEnum | IntFlag)]
    found = [e for e in enums if e.__module__ == c.__name__]
    assert len(found) >= 10
    for enum in found:
        assert len(enum.__members__) == len({int(member) for member in enum.__members__.values()}), enum


def test_every_enumerated_number_fits_one_byte() -> None:
    enums = (
        c.Kind,
        c.DataSection,
        c.UpdateSection,
        c.JoinMode,
        c.Option,
        c.Refusal,
        c.ByeReason,
        c.Target,
        c.EntryKind,
        c.RequestKind,
        c.RequestRefusal,
        c.PropertyType,
        c.Resumed,
        c.MessageFlag,
        c.RoomFlag,
        c.BanFlag,
        c.SignalFlag,
    )
    assert all(0 <= member <= 255 for enum in enums for member in enum)


def test_made_up_codes_have_no_letters_that_look_alike() -> None:
    assert not set(c.CODE_ALPHABET) & set("ILO01")
    assert set(c.CODE_ALPHABET) <= c.CODE_LETTERS
    assert len(set(c.CODE_ALPHABET)) == len(c.CODE_ALPHABET) == 31
    assert c.MADE_UP_CODE_LENGTH <= c.CODE_BYTES


def test_code_letters_are_those_of_the_spec() -> None:
    assert frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == c.CODE_LETTERS


def test_a_built_datagram_leaves_room_for_the_tag_of_sealed_traffic() -> None:
    assert c.MAX_BODY_BYTES + 16 <= c.MAX_DATAGRAM_BYTES


def test_the_ack_bits_lie_inside_the_window() -> None:
    assert c.ACK_BITS < c.WINDOW == 64


def test_limits_follow_from_each_other() -> None:
    assert c.MAX_SLOTS == 2 * c.MAX_PLAYERS_PER_ROOM
    assert c.MAX_ENTITY_IDS == 1 << 16
    assert c.MAX_SIGNAL_BYTES == 8 * 1024
    assert c.MAX_MESSAGE_BYTES == 1024 * c.MAX_FRAGMENT_BYTES == 1_048_576
    assert c.LOG_WINDOW == 8 * 32  # LOG_BITS has at most eight words
    assert c.MESSAGE_WINDOW == 32  # message_bits is a u32
    assert c.MAX_SIGNAL_FRAGMENTS <= 16  # a fragment number has four bits
    assert c.MAX_MESSAGE_BYTES // c.MAX_FRAGMENT_BYTES <= c.PART_MORE  # a part number has 15 bits


def test_the_age_of_a_state_saturates_at_510_ms() -> None:
    assert c.AGE_MAX * c.AGE_STEP_MS == 510


def test_nobody_is_no_slot() -> None:
    assert c.NO_PLAYER == 0xFFFF > c.MAX_SLOTS


def test_kinds_of_games_requests_and_the_server_are_disjoint() -> None:
    """1 to 111, 112 to 127, 128 to 255, as SPEC 9 says: a game's message is never taken for a request."""
    assert (c.FIRST_REQUEST_KIND, c.MAX_PLAYER_KIND) == (112, 127)
    assert 1 <= c.EntryKind.MESSAGE < c.FIRST_REQUEST_KIND
    assert all(c.FIRST_REQUEST_KIND <= kind <= c.MAX_PLAYER_KIND for kind in c.RequestKind)
    assert all(c.MAX_PLAYER_KIND < kind <= 255 for kind in set(c.EntryKind) - {c.EntryKind.MESSAGE})


def test_each_flag_is_one_bit_and_shares_it_with_no_other() -> None:
    flags = [v for v in vars(c).values() if isinstance(v, type) and issubclass(v, IntFlag) and v is not IntFlag]
    assert {c.MessageFlag, c.RoomFlag, c.BanFlag, c.AckFlag, c.SignalFlag} <= set(flags)
    for flag in flags:
        assert [int(member).bit_count() for member in flag.__members__.values()] == [1] * len(flag.__members__), flag


def test_a_property_and_a_kick_fit_one_message_and_one_entry() -> None:
    """A request must be one fragment, and an entry one datagram."""
    property_bytes = 2 + 1 + 4 + 1 + c.MAX_KEY_BYTES + 1 + c.MAX_VALUE_BYTES
    assert property_bytes <= c.MAX_FRAGMENT_BYTES
    assert 4 + 2 + 1 + c.MAX_KEY_BYTES + 1 + 1 + c.MAX_VALUE_BYTES <= c.MAX_FRAGMENT_BYTES
    assert 2 + 1 + c.MAX_TEXT_BYTES <= c.MAX_FRAGMENT_BYTES
    assert c.MAX_VALUE_BYTES <= 255 >= c.MAX_KEY_BYTES  # the lengths before them are u8


def test_the_bits_of_all_pages_fit_one_entry() -> None:
    """ROOM_READY lists them, and `is_locked` stands before."""
    assert 1 + c.MAX_PAGES // 8 <= c.MAX_FRAGMENT_BYTES


def test_what_an_owner_may_hold_is_more_than_one_property_of_the_largest() -> None:
    for num, total in (
        (c.MAX_ROOM_PROPERTIES, c.MAX_ROOM_PROPERTY_BYTES),
        (c.MAX_PLAYER_PROPERTIES, c.MAX_PLAYER_PROPERTY_BYTES),
    ):
        assert c.MAX_KEY_BYTES + c.MAX_VALUE_BYTES <= total <= num * (c.MAX_KEY_BYTES + c.MAX_VALUE_BYTES)
    assert c.MAX_FRAGMENT_BYTES <= c.MAX_KEPT_BYTES <= c.MAX_KEPT_MESSAGES * c.MAX_FRAGMENT_BYTES
