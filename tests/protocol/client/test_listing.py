"""Listing: HELLO and LIST at their times, pages to the end, answers checked."""

import math
from typing import Any

import pytest

from protocol import codec
from protocol.client import listing as module
from protocol.client.events import Refused
from protocol.client.listing import ListedRoom, Listing, ListRequest, RoomList
from protocol.constants import Kind, ListedFlag, Option, Refusal
from protocol.drops import DropReason

COOKIE = b"c" * 20


def make(**wish: Any) -> Listing:
    return Listing(ListRequest(**wish), 7, 0.0)


def challenge(cookie: bytes = COOKIE, **changes: int) -> bytes:
    fields = {"shard": 0, "nonce": 7, "revision": 1, "features": 0, "fingerprint": 0}
    return codec.encode(Kind.CHALLENGE, cookie=cookie, **(fields | changes))


def room(code: str = "LOBBY", **body: Any) -> Any:
    fields = {"code": code.encode().ljust(16, b"\0"), "players": 2, "max_players": 4, "flags": body.pop("flags", 0)}
    texts = {"name": b"", "version": b"", "tags": {"texts": []}, "properties": {"properties": []}}
    return {"fields": fields, "body": texts | body}


def page(*rooms: Any, after: int = 0, next: int = 0, nonce: int = 7) -> bytes:
    fields = {"kind": Kind.ROOMS, "shard": 0, "nonce": nonce, "after": after, "next": next, "num_listed": 9}
    return codec.encode(Kind.ROOMS, fields=fields, region=b"eu-west", rooms=list(rooms))


def asking(**wish: Any) -> Listing:
    """A listing that has a cookie and has sent its first LIST."""
    listing = make(**wish)
    listing.poll(0.0)
    assert listing.receive(challenge(), 0.0) is None
    assert sent(listing, 0.0).fields.after == 0
    return listing


def sent(listing: Listing, now: float) -> Any:
    """Decode the one datagram that is due."""
    [datagram] = listing.poll(now)
    return codec.decode(datagram)


def kinds_sent(listing: Listing, end: float) -> list[tuple[float, Kind]]:
    kinds = []
    now = listing.next_at()
    while now < end:
        kinds += [(round(now, 3), Kind(datagram[0])) for datagram in listing.poll(now)]
        now = listing.next_at()
    return kinds


def test_what_is_asked_for_is_sent_with_the_cookie() -> None:
    listing = make(game="chess", version="1.2", tags=["duo"], properties={"map": "sea"}, only_open=True)
    hello = listing.poll(0.0)[0]
    assert (len(hello), codec.decode(hello).nonce) == (256, 7)
    assert listing.poll(0.1) == []
    assert listing.receive(challenge(), 0.1) is None and listing.has_answer
    value = sent(listing, 0.1)
    fields = value.fields
    assert (fields.kind, fields.nonce, fields.cookie, fields.revision) == (Kind.LIST, 7, COOKIE, 1)
    assert (fields.after, fields.flags) == (0, 1)
    assert codec.options_of(value) == {
        Option.GAME: b"chess",
        Option.GAME_VERSION: b"1.2",
        Option.TAGS: b"\3duo",
        Option.PROPERTIES: b"\3map\4\3sea",
    }
    assert codec.options_of(sent(asking_again := asking(), 0.25)) == {} and asking_again.result is None


def test_pages_are_asked_for_to_the_end() -> None:
    listing = asking()
    shown = [{"key": b"map", "type": 4, "value": b"sea"}, {"key": b"on", "type": 9, "value": b""}]
    first = room(name=b"Zur Linde", version=b"2", tags={"texts": [b"duo"]}, properties={"properties": shown}, flags=1)
    assert listing.receive(page(first, next=5), 0.1) is None and listing.result is None
    assert sent(listing, 0.1).fields.after == 5
    assert listing.receive(page(after=5, next=9), 0.2) is None  # none of those looked at suited
    assert sent(listing, 0.2).fields.after == 9
    assert listing.receive(page(room("B", flags=ListedFlag.PASSWORD), after=9), 0.3) is None
    assert listing.result == RoomList(
        (
            ListedRoom("LOBBY", "Zur Linde", "2", 2, 4, ("duo",), {"map": "sea"}, True, False),
            ListedRoom("B", "", "", 2, 4, (), {}, False, True),
        ),
        9,
        "eu-west",
    )
    assert listing.next_at() == math.inf and listing.poll(9.0) == [] and not listing.is_late(99.0)


def test_hello_and_list_are_repeated_and_after_three_hello_is_sent_again() -> None:
    assert kinds_sent(make(deadline_s=3.0), 2.5) == [(time, Kind.HELLO) for time in (0.0, 0.25, 0.75, 1.75)]
    listing = make(deadline_s=3.0)
    listing.poll(0.0)
    listing.receive(challenge(), 0.1)
    lists = [(time, Kind.LIST) for time in (0.1, 0.35, 0.85)]
    assert kinds_sent(listing, 2.2) == [*lists, (1.85, Kind.HELLO), (2.1, Kind.HELLO)]
    assert not listing.is_late(2.9) and listing.is_late(3.0)


def test_a_fresh_cookie_is_used_at_once_but_not_for_ever_more_often() -> None:
    listing = asking()
    assert listing.receive(challenge(b"d" * 20), 0.01) is None
    assert listing.poll(0.01) == []
    assert sent(listing, 0.05).fields.cookie == b"d" * 20
    assert listing.receive(page(), 0.06) is None and isinstance(listing.result, RoomList)


def test_pages_put_the_deadline_off_and_cookies_do_not() -> None:
    listing = asking(deadline_s=1.0)
    assert listing.receive(page(next=3), 0.9) is None
    assert not listing.is_late(1.8)
    listing.receive(challenge(), 1.8)
    assert listing.is_late(1.9)


def test_a_refusal_is_the_answer() -> None:
    for reason, told in ((Refusal.BAD_OPTIONS, Refusal.BAD_OPTIONS), (200, 200)):
        listing = asking()
        text = {"revision_min": 1, "revision_max": 1, "text": b"No."}
        assert listing.receive(codec.encode(Kind.REFUSE, shard=0, nonce=7, reason=reason, **text), 0.1) is None
        assert listing.result == Refused(told, "No.")
        assert listing.receive(page(), 0.2) is DropReason.STALE_JOIN


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.TOO_SHORT),
        (codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=7), DropReason.UNKNOWN_KIND),
        (page(nonce=8), DropReason.STALE_JOIN),
        (page(after=1), DropReason.STALE_JOIN),
        (challenge(nonce=8), DropReason.STALE_JOIN),
        (challenge(revision=99), DropReason.MALFORMED),
        (page(room("no code")), DropReason.MALFORMED),
    ],
)
def test_what_is_no_answer_is_dropped(data: bytes, reason: DropReason) -> None:
    listing = asking()
    assert listing.receive(data, 0.1) is reason and listing.result is None


def test_a_page_before_we_asked_or_one_that_goes_back_is_dropped() -> None:
    assert make().receive(page(), 0.0) is DropReason.STALE_JOIN
    listing = asking()
    listing.receive(page(next=5), 0.1)
    assert listing.receive(page(after=5, next=5), 0.2) is DropReason.MALFORMED


def test_rooms_and_pages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = asking(max_rooms=3)
    listing.receive(page(room("A"), room("B"), next=2), 0.1)
    listing.receive(page(room("C"), room("D"), after=2, next=4), 0.2)
    assert isinstance(listing.result, RoomList) and [one.code for one in listing.result.rooms] == ["A", "B", "C"]
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    listing = asking()
    for n in range(3):
        assert listing.result is None
        listing.receive(page(after=n, next=n + 1), 0.1)
    assert isinstance(listing.result, RoomList)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("game", "x" * 33),
        ("version", "x" * 17),
        ("tags", ["x"] * 9),
        ("properties", {"": 1}),
        ("client_name", "x" * 25),
        ("max_rooms", 0),
        ("max_rooms", 10_001),
        ("deadline_s", 0.0),
        ("deadline_s", float("nan")),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is .*permitted"):
        ListRequest(**{field: value})
