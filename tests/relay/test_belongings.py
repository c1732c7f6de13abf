"""What a room knows beside its table and log, and where each of it ends."""

import pytest

from protocol.constants import (
    MAX_BANS,
    MAX_KEPT_BYTES,
    MAX_KEPT_MESSAGES,
    MAX_PLAYER_PROPERTIES,
    MAX_PLAYER_PROPERTY_BYTES,
    MAX_ROOM_PROPERTIES,
    MAX_ROOM_PROPERTY_BYTES,
    NO_PLAYER,
    MessageFlag,
    PropertyType,
)
from relay.addresses import pack_address
from relay.belongings import Bans, Kept, KeptMessages, Properties, Property

TEXT = PropertyType.TEXT
ADA, BOB = b"a" * 16, b"b" * 16


def kept(payload: bytes = b"x", sender: int = 1, flags: int = MessageFlag.KEEP) -> Kept:
    return Kept(sender, 1, flags, 0, payload)


@pytest.mark.parametrize(
    ("owner", "most", "most_bytes"),
    [
        (NO_PLAYER, MAX_ROOM_PROPERTIES, MAX_ROOM_PROPERTY_BYTES),
        (3, MAX_PLAYER_PROPERTIES, MAX_PLAYER_PROPERTY_BYTES),
    ],
)
def test_an_owner_has_so_many_properties_and_bytes_and_no_more(owner: int, most: int, most_bytes: int) -> None:
    properties = Properties()
    for number in range(most):
        key = b"%d" % number
        assert properties.fits(owner, key, TEXT, b"")
        properties.set(owner, key, Property(number + 1, TEXT, b""))
    assert not properties.fits(owner, b"more", TEXT, b"")
    assert properties.fits(owner, b"0", TEXT, b"changed"), "one that is there may change"
    assert properties.fits(owner, b"more", PropertyType.NONE, b""), "to remove what is not there is no harm"
    large = Properties()
    large.set(owner, b"key", Property(1, TEXT, b"v" * (most_bytes - 5)))
    assert large.fits(owner, b"k", TEXT, b"v") and not large.fits(owner, b"k", TEXT, b"vv")
    assert large.fits(owner, b"key", TEXT, b"v" * (most_bytes - 3))


def test_a_property_has_the_version_that_set_it_and_none_when_it_is_gone() -> None:
    properties = Properties()
    assert properties.version(3, b"k") == 0
    properties.set(3, b"k", Property(7, TEXT, b"v"))
    properties.set(4, b"k", Property(8, TEXT, b"w"))
    assert (properties.version(3, b"k"), properties.version(4, b"k")) == (7, 8)
    properties.set(3, b"k", Property(9, PropertyType.NONE, b""))
    properties.forget(4)
    assert (properties.version(3, b"k"), properties.version(4, b"k")) == (0, 0)


def test_messages_are_kept_up_to_a_number_and_to_so_many_bytes() -> None:
    many = KeptMessages()
    for index in range(MAX_KEPT_MESSAGES):
        assert many.fits(1)
        many.keep(index, kept())
    assert not many.fits(1) and not many.fits(0)
    many.clear(0)
    assert many.fits(1)
    large = KeptMessages()
    for index in range(MAX_KEPT_BYTES // 1024):
        assert large.fits(1024)
        large.keep(index, kept(bytes(1024)))
    assert not large.fits(1) and large.fits(0)
    large.clear(3)
    assert large.fits(1024) and not large.fits(1025)


def test_what_a_player_said_goes_with_it_unless_it_is_to_outlive_it() -> None:
    messages = KeptMessages()
    outlives = MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER
    messages.keep(1, kept(b"goes", sender=1))
    messages.keep(2, kept(b"stays", sender=1, flags=outlives))
    messages.keep(3, kept(b"another's", sender=2))
    messages.on_left(1)
    assert [(index, one.sender, one.payload) for index, one in messages.by_index.items()] == [
        (2, NO_PLAYER, b"stays"),
        (3, 2, b"another's"),
    ]


def test_one_who_is_banned_again_and_again_pushes_nobody_out() -> None:
    bans = Bans()
    bans.add(BOB, pack_address("10.0.0.2", 1), with_address=False)
    for _ in range(MAX_BANS + 2):
        bans.add(ADA, pack_address("10.0.0.1", 1), with_address=False)
    assert bans.hold(BOB, pack_address("10.0.0.3", 1)) and bans.hold(ADA, pack_address("10.0.0.3", 1))


@pytest.mark.parametrize(
    ("identity", "with_address", "who", "host", "is_banned"),
    [
        (ADA, False, ADA, "10.0.0.9", True),
        (ADA, False, BOB, "10.0.0.1", False),  # another player behind the same NAT
        (ADA, True, BOB, "10.0.0.1", True),
        (b"", False, BOB, "10.0.0.1", True),  # who has no identity is known by the address
        (b"", False, b"", "10.0.0.2", False),
        (ADA, True, b"", "10.0.0.2", False),
    ],
)
def test_a_ban_holds_for_an_identity_and_if_asked_for_an_address(
    identity: bytes, with_address: bool, who: bytes, host: str, is_banned: bool
) -> None:
    bans = Bans()
    bans.add(identity, pack_address("10.0.0.1", 1), with_address)
    assert bans.hold(who, pack_address(host, 2)) == is_banned


def test_a_ban_never_shuts_out_the_relays_own_machine() -> None:
    bans = Bans()
    bans.add(ADA, pack_address("127.0.0.1", 1), with_address=True)
    bans.add(b"", pack_address("::1", 1), with_address=True)
    assert bans.hold(ADA, pack_address("127.0.0.1", 2))
    assert not bans.hold(BOB, pack_address("127.0.0.1", 2)) and not bans.hold(b"", pack_address("::1", 2))


def test_the_oldest_ban_is_forgotten_for_one_beyond_the_cap() -> None:
    bans = Bans()
    names = [number.to_bytes(16, "little") for number in range(1, MAX_BANS + 3)]
    for name in names:
        bans.add(name, pack_address("10.0.0.1", 1), with_address=False)
    assert [bans.hold(name, pack_address("10.0.0.2", 1)) for name in names] == [False] * 2 + [True] * MAX_BANS
