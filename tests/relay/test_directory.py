"""Lists of rooms, page by page, and what they show; candidates of a quick match."""

from random import Random

from protocol.constants import (
    MAX_BODY_BYTES,
    MAX_SHOWN_BYTES,
    NO_PLAYER,
    EntryKind,
    ListedFlag,
    Option,
    PropertyType,
    Refusal,
    RequestKind,
    RequestRefusal,
)
from protocol.schemas import LISTED_ROOM, PROPERTIES_PAYLOAD, ROOM_SHOWN_PAYLOAD
from relay.belongings import Property
from relay.directory import MAX_LOOKED_AT, Wish, fullest, list_rooms
from relay.roomoptions import Given, RoomOptions
from relay.rooms import FIRST_VERSION, Room, Rooms, bits_of_tags
from tests.relay.bench import Bench
from tests.relay.finding import LISTED, ask_for, codes_of, labels, open_rooms, properties, texts

CHESS = RoomOptions(max_players=4, entities_per_player=1, max_state_bytes=8, flags=2, game=b"chess", version=b"1")
ANY = Wish(game=b"chess")


def rooms_of(*options: RoomOptions) -> Rooms:
    rooms = Rooms()
    for n, one in enumerate(options):
        rooms.open(b"R%d" % n, one)
    return rooms


def with_tags(*tags: bytes, **changed: object) -> RoomOptions:
    return RoomOptions(**{**vars(CHESS), "tags": tags, **changed})


# --- lists


def test_a_list_shows_what_a_player_chooses_by() -> None:
    bench = Bench(region="eu-west")
    open_rooms(bench, "ONE", name=b"Zur Linde", tags=(b"blitz", b"rated"), players=2)
    page = ask_for(bench)
    assert (page.fields.num_listed, page.fields.next, page.fields.after, page.region) == (1, 0, 0, b"eu-west")
    [room] = page.rooms
    assert (room.fields.players, room.fields.max_players, room.fields.flags) == (2, 4, 0)
    assert (room.body.name, room.body.version, list(room.body.tags.texts)) == (b"Zur Linde", b"1", [b"blitz", b"rated"])


def test_only_listed_rooms_of_the_game_are_shown() -> None:
    bench = Bench()
    open_rooms(bench, "PUBLIC")
    open_rooms(bench, "OTHER", game=b"go")
    bench.join(code="PRIVATE", options=labels())
    bench.join(code="NAMELESS", options=[LISTED])
    assert codes_of(ask_for(bench)) == ["PUBLIC"]
    assert codes_of(ask_for(bench, game=b"go")) == ["OTHER"]
    assert codes_of(ask_for(bench, game=b"")) == ["NAMELESS"]
    assert codes_of(ask_for(bench, game=b"ludo")) == []


def test_a_list_can_be_of_one_version_or_of_rooms_with_tags_and_places() -> None:
    bench = Bench()
    open_rooms(bench, "OLD", version=b"0.9")
    open_rooms(bench, "FULL", players=4)
    open_rooms(bench, "TAGGED", tags=(b"a", b"b"))
    host, *_ = open_rooms(bench, "LOCKED")
    host.say(host.request(RequestKind.LOCK, is_locked=1))
    assert codes_of(ask_for(bench)) == ["OLD", "FULL", "TAGGED", "LOCKED"]
    assert codes_of(ask_for(bench, version=b"0.9")) == ["OLD"]
    assert codes_of(ask_for(bench, is_open=True)) == ["OLD", "TAGGED"]
    assert codes_of(ask_for(bench, tags=(b"b",))) == codes_of(ask_for(bench, tags=(b"b", b"a"))) == ["TAGGED"]
    assert codes_of(ask_for(bench, tags=(b"b", b"c"))) == []
    assert [room.fields.flags for room in ask_for(bench).rooms] == [0, 0, 0, ListedFlag.LOCKED]


def test_pages_go_on_behind_the_last_room_whatever_opens_and_closes() -> None:
    bench = Bench(max_rooms=200)
    clients = open_rooms(bench, *(f"R{n}" for n in range(100)), name=b"n" * 48, tags=(b"t" * 16,) * 8)
    rng, seen, after, pages = Random(4), [], 0, 0
    closed = set()
    while True:
        page = ask_for(bench, after)
        seen += codes_of(page)
        pages += 1
        if not page.fields.next:
            break
        after = page.fields.next
        goer = rng.randrange(100)
        if goer not in closed:
            closed.add(goer)
            bench.receive(clients[goer].bye())
            open_rooms(bench, f"NEW{pages}")
    assert len(seen) == len(set(seen)) and pages > 15
    kept = {f"R{n}" for n in range(100)} - {f"R{n}" for n in closed}
    assert kept <= set(seen) and f"NEW{pages - 1}" in seen


def test_a_page_fits_a_datagram_whatever_the_rooms_show() -> None:
    options = with_tags(
        *(bytes([n]) * 16 for n in range(65, 73)), name=b"n" * 48, version=b"v" * 16, shown=(b"k" * 32,)
    )
    rooms = rooms_of(*[options] * 9)
    for room in rooms.by_row.values():
        room.belongings.properties.set(NO_PLAYER, b"k" * 32, Property(1, PropertyType.TEXT, b"x" * 200))
    page = list_rooms(rooms, ANY, 0, MAX_BODY_BYTES - 40)
    assert len(page.rooms) == 2 and sum(map(len, page.rooms)) <= MAX_BODY_BYTES - 40
    assert page.num_listed == 9 and page.next == 2


def test_one_question_looks_at_a_bounded_number_of_rooms_and_the_next_page_goes_on() -> None:
    lost = [with_tags(b"mine") if n == MAX_LOOKED_AT + 5 else with_tags(*_alike(n)) for n in range(MAX_LOOKED_AT + 9)]
    rooms = rooms_of(*lost)
    wish = Wish(game=b"chess", tags=(b"mine",))
    first = list_rooms(rooms, wish, 0, 1000)
    assert (first.rooms, first.next) == ([], MAX_LOOKED_AT)
    second = list_rooms(rooms, wish, first.next, 1000)
    assert len(second.rooms) == 1 and second.next == 0


def _alike(n: int) -> tuple[bytes, ...]:
    """Tags that set the same bit as "mine", and are not it."""
    found = (b"x%d" % k for k in range(n * 1000, n * 1000 + 100_000))
    return (next(tag for tag in found if bits_of_tags((tag,)) == bits_of_tags((b"mine",))),)


def test_a_list_that_cannot_be_read_is_refused_with_a_reason() -> None:
    bench = Bench()
    assert ask_for(bench, game=b"\n").reason == Refusal.BAD_OPTIONS
    assert ask_for(bench, tags=(b"",)).reason == Refusal.BAD_OPTIONS


# --- what the host shows


def test_a_host_shows_and_hides_its_room_and_chooses_what_of_it_is_shown() -> None:
    bench = Bench()
    host, other = open_rooms(bench, "ROOM", players=2)
    host.say(
        host.request(
            RequestKind.SET_PROPERTY, owner=NO_PLAYER, is_conditional=0, version=0, key=b"map", type=4, value=b"sea"
        )
    )
    assert list(ask_for(bench).rooms[0].body.properties.properties) == []
    host.say(host.request(RequestKind.SHOW, is_listed=1, keys=[b"round", b"map"]))
    [shown] = ask_for(bench).rooms[0].body.properties.properties
    assert (shown.key, shown.type, shown.value) == (b"map", 4, b"sea")
    host.say(
        host.request(
            RequestKind.SET_PROPERTY, owner=NO_PLAYER, is_conditional=0, version=0, key=b"map", type=4, value=b"air"
        )
    )
    assert ask_for(bench).rooms[0].body.properties.properties[0].value == b"air"
    host.say(host.request(RequestKind.SHOW, is_listed=0, keys=[]))
    assert codes_of(ask_for(bench)) == []
    bench.tick()
    other.hear()
    told = [entry.payload for entry in other.entries.values() if entry.kind == EntryKind.ROOM_SHOWN]
    assert [ROOM_SHOWN_PAYLOAD.parse(payload).is_listed for payload in told] == [1, 1, 0]  # the first when it joined


def test_only_the_host_shows_a_room_and_only_by_keys() -> None:
    bench = Bench()
    host, other = open_rooms(bench, "ROOM", players=2)
    other.say(other.request(RequestKind.SHOW, is_listed=0, keys=[]))
    host.say(host.request(RequestKind.SHOW, is_listed=2, keys=[]))
    host.say(host.request(RequestKind.SHOW, is_listed=1, keys=[b""]))
    host.say(host.request(RequestKind.SHOW, is_listed=1, keys=[b"k"] * 9))
    refused = bench.engine.stats.counters
    assert refused[f"requests_refused_{RequestRefusal.NOT_HOST.name.lower()}"] == 1
    assert refused[f"requests_refused_{RequestRefusal.MALFORMED.name.lower()}"] == 3
    assert codes_of(ask_for(bench)) == ["ROOM"]


def test_what_is_shown_of_a_room_is_bounded_and_what_does_not_fit_is_left_out() -> None:
    rooms = rooms_of(with_tags(shown=(b"first", b"none", b"second", b"third")))
    for key in (b"first", b"second"):
        rooms.by_row[0].belongings.properties.set(NO_PLAYER, key, Property(1, PropertyType.BYTES, bytes(200)))
    rooms.by_row[0].belongings.properties.set(NO_PLAYER, b"third", Property(1, PropertyType.BYTES, bytes(46)))
    [record] = list_rooms(rooms, ANY, 0, 1000).rooms
    shown = LISTED_ROOM.parse(record).body.properties.properties
    assert [one.key for one in shown] == [b"first", b"third"]  # 5 + 200 + 5 + 46 = 256
    assert sum(len(one.key) + len(one.value) for one in shown) == MAX_SHOWN_BYTES


# --- candidates


def admit(room: Room) -> bool:
    return True


def test_the_fullest_room_that_admits_one_more_is_found_and_of_equals_the_oldest() -> None:
    rooms = rooms_of(CHESS, CHESS, CHESS, CHESS)
    rooms.table.members[:4] = [1, 4, 2, 2]
    wish = Wish(game=b"chess", version=b"1", is_open=True)
    assert fullest(rooms, wish, admit) is rooms.by_code[b"chess\0R2"]
    assert fullest(rooms, wish, lambda room: room.code != b"R2") is rooms.by_code[b"chess\0R3"]
    assert fullest(rooms, wish, lambda room: False) is None
    assert fullest(rooms, Wish(game=b"chess", version=b"2", is_open=True), admit) is None


def test_candidates_have_the_properties_that_are_asked_for() -> None:
    rooms = rooms_of(CHESS, CHESS)
    for n, value in enumerate((b"sea", b"air")):
        rooms.by_row[n].belongings.properties.set(NO_PLAYER, b"map", Property(1, PropertyType.TEXT, value))
    air = Wish(game=b"chess", properties=(Given(b"map", PropertyType.TEXT, b"air"),))
    assert fullest(rooms, air, admit) is rooms.by_row[1]
    no_mode = Wish(game=b"chess", properties=(Given(b"mode", PropertyType.TEXT, b"air"),))
    assert fullest(rooms, no_mode, admit) is None


def test_a_room_begins_with_the_properties_it_was_opened_with_and_lists_show_them() -> None:
    bench = Bench()
    options = [*labels(), LISTED, (Option.SHOWN, texts(b"map")), (Option.PROPERTIES, properties(map=b"sea", mode=b"x"))]
    host = bench.join(code="ROOM", options=options)
    bench.tick()
    host.hear()
    [told] = [entry for entry in host.entries.values() if entry.kind == EntryKind.PROPERTIES]
    known = PROPERTIES_PAYLOAD.parse(told.payload).properties
    assert [(one.version, one.owner, one.key, one.value) for one in known] == [
        (FIRST_VERSION, NO_PLAYER, b"map", b"sea"),
        (FIRST_VERSION, NO_PLAYER, b"mode", b"x"),
    ]
    [room] = ask_for(bench).rooms
    assert [(one.key, one.value) for one in room.body.properties.properties] == [(b"map", b"sea")]
