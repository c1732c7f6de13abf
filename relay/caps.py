"""The relay's own queues, maps and histories as data, in the form of `protocol/caps.py` (SPEC 12)."""

from protocol.caps import Cap
from protocol.constants import SPECIAL_MESSAGE_COST
from relay import (
    config,
    delivery,
    directory,
    engine,
    guesses,
    lobby,
    log,
    messages,
    pacing,
    presence,
    sessions,
    signals,
    stages,
    welcome,
)
from relay.capture import blocks, choice, files, tap

_DEFAULT = config.RelayConfig()
_RESERVED_KIB = log.RESERVED_SEGMENTS * log.SEGMENT_BYTES >> 10


def _number(value: float) -> str:
    return f"{value:,.0f}"


CAPS: list[Cap] = [
    Cap(
        "sessions of the relay",
        f"{_number(_DEFAULT.max_players)} (`max_players`)",
        "a join is refused",
        "SERVER_FULL",
        "tests/relay/test_membership.py",
    ),
    Cap(
        "sessions of one IPv4 address or IPv6 /64",
        f"{_number(_DEFAULT.max_sessions_per_host)} (`max_sessions_per_host`; loopback exempt)",
        "a join is refused",
        "TOO_MANY_SESSIONS",
        "tests/relay/test_membership.py",
    ),
    Cap("rooms", f"{_number(_DEFAULT.max_rooms)} (`max_rooms`)", "a create is refused", "SERVER_FULL"),
    Cap(
        "memory of all tables",
        f"{_number(_DEFAULT.state_memory_mib)} MiB (`state_memory_mib`)",
        "a create is refused",
        "SERVER_FULL",
    ),
    Cap(
        "join attempts remembered",
        f"4 x `max_players` + 4,096, and of one host that ended {lobby.ATTEMPTS_PER_SEAT} x `max_sessions_per_host`",
        "a join is refused; nothing is forgotten early",
        "SERVER_FULL",
        "tests/relay/test_lobby.py",
    ),
    Cap(
        "HELLO, and JOIN, LIST, BYE and PATH_RESPONSE that prove nothing",
        f"{_number(lobby.GREETINGS_PER_S)} a second, {lobby.MAX_BURST} at once",
        "dropped",
        "COLD_BUDGET",
        "tests/relay/test_lobby.py",
    ),
    Cap(
        "JOIN with a good cookie, BYE and PATH_RESPONSE of a session",
        f"{_number(lobby.JOINS_PER_S)} a second, {lobby.MAX_BURST} at once",
        "dropped",
        "COLD_BUDGET",
        "tests/relay/test_lobby.py",
    ),
    Cap(
        "JOIN of an attempt that has its session",
        f"{_number(lobby.REPEATS_PER_S)} a second, {lobby.MAX_BURST} at once",
        "dropped",
        "COLD_BUDGET",
        "tests/relay/test_lobby.py",
    ),
    Cap(
        "LIST with a good cookie",
        f"{_number(lobby.LISTS_PER_S)} a second, {lobby.MAX_BURST} at once",
        "dropped",
        "COLD_BUDGET",
        "tests/relay/test_lobby.py",
    ),
    Cap(
        "rooms looked at for a LIST or a quick match",
        f"{_number(directory.MAX_LOOKED_AT)} of those whose game, places and tags suit",
        "the page ends, and the next goes on behind it; a quick match opens a room",
        "-",
        "tests/relay/test_directory.py",
    ),
    Cap(
        "wrong codes and passwords of one IPv4 address or IPv6 /64",
        f"{guesses.GUESSES_AT_ONCE} at once, then one per {1 / guesses.GUESSES_PER_S:.0f} s (loopback exempt)",
        "its joins are refused",
        "TOO_MANY_TRIES",
        "tests/relay/test_guesses.py",
    ),
    Cap(
        "hosts whose wrong guesses are remembered",
        _number(guesses.MAX_GUESSERS),
        "that which guessed wrong longest ago is forgotten",
        "-",
        "tests/relay/test_guesses.py",
    ),
    Cap(
        "PING answered",
        f"{_number(lobby.PINGS_PER_S)} a second, {lobby.MAX_BURST} at once",
        "dropped",
        "COLD_BUDGET",
        "tests/relay/test_lobby.py",
    ),
    Cap(
        "RESET sent",
        f"{_number(lobby.RESETS_PER_S)} a second, {engine.MAX_RESETS_PER_PASS} a receive pass",
        "withheld",
        "resets_withheld",
        "tests/relay/test_lobby.py",
    ),
    Cap("path challenges", "1 per session and 250 ms", "withheld; the next DATA causes one", "-"),
    Cap(
        "BYEs that wait to be sent again",
        _number(lobby.MAX_BYES),
        "sent once only; if that is lost, DATA brings a RESET",
        "byes_not_repeated",
        "tests/relay/test_lobby.py",
    ),
    Cap(
        "datagrams of a session",
        f"{_number(_DEFAULT.datagrams_per_s)} a second (`datagrams_per_s`), as many at once",
        "dropped",
        "OVER_RATE",
        "tests/relay/test_budgets.py",
    ),
    Cap(
        "bytes of a session",
        f"{_number(_DEFAULT.bytes_per_s)} a second (`bytes_per_s`), as many at once",
        "dropped",
        "OVER_BYTE_RATE",
        "tests/relay/test_budgets.py",
    ),
    Cap(
        "messages of a session",
        f"{_number(_DEFAULT.messages_per_s)} a second (`messages_per_s`), as many at once; "
        f"requests and messages to be kept count as {SPECIAL_MESSAGE_COST}",
        "not acknowledged: taken later",
        "OVER_MESSAGE_RATE",
        "tests/relay/test_messages.py",
    ),
    Cap(
        "signals of a session",
        f"{_number(_DEFAULT.signals_per_s)} a second (`signals_per_s`), as many at once",
        "dropped",
        "OVER_SIGNAL_RATE",
        "tests/relay/test_signals.py",
    ),
    Cap(
        "bytes of a session in the log that a member has not read",
        f"{_number(log.CREDIT_BYTES)}, each entry counted with {log.CHARGE_PER_PLAYER_BYTES} x max_players "
        f"(at least {log.LEAST_CHARGE_BYTES}) more",
        "no credit: the client keeps its messages",
        "MESSAGE_WINDOW",
        "tests/relay/test_messages.py",
    ),
    Cap(
        "messages kept behind a gap",
        f"{_number(messages.MAX_HELD)} on the relay",
        "not acknowledged: the client sends them again",
        "HOLD_FULL",
        "tests/relay/test_messages.py",
    ),
    Cap(
        "memory of all log entries",
        f"{_number(_DEFAULT.log_memory_mib)} MiB (`log_memory_mib`), of it {_RESERVED_KIB} KiB for who comes and goes",
        "no message is taken until some are read; then a join is refused",
        "LOG_FULL, SERVER_FULL",
        "tests/relay/test_messages.py",
    ),
    Cap(
        "entries of a room that a member has not read, with those that a joiner is told",
        _number(log.LOG_CAP_ENTRIES // welcome.CROWD_SHARE),
        "the JOIN is not answered until some are read: it comes again",
        "CROWDED",
        "tests/relay/test_welcome.py",
    ),
    Cap(
        "entries a member may be behind",
        f"{_number(log.LOG_CAP_ENTRIES)}, or what was in the log {stages.TOO_SLOW_S:.0f} s before",
        "its session ends",
        "TOO_SLOW",
        "tests/relay/test_engine.py",
    ),
    Cap(
        "signals gathered until the next sends",
        _number(signals.MAX_QUEUED),
        "dropped",
        "SIGNAL_QUEUE_FULL",
        "tests/relay/test_signals.py",
    ),
    Cap(
        "signals that wait for a message of their sender",
        f"{_number(signals.MAX_WAITING)} on the relay, {signals.WAIT_S:.0f} s",
        "dropped",
        "SIGNAL_QUEUE_FULL, SIGNAL_LATE",
        "tests/relay/test_signals.py",
    ),
    Cap(
        "log entries kept for a player who is away",
        f"{_number(presence.AWAY_ENTRIES)}, fewer when memory for logs is short",
        "it can only come back afresh",
        "away_logs_given_up",
        "tests/relay/test_presence.py",
    ),
    Cap(
        "former sessions by which one that was resumed and has not spoken can be resumed",
        _number(sessions.MAX_FORMER),
        "the oldest is forgotten",
        "CANNOT_RESUME",
        "tests/relay/test_presence.py",
    ),
    Cap(
        "fragments to one client",
        f"{delivery.FRAGMENTS_PER_S} a second",
        "the rest waits for the next tick",
        "-",
        "tests/relay/test_delivery.py",
    ),
    Cap(
        "bytes to one client",
        f"{_number(_DEFAULT.client_bytes_per_s)} a second (`client_bytes_per_s`), a tenth of it at once",
        "pages and entries wait, signals are shed",
        "signals_shed",
        "tests/relay/test_pacing.py",
    ),
    Cap(
        "under way to one client",
        f"{pacing.MAX_FLIGHT_DATAGRAMS} datagrams or {_number(pacing.MAX_FLIGHT_BYTES)} bytes",
        f"one update per {pacing.PROBE_S * 1000:.0f} ms until an ack comes",
        "signals_shed",
        "tests/relay/test_pacing.py",
    ),
    Cap(
        "files of a capture",
        f"{files.NUM_FILES}, together 256 MiB (`capture_max_mib`)",
        "the oldest is removed",
        "-",
        "tests/relay/capture/test_files.py",
    ),
    Cap(
        "captured bytes that wait to be written",
        f"{blocks.STAGE_BYTES >> 20} MiB, or one batch if it is larger",
        "written at once",
        "-",
        "tests/relay/capture/test_blocks.py",
    ),
    Cap(
        "captured handshakes, PINGs and BYEs that are looked into",
        f"{_number(tap.COLD_PER_S)} a second, as many at once",
        "of the others only kind and shard are kept",
        "-",
        "tests/relay/capture/test_tap.py",
    ),
    Cap(
        "datagrams of handshakes that a capture of one room or session holds back",
        _number(choice.MAX_HELD),
        "the oldest is not captured",
        "-",
        "tests/relay/capture/test_choice.py",
    ),
]
