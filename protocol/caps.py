"""The limits of the wire as data: what is capped, what happens beyond, and which test pushes past it (SPEC 12).

The table in SPEC.md is made from this list and from `CAPS` of `relay/caps.py`, which names the relay's own queues,
maps and histories in the same form.
"""

from typing import NamedTuple

from protocol import constants, dtypes


class Cap(NamedTuple):
    """One bounded thing."""

    what: str
    """What is bounded, in a few words."""
    limit: str
    """The bound with its unit. Made from a constant or a default of the configuration, never typed again."""
    policy: str
    """What happens to that which does not fit."""
    counted: str
    """Where it is counted: a DropReason, a counter, a refusal or BYE reason; "-" = the sender's code prevents it."""
    test: str = ""
    """The test that pushes past it, as `path::function`."""


def _number(value: int) -> str:
    return f"{value:,}"


_SHARE = f"1 in {constants.PLAYERS_SHARE} for a player who is not host, 1 in {constants.OTHERS_SHARE} for all such"

CAPS: list[Cap] = [
    Cap(
        "datagram received",
        f"{_number(constants.MAX_DATAGRAM_BYTES)} bytes",
        "dropped unread",
        "TOO_LONG",
        "tests/protocol/test_codec.py::test_a_datagram_beyond_the_largest_size_is_too_long",
    ),
    Cap(
        "datagram built",
        f"{_number(constants.MAX_BODY_BYTES)} bytes",
        "what does not fit goes into the next one",
        "-",
        "tests/protocol/test_caps.py::test_one_whole_page_of_any_room_fits_one_datagram",
    ),
    Cap(
        "sections of a DATA",
        _number(constants.MAX_SECTIONS),
        "the datagram is dropped whole",
        "BAD_SECTION",
        "tests/protocol/test_codec.py::test_a_datagram_with_more_sections_than_permitted_is_dropped_whole",
    ),
    Cap(
        "text of REFUSE and BYE",
        f"{constants.MAX_TEXT_BYTES} bytes",
        "cut at the end of a letter",
        "-",
        "tests/protocol/test_codec.py::test_a_text_is_cut_between_letters",
    ),
    Cap(
        "datagrams behind the newest that may still arrive",
        _number(constants.WINDOW),
        "an older one is dropped",
        "TOO_OLD",
        "tests/protocol/test_sequence.py::test_a_datagram_at_the_edge_of_the_window_is_too_old",
    ),
    Cap(
        "players of a room",
        f"{constants.MAX_PLAYERS_PER_ROOM} (room option and server setting may be lower)",
        "create or join is refused",
        "BAD_OPTIONS, ROOM_FULL",
    ),
    Cap(
        "entities per player",
        f"{constants.MAX_ENTITIES_PER_PLAYER} (room option)",
        "create is refused; a state with a higher id is not taken",
        "BAD_OPTIONS, BAD_ENTITY",
    ),
    Cap(
        "bytes of a state",
        f"{constants.MAX_STATE_BYTES} (room option)",
        "create is refused; a datagram with a longer state is dropped whole",
        "BAD_OPTIONS, BAD_SECTION",
    ),
    Cap(
        "entity ids of a room",
        f"{_number(constants.MAX_ENTITY_IDS)} (player slots × entities per player)",
        "create is refused",
        "BAD_OPTIONS",
    ),
    Cap(
        "pages of a room",
        _number(constants.MAX_PAGES),
        "create is refused",
        "BAD_OPTIONS",
        "tests/protocol/test_dtypes.py::test_the_largest_rooms_have_more_pages_than_are_permitted",
    ),
    Cap(
        "removals and groups of a page section",
        f"{_number(dtypes.PAGE_SPACE_BYTES)} bytes",
        "cannot happen: a page has too few ids",
        "-",
        "tests/protocol/test_caps.py::test_one_whole_page_of_any_room_fits_one_datagram",
    ),
    Cap(
        "payload of one message or signal section",
        f"{_number(constants.MAX_FRAGMENT_BYTES)} bytes",
        "the datagram is dropped whole",
        "BAD_SECTION",
    ),
    Cap(
        "one message",
        f"{_number(constants.MAX_MESSAGE_BYTES)} bytes",
        "the sender's library refuses it; a 1,025th fragment ends its session",
        "PROTOCOL",
    ),
    Cap(
        "one signal",
        f"{_number(constants.MAX_SIGNAL_BYTES)} bytes ({constants.MAX_SIGNAL_FRAGMENTS} fragments)",
        "the sender's library refuses it; a higher fragment number drops its datagram",
        "BAD_SECTION",
    ),
    Cap(
        "messages sent beyond `message_ack`",
        _number(constants.MESSAGE_WINDOW),
        "not accepted; repeated later",
        "MESSAGE_WINDOW",
    ),
    Cap(
        "log indexes sent beyond a receiver's cursor",
        _number(constants.LOG_WINDOW),
        "the range is ignored; sent again later",
        "-",
    ),
    Cap(
        "properties of a room, and of one player",
        f"{constants.MAX_ROOM_PROPERTIES} and {constants.MAX_PLAYER_PROPERTIES}; keys and values together "
        f"{_number(constants.MAX_ROOM_PROPERTY_BYTES)} and {_number(constants.MAX_PLAYER_PROPERTY_BYTES)} bytes",
        "the request is refused",
        "TOO_MANY",
        "tests/relay/test_belongings.py::test_an_owner_has_so_many_properties_and_bytes_and_no_more",
    ),
    Cap(
        "tags of a room, and properties that lists show or that a JOIN or LIST names",
        f"{constants.MAX_TAGS} of {constants.TAG_BYTES} bytes, and {constants.MAX_SHOWN}",
        "the JOIN, LIST or request is refused",
        "BAD_OPTIONS, MALFORMED",
        "tests/relay/test_roomoptions.py::test_lists_have_a_most_and_their_texts_a_longest",
    ),
    Cap(
        "keys and values of a room that lists show",
        f"{constants.MAX_SHOWN_BYTES} bytes",
        "one that does not fit is not shown",
        "-",
        "tests/relay/test_directory.py::test_what_is_shown_of_a_room_is_bounded_and_what_does_not_fit_is_left_out",
    ),
    Cap(
        "messages that a room keeps",
        f"{constants.MAX_KEPT_MESSAGES}, together {_number(constants.MAX_KEPT_BYTES)} bytes; {_SHARE}",
        "passed on but not kept, and the sender is told",
        "TOO_MANY",
        "tests/relay/test_belongings.py::test_messages_are_kept_up_to_a_number_and_to_so_many_bytes",
    ),
    Cap(
        "a message that is to be kept",
        f"{_number(constants.MAX_KEPT_MESSAGE_BYTES)} bytes",
        "passed on but not kept, and the sender is told",
        "MALFORMED",
        "tests/relay/test_requests.py::test_a_message_to_keep_leaves_room_for_its_index",
    ),
    Cap(
        "entities of a room that were handed over",
        f"{_number(constants.MAX_HANDED_OVER)}; {_SHARE}",
        "the request is refused",
        "TOO_MANY",
        "tests/relay/test_requests.py::test_so_many_entities_may_be_handed_over_and_no_more",
    ),
    Cap(
        "players that a room remembers as banned",
        _number(constants.MAX_BANS),
        "the oldest is forgotten",
        "-",
        "tests/relay/test_belongings.py::test_the_oldest_ban_is_forgotten_for_one_beyond_the_cap",
    ),
]
"""Caps that both ends of the wire share, in the order of the SPEC."""
