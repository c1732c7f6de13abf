"""One way to each DropReason, for those that spoiled datagrams meet seldom or never."""

from collections.abc import Callable

from protocol import codec
from protocol.constants import MAX_KEPT_MESSAGES, DataSection, Kind, MessageFlag
from protocol.drops import DropReason
from relay.config import RelayConfig
from relay.messages import MAX_HELD
from relay.signals import MAX_WAITING
from tests.sim.raw import Desk, RawClient, state_section

ROOMY = RelayConfig(
    max_sessions_per_host=100_000,
    datagrams_per_s=60_000,
    bytes_per_s=1 << 30,
    messages_per_s=60_000,
    signals_per_s=60_000,
)
"""Budgets that are in nobody's way."""


def send_to(client: RawClient, *payloads: bytes) -> None:
    """Send bytes from a client's address."""
    client.desk.offer([(payload, client.address) for payload in payloads])


def too_short() -> Desk:
    client = RawClient(Desk(), 0)
    send_to(client, b"", b"\x10", bytes([Kind.DATA]) + bytes(24), client.hello()[:200])
    return client.desk


def too_long() -> Desk:
    client = RawClient(Desk(), 0)
    send_to(client, bytes([Kind.DATA]) + bytes(1200))
    return client.desk


def unknown_kind() -> Desk:
    client = RawClient(Desk(), 0)
    send_to(client, bytes([Kind.UPDATE]) + bytes(40), bytes([0x90]) + bytes(40))
    return client.desk


def cold_budget() -> Desk:
    client = RawClient(Desk(), 0)
    send_to(client, *[client.hello()] * 50_000)
    return client.desk


def bad_magic() -> Desk:
    client = RawClient(Desk(), 0)
    hello = bytearray(client.hello())
    hello[2] ^= 1
    send_to(client, bytes(hello))
    return client.desk


def malformed() -> Desk:
    client = RawClient(Desk(), 0)
    send_to(client, bytes([Kind.JOIN]) + bytes(10), bytes([Kind.BYE]) + bytes(3))
    return client.desk


def stale_cookie() -> Desk:
    client = RawClient(Desk(), 0)
    send_to(client, client.join_datagram(bytes(20)))
    return client.desk


def stale_join() -> Desk:
    client = RawClient(Desk(), 0)
    join = client.join_datagram(client.get_cookie())
    send_to(client, join)
    [welcome] = [codec.decode(payload) for payload in client.desk.take(client.address) if payload[0] == Kind.WELCOME]
    bye = codec.encode(Kind.BYE, shard=0, session=welcome.fields.session, reason=1, text=b"")
    send_to(client, bye)
    send_to(client, join)
    return client.desk


def crowded() -> Desk:
    """A room that keeps as much as it may for those who join, and many who do."""
    desk = Desk(ROOMY)
    host = RawClient(desk, 0).join(max_players=64)
    for _ in range(MAX_KEPT_MESSAGES // 8):
        host.say(*[host.message(b"x", flags=MessageFlag.KEEP) for _ in range(8)])
        desk.tick()
        host.hear()
    for number in range(1, 50):
        late = RawClient(desk, number)
        send_to(late, late.join_datagram(late.get_cookie()))
    desk.tick(4)  # for they wait
    return desk


def unknown_session() -> Desk:
    client = RawClient(Desk(), 0).join()
    client.welcome.session ^= 1 << 60
    client.say()
    return client.desk


def over_rate() -> Desk:
    client = RawClient(Desk(), 0).join()
    send_to(client, *[client.data() for _ in range(client.desk.config.datagrams_per_s + 2)])
    return client.desk


def over_byte_rate() -> Desk:
    client = RawClient(Desk(), 0).join()
    send_to(client, *[client.data((200, bytes(1100))) for _ in range(client.desk.config.bytes_per_s // 1100 + 2)])
    return client.desk


def bad_path_proof() -> Desk:
    client = RawClient(Desk(), 0).join()
    fields = {"shard": 0, "session": client.welcome.session, "challenge": 7, "proof": bytes(16)}
    send_to(client, codec.encode(Kind.PATH_RESPONSE, **fields))
    return client.desk


def duplicate() -> Desk:
    client = RawClient(Desk(), 0).join()
    send_to(client, *[client.data()] * 2)
    return client.desk


def too_old() -> Desk:
    client = RawClient(Desk(), 0).join()
    late = client.data()
    send_to(client, *[client.data() for _ in range(64)])
    send_to(client, late)
    return client.desk


def bad_ack() -> Desk:
    client = RawClient(Desk(), 0).join()
    client.say(ack=5000, flags=0)
    client.say(log_cursor=1 << 20)
    return client.desk


def bad_section() -> Desk:
    client = RawClient(Desk(), 0).join()
    client.say((DataSection.LOG_BITS, b"123"))
    return client.desk


def bad_entity() -> Desk:
    client = RawClient(Desk(), 0).join()
    client.say(state_section([{"entity_id": 60_000, "state": b"x"}], 1))
    return client.desk


def not_owner() -> Desk:
    client = RawClient(Desk(), 0).join()
    client.say(state_section([{"entity_id": client.welcome.player_id + 1, "state": b"x"}], 1))
    return client.desk


def over_message_rate() -> Desk:
    client = RawClient(Desk(RelayConfig(messages_per_s=5)), 0).join()
    client.say(*[client.message(b"x") for _ in range(7)])
    return client.desk


def message_window() -> Desk:
    client = RawClient(Desk(), 0).join()
    client.say(client.message(b"x", message_id=40))
    return client.desk


def hold_full() -> Desk:
    """31 messages behind a gap from each of as many sessions as it takes."""
    desk = Desk(ROOMY)
    for number in range(MAX_HELD // 31 + 2):
        client = RawClient(desk, number).join(code=f"ROOM{number % 8}", max_players=64)
        client.message(b"never sent")
        client.say(*[client.message(b"x") for _ in range(20)])
        client.say(*[client.message(b"x") for _ in range(11)])
        desk.tick()
    return desk


def log_full() -> Desk:
    """Members who say a lot and read nothing, until the memory of all logs is used up."""
    desk = Desk(
        RelayConfig(
            log_memory_mib=1,
            max_sessions_per_host=1000,
            datagrams_per_s=60_000,
            bytes_per_s=1 << 30,
            messages_per_s=60_000,
        )
    )
    clients = [RawClient(desk, number).join(max_players=64) for number in range(40)]
    for _ in range(60):
        for client in clients:
            client.say(client.message(bytes(1000)), log_cursor=client.welcome.log_index)
    return desk


def over_signal_rate() -> Desk:
    client = RawClient(Desk(RelayConfig(signals_per_s=5)), 0).join()
    client.say(*[client.signal(b"x") for _ in range(7)])
    return client.desk


def signal_late() -> Desk:
    client = RawClient(Desk(), 0).join()
    client.say(client.signal(b"x", flags=2, after_message=1))
    client.desk.wait(1.5)
    return client.desk


def signal_queue_full() -> Desk:
    client = RawClient(Desk(ROOMY), 0).join()
    for _ in range(MAX_WAITING // 20 + 2):
        client.say(*[client.signal(b"x", flags=2, after_message=1) for _ in range(20)])
    return client.desk


WAYS: dict[DropReason, Callable[[], Desk]] = {
    DropReason[name.upper()]: way for name, way in list(globals().items()) if name.upper() in DropReason.__members__
}
"""Reason -> something that makes an engine drop for it; returns the desk with that engine."""
