"""What players ask the server for: who may, what it causes, and what they are told if not."""

from typing import Any

import pytest

from protocol import schemas
from protocol.constants import (
    MAX_FRAGMENT_BYTES,
    MAX_HANDED_OVER,
    MAX_KEPT_MESSAGE_BYTES,
    MAX_KEPT_MESSAGES,
    MAX_PLAYER_PROPERTIES,
    NO_PLAYER,
    PART_MORE,
    BanFlag,
    ByeReason,
    EntryKind,
    Kind,
    MessageFlag,
    Option,
    PropertyType,
    Refusal,
    RequestKind,
    RequestRefusal,
    RoomFlag,
    Target,
)
from tests.relay.bench import Bench, Client, states_section

ROOM = NO_PLAYER
TEXT = PropertyType.TEXT


def read_on(bench: Bench, *clients: Client) -> None:
    """Let everybody read and acknowledge all there is."""
    for _ in range(3):
        bench.tick()
        bench.receive(*[client.listen() for client in clients])


def set_property(client: Client, key: bytes, value: bytes, owner: int = ROOM, **condition: int) -> bytes:
    fields = {"is_conditional": 0, "version": 0} | condition
    return client.request(RequestKind.SET_PROPERTY, owner=owner, key=key, type=TEXT, value=value, **fields)


def refusals(client: Client) -> list[RequestRefusal]:
    return [RequestRefusal(fields["reason"]) for fields in client.told_of(EntryKind.REQUEST_REFUSED)]


def changes(client: Client) -> list[tuple[Any, ...]]:
    return [
        (fields["player_id"], fields["owner"], fields["key"], fields["value"])
        for fields in client.told_of(EntryKind.PROPERTY_CHANGED)
    ]


# --- properties


def test_a_property_is_told_to_all_with_who_set_it() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    host.say(set_property(host, b"map", b"desert"), set_property(host, b"team", b"red", owner=1))
    other.say(set_property(other, b"ready", b"yes", owner=1))
    read_on(bench, host, other)
    expected = [(0, ROOM, b"map", b"desert"), (0, 1, b"team", b"red"), (1, 1, b"ready", b"yes")]
    assert changes(host) == changes(other) == expected


def test_of_several_who_change_one_version_exactly_one_succeeds() -> None:
    bench = Bench()
    clients = bench.join_all(4, options=[(Option.ROOM_FLAGS, bytes([RoomFlag.ANYONE_SETS]))])
    bench.receive(
        *[client.data(set_property(client, b"flag", client.name.encode(), is_conditional=1)) for client in clients]
    )
    read_on(bench, *clients)
    assert len(changes(clients[0])) == 1
    assert [refusals(client) for client in clients].count([RequestRefusal.CHANGED]) == 3
    winner = changes(clients[0])[0][0]
    [index] = [i for i, entry in clients[0].entries.items() if entry.kind == EntryKind.PROPERTY_CHANGED]
    loser = clients[(winner + 1) % 4]
    loser.say(set_property(loser, b"flag", b"mine", is_conditional=1, version=index))
    read_on(bench, *clients)
    assert changes(clients[0])[-1] == (loser.welcome.player_id, ROOM, b"flag", b"mine")


def test_a_rooms_properties_are_the_hosts_unless_the_room_says_otherwise() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    other.say(set_property(other, b"k", b"v"), set_property(other, b"k", b"v", owner=0))
    read_on(bench, host, other)
    assert refusals(other) == [RequestRefusal.NOT_HOST, RequestRefusal.NOT_OWNER]
    assert refusals(host) == [], "a refusal is told to nobody else"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"key": b""}, RequestRefusal.MALFORMED),
        ({"key": b"k" * 33}, RequestRefusal.MALFORMED),
        ({"key": b"a\x07"}, RequestRefusal.MALFORMED),
        ({"key": b"\xff"}, RequestRefusal.MALFORMED),
        ({"value": b"v" * 201}, RequestRefusal.MALFORMED),
        ({"type": 6}, RequestRefusal.MALFORMED),
        ({"type": PropertyType.BOOL, "value": b"\2"}, RequestRefusal.MALFORMED),
        ({"is_conditional": 2}, RequestRefusal.MALFORMED),
        ({"owner": 9}, RequestRefusal.NO_SUCH_PLAYER),
        ({"owner": 60_000}, RequestRefusal.NO_SUCH_PLAYER),
    ],
)
def test_a_property_that_cannot_be_is_refused(fields: dict[str, Any], reason: RequestRefusal) -> None:
    bench = Bench()
    [host] = bench.join_all(1)
    usual = {"owner": ROOM, "is_conditional": 0, "version": 0, "key": b"k", "type": TEXT, "value": b"v"}
    host.say(host.request(RequestKind.SET_PROPERTY, **usual | fields))
    read_on(bench, host)
    assert refusals(host) == [reason]


def test_properties_beyond_the_cap_are_refused_and_those_of_who_leaves_are_gone() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    for number in range(MAX_PLAYER_PROPERTIES + 2):
        other.say(set_property(other, b"%d" % number, b"v", owner=1))
        read_on(bench, host, other)
    assert refusals(other) == [RequestRefusal.TOO_MANY] * 2
    bench.receive(other.bye())
    read_on(bench, host)
    [later] = bench.join_all(1)
    assert later.told_of(EntryKind.PROPERTIES) == []


def test_a_joiner_is_told_every_property_before_it_is_announced() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    for number in range(12):
        host.say(set_property(host, b"%d" % number, b"v" * 150))
        read_on(bench, host, other)
    host.say(set_property(host, b"3", b"new"), host.request(RequestKind.LOCK, is_locked=0))
    other.say(set_property(other, b"colour", b"blue", owner=1))
    read_on(bench, host, other)
    [joiner] = bench.join_all(1)
    kinds = [kind for kind, _ in joiner.told]
    assert kinds.index(EntryKind.ROSTER) < kinds.index(EntryKind.PROPERTIES) < kinds.index(EntryKind.PLAYER_JOINED)
    assert kinds[-1] == EntryKind.ROOM_READY
    told = {
        (one.owner, bytes(one.key)): bytes(one.value)
        for fields in joiner.told_of(EntryKind.PROPERTIES)
        for one in fields["properties"]
    }
    assert told[ROOM, b"3"] == b"new" and told[1, b"colour"] == b"blue" and len(told) == 13
    assert kinds.count(EntryKind.PROPERTIES) > 1


# --- requests in general


def test_what_is_no_request_or_cannot_be_read_is_refused() -> None:
    bench = Bench()
    [host] = bench.join_all(1)
    host.say(host.message(b"", kind=127), host.message(b"\0", kind=RequestKind.LOCK, channel=9, target=Target.ALL))
    host.say(host.message(b"", kind=RequestKind.LOCK), host.request(RequestKind.LOCK, is_locked=2))
    read_on(bench, host)
    expected = [RequestRefusal.UNKNOWN, RequestRefusal.MALFORMED, RequestRefusal.MALFORMED]
    assert refusals(host) == expected
    refused = host.told_of(EntryKind.REQUEST_REFUSED)
    assert [(fields["message_id"], fields["request"]) for fields in refused] == [(1, 127), (3, 118), (4, 118)]


def test_a_request_is_done_in_its_turn_among_the_messages() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    host.say(host.message(b"before"), set_property(host, b"k", b"v"), host.message(b"after"))
    read_on(bench, host, other)
    kinds = [(entry.kind, entry.payload) for _, entry in sorted(other.entries.items())][-3:]
    assert [kinds[0], kinds[2]] == [(1, b"before"), (1, b"after")] and kinds[1][0] == EntryKind.PROPERTY_CHANGED


def test_a_request_that_waits_behind_a_gap_is_done_when_the_gap_is_filled() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    first, second = host.message(b"first"), set_property(host, b"k", b"v")
    host.say(second)
    read_on(bench, other)
    assert changes(other) == []
    host.say(first)
    read_on(bench, host, other)
    assert other.messages == [(0, b"first")] and len(changes(other)) == 1


def test_a_request_that_comes_again_is_done_once() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    request = set_property(host, b"k", b"v")
    for _ in range(3):
        host.say(request)
    read_on(bench, host, other)
    assert len(changes(other)) == 1 and bench.dropped() == {}


def test_a_request_that_was_cut_is_refused_piece_by_piece_and_reaches_nobody() -> None:
    """Its pieces were appended as fragments of a message, and everybody was handed an entry of a request's kind."""
    bench = Bench()
    host, other = bench.join_all(2)
    lock, one = RequestKind.LOCK, b"\1"
    host.say(host.message(b"be", more=1), host.message(one, kind=lock), host.message(one, kind=lock, more=1))
    host.say(host.message(one, kind=lock), host.message(b"gun"), host.message(b"behind"))
    read_on(bench, host, other)
    assert b"".join(payload for _, payload in other.messages) == b"begunbehind"
    parts = [entry.part for _, entry in sorted(other.entries.items()) if entry.kind < 128]
    assert parts == [PART_MORE, 1, 0], "the message around them is whole"
    assert refusals(host) == [RequestRefusal.MALFORMED] * 3
    assert [fields["message_id"] for fields in host.told_of(EntryKind.REQUEST_REFUSED)] == [2, 3, 4]
    assert refusals(other) == [] and other.told_of(EntryKind.ROOM_LOCKED) == []
    host.say(host.message(one, kind=lock))
    read_on(bench, host, other)
    assert other.told_of(EntryKind.ROOM_LOCKED) == [{"is_locked": 1}] and bench.dropped() == {}


def test_pieces_of_a_request_that_come_again_are_refused_once() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    pieces = [host.message(b"\1", kind=120, more=1), host.message(b"\1", kind=127, more=1)]
    for _ in range(3):
        host.say(*pieces)
    read_on(bench, host, other)
    assert refusals(host) == [RequestRefusal.MALFORMED] * 2 and other.messages == []


# --- the host


def test_the_host_hands_its_part_over_and_has_no_more_to_say() -> None:
    bench = Bench()
    host, heir = bench.join_all(2)
    host.say(host.request(RequestKind.HAND_OVER_HOST, player_id=1), host.request(RequestKind.LOCK, is_locked=1))
    read_on(bench, host, heir)
    assert heir.told_of(EntryKind.HOST_CHANGED)[-1] == {"player_id": 1}
    assert refusals(host) == [RequestRefusal.NOT_HOST]
    heir.say(
        heir.request(RequestKind.HAND_OVER_HOST, player_id=1), heir.request(RequestKind.HAND_OVER_HOST, player_id=5)
    )
    read_on(bench, host, heir)
    assert refusals(heir) == [RequestRefusal.NO_SUCH_PLAYER]
    assert len(heir.told_of(EntryKind.HOST_CHANGED)) == 1


def test_what_a_hand_over_writes_counts_as_its_askers() -> None:
    """Two who made each other host in turn could write a room's log full at nobody's expense."""
    bench = Bench()
    host, heir = bench.join_all(2)
    table = bench.engine.world.sessions.table
    before = int(table.unread_bytes[host.row])
    host.say(host.request(RequestKind.HAND_OVER_HOST, player_id=1))
    assert table.unread_bytes[host.row] == before + 2 + table.entry_charge[host.row]
    read_on(bench, host, heir)
    bench.tick()
    assert table.unread_bytes[host.row] == table.unread_bytes[heir.row] == before == 0


def test_a_kicked_player_is_told_why_and_may_come_again() -> None:
    bench = Bench()
    host, loud = bench.join_all(2)
    host.say(host.request(RequestKind.KICK, player_id=1, text="Too loud, ét\x07oile".encode()))
    bench.flush()
    bye = loud.answer(Kind.BYE)
    assert (bye.reason, bytes(bye.text).decode()) == (ByeReason.KICKED, "Too loud, étoile")
    read_on(bench, host)
    assert host.told_of(EntryKind.PLAYER_LEFT) == [{"player_id": 1, "reason": ByeReason.KICKED}]
    assert Client(bench, "10.0.0.77").ask().fields.player_id != 1


def test_a_kick_of_who_leaves_in_the_same_pass_hits_nobody_who_takes_its_row() -> None:
    bench = Bench()
    host, goner = bench.join_all(2)
    row = goner.row
    requests = bench.engine.world.intake.requests
    host.say(host.request(RequestKind.KICK, player_id=1, text=b""))
    requests.removed.append((goner.welcome.session, ByeReason.KICKED, ""))  # as if queued behind the leave
    [newcomer] = bench.join_all(1)
    assert newcomer.row == row
    bench.tick()
    assert bench.engine.num_sessions == 2 and requests.removed == []


def test_nobody_but_the_host_removes_players_and_the_host_not_itself() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    other.say(
        other.request(RequestKind.KICK, player_id=0, text=b""),
        other.request(RequestKind.BAN, player_id=0, flags=0, text=b""),
    )
    host.say(
        host.request(RequestKind.KICK, player_id=0, text=b""), host.request(RequestKind.KICK, player_id=7, text=b"")
    )
    read_on(bench, host, other)
    assert refusals(other) == [RequestRefusal.NOT_HOST] * 2
    assert refusals(host) == [RequestRefusal.NO_SUCH_PLAYER] * 2
    assert bench.engine.num_sessions == 2


@pytest.mark.parametrize("flags", [0, BanFlag.ADDRESS])
def test_a_banned_player_does_not_come_back_by_its_identity_nor_its_address(flags: int) -> None:
    bench = Bench()
    [host] = bench.join_all(1)
    me = [(Option.IDENTITY, b"i" * 16)]
    bad = Client(bench, "10.9.9.9").join(options=me)
    host.say(host.request(RequestKind.BAN, player_id=bad.welcome.player_id, flags=flags, text=b""))
    bench.flush()
    assert bad.answer(Kind.BYE).reason == ByeReason.BANNED
    assert Client(bench, "10.1.2.3").ask(options=me).reason == Refusal.BANNED
    neighbour = Client(bench, "10.9.9.9").ask(options=[(Option.IDENTITY, b"j" * 16)])
    assert ("fields" in neighbour) == (flags == 0)
    assert bad.come_back().outcome.reason == Refusal.CANNOT_RESUME


def test_a_ban_removes_all_with_the_same_identity_but_never_who_asked() -> None:
    bench = Bench()
    mine, theirs = [(Option.IDENTITY, b"m" * 16)], [(Option.IDENTITY, b"t" * 16)]
    host, bad = bench.join(options=mine), bench.join(options=theirs)
    twin, neighbour, nameless, namesake = bench.join(options=theirs), bench.join(options=mine), *bench.join_all(2)
    for player_id in (1, 3):
        host.say(host.request(RequestKind.BAN, player_id=player_id, flags=0, text=b"Out."))
    bench.flush()
    for gone in (bad, twin, neighbour):
        bye = gone.answer(Kind.BYE)
        assert (bye.reason, bytes(bye.text)) == (ByeReason.BANNED, b"Out.")
    assert bench.engine.room_members("ROOM").keys() == {0, 4, 5}
    host.say(host.request(RequestKind.BAN, player_id=4, flags=0, text=b""))
    bench.flush()
    assert nameless.answer(Kind.BYE).reason == ByeReason.BANNED
    assert bench.engine.room_members("ROOM").keys() == {0, namesake.welcome.player_id}, "none is no identity"


def test_a_locked_room_lets_nobody_in_until_it_is_opened() -> None:
    bench = Bench()
    [host] = bench.join_all(1)
    host.say(host.request(RequestKind.LOCK, is_locked=1))
    assert Client(bench).ask().reason == Refusal.ROOM_LOCKED
    host.say(host.request(RequestKind.LOCK, is_locked=0))
    later = Client(bench).join()
    read_on(bench, host, later)
    assert host.told_of(EntryKind.ROOM_LOCKED) == [{"is_locked": 1}, {"is_locked": 0}]
    assert later.told_of(EntryKind.ROOM_READY)[0]["is_locked"] == 0


# --- entities


def give(client: Client, entity_id: int, owner: int) -> bytes:
    return client.request(RequestKind.GIVE_ENTITY, entity_id=entity_id, owner=owner)


def test_what_an_owner_has_under_way_counts_although_its_entity_is_given_to_it_again() -> None:
    """A host that gave an entity of its own to "whoever is host" lost the state that a datagram behind brought."""
    bench = Bench()
    [host] = bench.join_all(1)
    late = host.data(host.state(b"newest"))
    host.say(give(host, host.entity(), NO_PLAYER))
    bench.receive(late)
    bench.tick()
    assert bench.engine.room_table("ROOM") == {host.entity(): b"newest"}
    assert bench.dropped() == {}


def test_an_entity_that_was_handed_over_is_the_new_owners_to_publish() -> None:
    bench = Bench()
    one, two = bench.join_all(2, entities_per_player=2)
    entity_id = one.entity(1)
    one.say(one.state(b"mine", 1))
    one.say(give(one, entity_id, 1))
    one.say(one.state(b"late", 1))
    two.say(states_section([(entity_id, b"yours")]))
    bench.tick()
    assert bench.engine.room_table("ROOM") == {entity_id: b"yours"}
    assert bench.dropped() == {"NOT_OWNER": 1}
    read_on(bench, one, two)
    [joiner] = bench.join_all(1)
    [owners] = joiner.told_of(EntryKind.OWNERS)
    assert [(one.entity_id, one.owner) for one in owners["owners"]] == [(entity_id, 1)]
    two.say(give(two, entity_id, 0))
    read_on(bench, one, two, joiner)
    assert one.told_of(EntryKind.ENTITY_OWNER) == [
        {"entity_id": entity_id, "owner": 1},
        {"entity_id": entity_id, "owner": 0},
    ]
    assert bench.engine.world.rooms.by_row[one.room_row].belongings.owners == {}


def test_what_a_new_owner_sent_before_the_hand_over_does_not_count() -> None:
    bench = Bench()
    one, two = bench.join_all(2, entities_per_player=2)
    entity_id = one.entity(1)
    one.say(one.state(b"mine", 1))
    early = two.data(states_section([(entity_id, b"early")]))
    two.say()
    one.say(give(one, entity_id, 1))
    bench.receive(early)
    assert bench.engine.room_table("ROOM") == {entity_id: b"mine"}


def test_nobody_gives_away_what_is_anothers() -> None:
    bench = Bench()
    host, one, two = bench.join_all(3)
    two.say(give(two, one.entity(), 2), give(two, two.entity(), 9), give(two, 60_000, 2))
    host.say(give(host, one.entity(), 2))
    read_on(bench, host, one, two)
    expected = [RequestRefusal.NOT_OWNER, RequestRefusal.NO_SUCH_PLAYER, RequestRefusal.MALFORMED]
    assert refusals(two) == expected
    assert two.told_of(EntryKind.ENTITY_OWNER) == [{"entity_id": one.entity(), "owner": 2}], "the host may"


def test_entities_of_the_hosts_stay_when_it_leaves_and_are_the_next_hosts() -> None:
    bench = Bench()
    host, heir, other = bench.join_all(3, entities_per_player=2)
    world, own = host.entity(0), host.entity(1)
    host.say(give(host, world, ROOM), states_section([(world, b"boss"), (own, b"hero")]))
    read_on(bench, host, heir, other)
    bench.receive(host.bye())
    bench.tick()
    assert bench.engine.room_table("ROOM") == {world: b"boss"}, "what was the host's own is gone"
    other.say(states_section([(world, b"fake")]))
    heir.say(states_section([(world, b"next")]))
    assert bench.engine.room_table("ROOM") == {world: b"next"}
    newcomers = bench.join_all(3)
    assert 0 not in [client.welcome.player_id for client in newcomers], "its number is in use while the entity lives"


def test_what_was_handed_over_to_who_leaves_is_removed_and_falls_back() -> None:
    bench = Bench()
    one, two = bench.join_all(2)
    one.say(one.state(b"mine"), give(one, one.entity(), 1))
    two.say(states_section([(one.entity(), b"yours")]))
    bench.receive(two.bye())
    bench.tick()
    assert bench.engine.room_table("ROOM") == {}
    one.say(one.state(b"mine again"))
    assert bench.engine.room_table("ROOM") == {one.entity(): b"mine again"}


def test_so_many_entities_may_be_handed_over_and_no_more() -> None:
    bench = Bench(messages_per_s=10_000, datagrams_per_s=10_000)
    host, other = bench.join_all(2, max_players=2, entities_per_player=200)
    for number in range(MAX_HANDED_OVER + 2):
        host.say(give(host, number, 1 - number % 2 if number % 4 < 2 else ROOM))
        read_on(bench, host, other)
    owners = bench.engine.world.rooms.by_row[host.room_row].belongings.owners
    assert len(owners) == MAX_HANDED_OVER and refusals(host) == [RequestRefusal.TOO_MANY] * 2
    host.say(give(host, 0, 0))
    read_on(bench, host, other)
    assert len(owners) == MAX_HANDED_OVER - 1


@pytest.mark.parametrize("max_players", [2, 3, 8])
def test_players_who_leave_entities_behind_keep_nobody_out_for_good(max_players: int) -> None:
    bench = Bench()
    host = Client(bench).join(max_players=max_players)
    for _ in range(4 * max_players):
        giver = Client(bench).join()
        giver.say(giver.state(b"gift"), give(giver, giver.entity(), ROOM))
        read_on(bench, host, giver)
        bench.receive(giver.bye())
        bench.wait(0.2)
        read_on(bench, host)
    kept = bench.engine.room_table("ROOM")
    assert len(kept) == max(1, max_players // 2) and set(kept.values()) == {b"gift"}
    assert host.table == kept


# --- kept messages


def test_kept_messages_are_told_to_who_joins_later_in_their_order_and_marked() -> None:
    bench = Bench()
    host, other = bench.join_all(2)
    both = MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER
    host.say(host.message(b"spawn", flags=0xF0 | MessageFlag.KEEP, kind=7, channel=3), host.message(b"plain"))
    other.say(other.message(b"wall", flags=both), other.message(b"door", flags=MessageFlag.KEEP))
    read_on(bench, host, other)
    assert host.messages == other.messages == [(0, b"spawn"), (0, b"plain"), (1, b"wall"), (1, b"door")]
    bench.receive(other.bye())
    read_on(bench, host)
    [joiner] = bench.join_all(1)
    found = [entry for _, entry in sorted(joiner.entries.items()) if entry.kind < 128]
    copies = [schemas.KEPT_COPY.parse(entry.payload) for entry in found]
    assert [(e.sender, e.kind, e.channel, c.payload) for e, c in zip(found, copies, strict=True)] == [
        (0, 7, 3, b"spawn"),
        (NO_PLAYER, 1, 0, b"wall"),
    ]
    assert [host.entries[copy.log_index].payload for copy in copies] == [b"spawn", b"wall"]
    assert [entry.flags for entry in found] == [MessageFlag.KEEP | MessageFlag.KEPT, both | MessageFlag.KEPT]
    kinds = [entry.kind for _, entry in sorted(joiner.entries.items())]
    assert kinds.index(7) < kinds.index(EntryKind.PLAYER_JOINED)
    read_on(bench, host, joiner)
    assert host.messages[4:] == [], "those who had them are not told again"


def test_kept_messages_are_cleared_by_their_sender_and_by_the_host() -> None:
    bench = Bench()
    host, one, two = bench.join_all(3)
    for client in (host, one, two):
        client.say(client.message(client.name.encode(), flags=MessageFlag.KEEP))
    read_on(bench, host, one, two)
    index = {entry.payload: i for i, entry in host.entries.items()}
    one.say(one.request(RequestKind.CLEAR_KEPT, log_index=index[b"client 2"]))
    one.say(one.request(RequestKind.CLEAR_KEPT, log_index=0))
    host.say(host.request(RequestKind.CLEAR_KEPT, log_index=index[b"client 2"]))
    read_on(bench, host, one, two)
    assert refusals(one) == [RequestRefusal.NOT_KEPT]
    [joiner] = bench.join_all(1)
    assert joiner.messages == [(0, index[b"client 0"].to_bytes(4, "little") + b"client 0")]
    expected = [{"player_id": 1, "cleared": [index[b"client 1"]]}, {"player_id": 0, "cleared": [index[b"client 2"]]}]
    assert cleared(one) == cleared(two) == expected and cleared(joiner) == []


def cleared(client: Client) -> list[dict[str, Any]]:
    return [
        fields | {"cleared": [one.log_index for one in fields["cleared"]]}
        for fields in client.told_of(EntryKind.KEPT_CLEARED)
    ]


def test_who_joined_later_clears_by_the_number_that_its_copy_begins_with() -> None:
    """It was told a copy, under an index of its own that the relay did not know: nothing could be cleared by that."""
    bench = Bench()
    [first] = bench.join_all(1)
    first.say(first.message(b"wall", flags=MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER))
    read_on(bench, first)
    [heir] = bench.join_all(1)
    bench.receive(first.bye())
    read_on(bench, heir)
    [(at, copy)] = [(at, entry.payload) for at, entry in heir.entries.items() if entry.kind == 1]
    written_at = schemas.KEPT_COPY.parse(copy).log_index
    assert written_at != at
    heir.say(heir.request(RequestKind.CLEAR_KEPT, log_index=at))
    heir.say(heir.request(RequestKind.CLEAR_KEPT, log_index=written_at))
    read_on(bench, heir)
    assert refusals(heir) == [RequestRefusal.NOT_KEPT]
    assert cleared(heir) == [{"player_id": 1, "cleared": [written_at]}]
    assert bench.join_all(1)[0].messages == []


def test_all_that_a_room_keeps_is_cleared_by_one_entry_that_counts_as_its_askers() -> None:
    bench = Bench(messages_per_s=1000)
    host, other = bench.join_all(2)
    host.say(host.request(RequestKind.CLEAR_KEPT, log_index=0))
    for _ in range(MAX_KEPT_MESSAGES):
        other.say(other.message(b"x", flags=MessageFlag.KEEP))
        read_on(bench, host, other)
    host.say(host.request(RequestKind.CLEAR_KEPT, log_index=0))
    table = bench.engine.world.sessions.table
    assert table.unread_bytes[host.row] == 2 + 4 * MAX_KEPT_MESSAGES + table.entry_charge[host.row]
    read_on(bench, host, other)
    [told] = cleared(other)
    assert told["player_id"] == 0 and len(told["cleared"]) == MAX_KEPT_MESSAGES and refusals(host) == []


def test_a_message_to_keep_leaves_room_for_its_index() -> None:
    bench = Bench()
    [host] = bench.join_all(1)
    for size in (MAX_KEPT_MESSAGE_BYTES, MAX_KEPT_MESSAGE_BYTES + 1):
        host.say(host.message(bytes(size), flags=MessageFlag.KEEP))
    read_on(bench, host)
    flags = [entry.flags for _, entry in sorted(host.entries.items()) if entry.kind < 128]
    assert flags == [MessageFlag.KEEP, 0] and refusals(host) == [RequestRefusal.MALFORMED]
    [joiner] = bench.join_all(1)
    assert [len(payload) for _, payload in joiner.messages] == [MAX_FRAGMENT_BYTES]


def test_what_cannot_be_kept_is_passed_on_all_the_same_and_its_sender_told() -> None:
    bench = Bench(messages_per_s=1000)
    host, other = bench.join_all(2)
    keep = MessageFlag.KEEP
    host.say(host.message(b"for one", Target.ONE, (1,), flags=keep), host.message(b"a" * 9, flags=keep, more=1))
    host.say(host.message(b"end", flags=keep))
    read_on(bench, host, other)
    assert refusals(host) == [RequestRefusal.MALFORMED] * 2
    assert [payload for _, payload in other.messages] == [b"for one", b"a" * 9, b"end"]
    for number in range(MAX_KEPT_MESSAGES + 2):
        host.say(host.message(b"%d" % number, flags=keep))
        read_on(bench, host, other)
    assert refusals(host)[2:] == [RequestRefusal.TOO_MANY] * 2
    assert other.messages[-1] == (0, b"%d" % (MAX_KEPT_MESSAGES + 1))


def test_what_is_not_kept_does_not_say_that_it_is() -> None:
    """Everybody but its sender took a refused message for a kept one: it had the flag all the same."""
    bench = Bench(messages_per_s=1000)
    host, other = bench.join_all(2)
    both = MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER
    host.say(host.message(b"for one", Target.ONE, (1,), flags=both), host.message(b"a" * 9, flags=both, more=1))
    host.say(host.message(b"end", flags=both))
    for number in range(MAX_KEPT_MESSAGES + 1):
        host.say(host.message(b"%d" % number, flags=both))
        read_on(bench, host, other)
    flags = [entry.flags for _, entry in sorted(other.entries.items()) if entry.kind < 128]
    assert flags == [0] * 3 + [both] * MAX_KEPT_MESSAGES + [0]


def test_every_request_has_a_payload_and_every_payload_a_handler() -> None:
    bench = Bench()
    [host] = bench.join_all(1)
    assert set(schemas.REQUEST_PAYLOADS) == set(RequestKind)
    for kind in RequestKind:
        host.say(host.message(b"\0", kind=kind))
    read_on(bench, host)
    assert RequestRefusal.UNKNOWN not in refusals(host)
