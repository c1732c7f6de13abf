"""What a load is described by, and how each figure is written.

`figures` is the object that `--json` prints: plain dicts, numbers and texts; what was not measured is None or absent.
Every view (live table, plain table, page) is made from ROWS, so all of them know the same figures under the same keys.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

NOT_MEASURED = "-"
MAX_HEADING = 20
"""Characters. Heading, value and key of every row then fit into a terminal of 60 columns."""
SMALLEST_PERCENT = 0.01
"""Smallest share that is written as a number. What is below is not zero, and must not look like it."""

Figures = Mapping[str, Any]


class Unit(Enum):
    """What a figure counts; tells `format_value` how to write it."""

    COUNT = "count"
    PER_S = "per second"
    S = "s"
    MS = "ms"
    US = "µs"
    SHARE = "share, 0 ... 1; written as percent"
    PERCENT = "percent"
    CPU_PERCENT = "percent of one core"
    BYTES = "bytes"
    BYTES_PER_S = "bytes per second"
    GB = "10^9 bytes"
    MIB = "2^20 bytes"
    FLAG = "yes or no"


@dataclass(frozen=True)
class Row:
    """One figure, for every view."""

    group: str
    """Rows of one group stand together, under its name."""
    heading: str
    """For people; at most MAX_HEADING characters."""
    key: str
    """Where it is in the figures, with dots."""
    unit: Unit
    explanation: str
    """One sentence."""
    series_key: str = ""
    """Its name in the series of seconds; empty if it is not there."""
    is_live: bool = False
    """Whether the live table has it; that has to fit into 24 lines."""
    must_be_zero: bool = False
    """Whether anything else is a failure."""


def get(figures: Figures | None, key: str) -> Any:
    """Read a figure by its dotted key. Returns: None where it or anything on the way to it is missing."""
    value: Any = figures
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def format_value(value: Any, unit: Unit) -> str:
    """Write a value with its unit, in at most about ten characters. Returns: a dash for what is no number."""
    if unit is Unit.FLAG:
        return {True: "yes", False: "no"}.get(value, NOT_MEASURED) if isinstance(value, bool) else NOT_MEASURED
    number = to_number(value)
    return NOT_MEASURED if number is None else _FORMATS[unit](number)


def to_number(value: Any) -> float | None:
    """Read a finite number. Returns: None for anything else, so that garbage in the figures breaks no view."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def format_bytes(num_bytes: float, digits: int = 3) -> str:
    """Write an amount with a decimal prefix, as network operators bill it.

    Args:
        num_bytes: Amount, >= 0.
        digits: How many significant digits, 2 or 3; there are never fewer than those before the point.
    """
    prefixes = ("", "k", "M", "G", "T", "P")
    power = 0
    while abs(num_bytes) >= 999.5 and power < len(prefixes) - 1:  # 999.5 would be written as 1,000
        num_bytes /= 1000
        power += 1
    text = f"{num_bytes:.0f}" if power == 0 else _significant(num_bytes, digits)
    return f"{text} {prefixes[power]}B"


def _significant(value: float, digits: int = 3) -> str:
    decimals = digits - 1
    while decimals > 0 and round(abs(value), decimals) >= 10 ** (digits - decimals):
        decimals -= 1
    return "0" if value == 0 else f"{value:,.{decimals}f}"


def _percent(value: float) -> str:
    """Write a percentage without rounding a little to nothing or almost all to all."""
    if value == 0 or value == 100:
        return f"{value:.0f} %"
    if 0 < value < SMALLEST_PERCENT:
        return f"<{SMALLEST_PERCENT} %"
    if 100 - SMALLEST_PERCENT < value < 100:
        return f">{100 - SMALLEST_PERCENT} %"
    return f"{value:.2f} %"


_FORMATS: dict[Unit, Callable[[float], str]] = {
    Unit.COUNT: lambda value: f"{value:,.0f}",
    Unit.PER_S: _significant,
    Unit.S: lambda value: f"{value:,.1f} s",
    Unit.MS: lambda value: f"{_significant(value)} ms",
    Unit.US: lambda value: f"{_significant(value)} µs",
    Unit.SHARE: lambda value: _percent(value * 100),
    Unit.PERCENT: _percent,
    Unit.CPU_PERCENT: lambda value: f"{value:.1f} %",
    Unit.BYTES: format_bytes,
    Unit.BYTES_PER_S: lambda value: f"{format_bytes(value)}/s",
    Unit.GB: lambda value: format_bytes(value * 1e9),
    Unit.MIB: lambda value: f"{value:,.1f} MiB",
}


def _percentiles(
    group: str, heading: str, key: str, what: str, series_prefix: str = "", live: tuple[str, ...] = ()
) -> tuple[Row, ...]:
    """Build the rows p50, p95, p99 and max; the series have p50 of nothing but the state age, and p99."""
    explanations = {
        "p50": f"{what}: half took no longer.",
        "p95": f"{what}: 95 of 100 took no longer.",
        "p99": f"{what}: 99 of 100 took no longer.",
        "max": f"{what}: the longest.",
    }
    in_series = {"p50", "p99"} if series_prefix == "state_age" else {"p99"} if series_prefix else set()
    return tuple(
        Row(
            group,
            f"{heading} {name}",
            f"{key}.{name}",
            Unit.MS,
            explanation,
            series_key=f"{series_prefix}_{name}_ms" if name in in_series else "",
            is_live=name in live,
        )
        for name, explanation in explanations.items()
    )


def _each_way(
    heading: str, key: str, unit: Unit, what: str, series_name: str = "", live: bool = True
) -> tuple[Row, ...]:
    """Build the rows up (players to relay) and down (relay to players). `series_name` has {} for the direction."""
    directions = {"up": "from the players to the relay", "down": "from the relay to the players"}
    return tuple(
        Row("Network", f"{heading} {way}", f"{key}.{way}", unit, f"{what}, {words}.", series_name.format(way), live)
        for way, words in directions.items()
    )


ROWS: tuple[Row, ...] = (
    Row("Run", "passed", "passed", Unit.FLAG, "Whether everything that must hold held."),
    Row("Run", "measured", "seconds", Unit.S, "How long was measured."),
    Row("Run", "ticks per second", "tick_rate", Unit.COUNT, "How often the relay sends what changed."),
    Row("Run", "ticks", "ticks", Unit.COUNT, "Ticks of the relay while it was measured."),
    Row("Run", "tick overruns", "tick_overruns", Unit.COUNT, "Ticks longer than their time.", "overruns", True),
    Row("Players", "wanted", "players.wanted", Unit.COUNT, "Players that the options ask for."),
    Row("Players", "connected", "players.connected", Unit.COUNT, "Players in a room at the end.", "players", True),
    Row("Players", "joined", "players.joined", Unit.COUNT, "Joins over the whole run, also those of newcomers."),
    Row("Players", "left", "players.left", Unit.COUNT, "Players that said goodbye."),
    Row("Players", "crashed", "players.crashed", Unit.COUNT, "Players made to fall silent without a word."),
    Row("Players", "moved", "players.moved", Unit.COUNT, "Players that went on from another address."),
    Row("Players", "ended by the relay", "players.ended_by_relay", Unit.COUNT, "Players that the relay sent away."),
    *_percentiles("Players", "time to join", "join_ms", "From the first datagram to the room"),
    Row(
        "State", "delivered share", "delivered_share", Unit.SHARE,
        "Of the ticks in which something changed in a receiver's room, those in which all of it arrived in that tick.",
        "delivered_share", True,
    ),
    Row(
        "State", "superseded share", "superseded_share", Unit.SHARE,
        "States that a newer one of the same player replaced before the tick; newest wins, so this is no loss.",
    ),
    *_percentiles("State", "state age", "state_age_ms", "From the sender's clock to the receiver", "state_age",
                  ("p50", "p99")),
    Row("State", "published", "states.published", Unit.COUNT, "States that players published."),
    Row("State", "received", "states.received", Unit.COUNT, "States that reached players."),
    Row("State", "wrong", "states.wrong", Unit.COUNT, "Received states that their owner never published.",
        must_be_zero=True),
    Row("State", "converged", "converged", Unit.FLAG, "Whether in the end every player's table equals the relay's."),
    Row("State", "not converged", "unconverged_players", Unit.COUNT, "Players whose table differs from the relay's.",
        must_be_zero=True),
    *_percentiles("Messages", "message latency", "message_latency_ms", "From sending to handing over in order",
                  "message_latency", ("p99",)),
    Row("Messages", "sent", "messages.sent", Unit.COUNT, "Reliable messages that players sent."),
    Row("Messages", "received", "messages.received", Unit.COUNT, "Messages handed to their receivers."),
    Row("Messages", "resent", "messages.resent", Unit.COUNT, "Sent once more because no acknowledgement came in time."),
    Row("Messages", "missing", "messages.missing", Unit.COUNT, "Never reached one of their receivers.",
        is_live=True, must_be_zero=True),
    Row("Messages", "duplicated", "messages.duplicated", Unit.COUNT, "Reached a receiver more than once.",
        must_be_zero=True),
    Row("Messages", "out of order", "messages.out_of_order", Unit.COUNT, "Reached a receiver in another order.",
        must_be_zero=True),
    Row("Messages", "misdelivered", "messages.misdelivered", Unit.COUNT, "Reached somebody they were not for.",
        must_be_zero=True),
    Row("Messages", "wrong", "messages.wrong", Unit.COUNT, "Received with other bytes than were sent.",
        must_be_zero=True),
    *_percentiles("Signals", "signal latency", "signal_latency_ms", "From sending to handing over", "signal_latency",
                  ("p99",)),
    Row("Signals", "sent", "signals.sent", Unit.COUNT, "Fire-and-forget signals that players sent."),
    Row("Signals", "received", "signals.received", Unit.COUNT, "Signals handed to their receivers."),
    Row("Signals", "lost", "signals.lost", Unit.COUNT, "Never reached one of their receivers; they may get lost."),
    Row("Signals", "duplicated", "signals.duplicated", Unit.COUNT, "Reached a receiver more than once."),
    Row("Signals", "misdelivered", "signals.misdelivered", Unit.COUNT, "Reached somebody they were not for.",
        must_be_zero=True),
    Row("Signals", "wrong", "signals.wrong", Unit.COUNT, "Received with other bytes than were sent.",
        must_be_zero=True),
    *_each_way("loss", "loss_percent", Unit.PERCENT, "Datagrams lost, from gaps in their sequence", "loss_{}_percent"),
    *_each_way("datagrams/s", "datagrams_per_s", Unit.PER_S, "Datagrams per second", "datagrams_{}"),
    *_each_way("bytes/s", "bytes_per_s", Unit.BYTES_PER_S, "Bytes per second", "bytes_{}"),
    *_each_way("bytes/s/player", "bytes_per_player_s", Unit.BYTES_PER_S, "Bytes per second and player", live=False),
    Row("Processes", "relay CPU", "relay.cpu_percent", Unit.CPU_PERCENT, "All threads of the relay, of one core.",
        "relay_cpu_percent", True),
    Row("Processes", "CPU / player-tick", "relay.us_per_player_tick", Unit.US, "The relay's time per player and tick.",
        is_live=True),
    Row("Processes", "relay memory", "relay.rss_mib", Unit.MIB, "Resident memory of the relay.", "relay_rss_mib", True),
    Row("Processes", "load CPU", "load.cpu_percent", Unit.CPU_PERCENT, "The load generator itself, of one core.",
        "load_cpu_percent", True),
    Row("Cost", "player-hour", "cost.bytes_per_player_hour", Unit.BYTES, "Traffic of a player in an hour, both ways."),
    Row("Cost", "traffic per month", "cost.month_gb", Unit.GB, "Traffic of these players in 30 days, both ways."),
)  # fmt: skip
"""Every figure, in the order of all views."""


def groups() -> dict[str, list[Row]]:
    """Sort the rows by their group, both in the order of ROWS."""
    found: dict[str, list[Row]] = {}
    for row in ROWS:
        found.setdefault(row.group, []).append(row)
    return found


def is_wrong(row: Row, figures: Figures) -> bool:
    """Tell whether a figure by itself is a failure."""
    value = get(figures, row.key)
    if row.unit is Unit.FLAG:
        return value is False
    return row.must_be_zero and bool(to_number(value))


def failures_of(figures: Figures) -> list[str]:
    """Read what is wrong, one printable line each."""
    return _lines(get(figures, "failures"))


def bottlenecks_of(figures: Figures) -> list[str]:
    """Read what held the load generator back, with the remedy, one printable line each."""
    return _lines(get(figures, "load.bottlenecks"))


def verdict(figures: Figures) -> str:
    """Say PASSED, or FAILED for anything but an explicit pass."""
    return "PASSED" if get(figures, "passed") is True else "FAILED"


def cost_line(figures: Figures) -> str:
    """Write the cost in one sentence. Returns: empty if it was not measured."""
    per_hour = to_number(get(figures, "cost.bytes_per_player_hour"))
    if per_hour is None:
        return ""
    sentence = f"a player costs {format_bytes(per_hour, 2)} an hour"
    month_gb = to_number(get(figures, "cost.month_gb"))
    players = to_number(get(figures, "players.wanted"))
    if month_gb is None or players is None:
        return sentence
    noun = "player" if players == 1 else "players"
    return f"{sentence}; {players:,.0f} {noun} for a month: {format_bytes(month_gb * 1e9, 2)}"


def format_setting(value: Any) -> str:
    """Write the value of an option."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(format_setting(item) for item in value)
    return printable(str(value))


def printable(text: str) -> str:
    """Escape control characters: a name with an escape sequence must not drive somebody's terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _lines(texts: Iterable[Any] | None) -> list[str]:
    return [printable(str(text)) for text in texts or ()]
