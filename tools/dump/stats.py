"""`--stats`: what a capture consists of, and how each player fared, as an object of JSON and as tables."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import numpy as np

from tools.dump.datagrams import Endpoint
from tools.dump.fields import id_text
from tools.dump.sessions import NOT_DERIVED, Batch, Session, name_of
from tools.dump.streams import Stream
from tools.dump.tables import Table, print_table
from tools.dump.tally import PLAYER_COLUMNS, SECTION_NAMES, Part, PartOfStream, Tally

UDP_V4_BYTES, UDP_V6_BYTES = 20 + 8, 40 + 8
"""Headers around each UDP payload on the wire, without the link layer."""
DEFAULT_TICK_RATE = 30
"""Taken for sessions whose WELCOME was not captured: the relay's default."""
MAX_PLAYERS_SHOWN = 40
"""Rows of the table of players, those with the most bytes; --json has all (chosen: a screen)."""
PERCENTILES = (50, 95, 99)


class StatsView:
    """Counts all, and shows it at the end."""

    def __init__(self, stream: TextIO, *, as_json: bool, skipped: Callable[[], Counter[str]]) -> None:
        """Begin.

        Args:
            stream: Where to.
            as_json: One object instead of tables.
            skipped: Tells at the end what of the source was no datagram of a relay.
        """
        self.tally = Tally()
        self._stream = stream
        self._as_json = as_json
        self._skipped = skipped

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Count a batch."""
        self.tally.take(batch, kept)

    def finish(self) -> None:
        """Show it."""
        figures = figures_of(self.tally) | {"skipped": dict(self._skipped())}
        if self._as_json:
            self._stream.write(json.dumps(figures) + "\n")
            return
        for table in tables_of(figures):
            print_table(table, self._stream)
        if figures["cut"]:
            text = f"{figures['cut']:,} datagrams were cut by the capture: sections and pages are of the others alone"
            self._stream.write(f"\n{text}.\n")
        if figures["dropped"]:
            self._stream.write(f"\nDrops are derived; a capture does not show: {NOT_DERIVED}.\n")


def figures_of(tally: Tally) -> dict[str, Any]:
    """Build the object that `--stats --json` prints. Times are seconds since 1970."""
    seconds = max(0.0, tally.last_s - tally.first_s) if tally.first_s is not None else 0.0
    return {
        "begin": tally.first_s,
        "seconds": seconds,
        "datagrams": sum(tally.kinds.values()),
        "bytes": sum(tally.kind_bytes.values()),
        "kinds": [
            {"kind": kind, "direction": way, "datagrams": count, "bytes": tally.kind_bytes[kind, way]}
            for (kind, way), count in tally.kinds.most_common()
        ],
        "sections": _sections(tally),
        "players": [
            _player(session, tally.players[row].tolist(), tally.spans_s[row].tolist(), tally.parts.get(session))
            for session, row in tally.rows.items()
        ],
        "dropped": dict(tally.dropped.most_common()),
        "problems": dict(tally.problems.most_common()),
        "cut": tally.num_cut,
    }


def _sections(tally: Tally) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind.name,
            "section": name_of(SECTION_NAMES[kind], int(number)),
            "count": int(table[0, number]),
            "bytes": int(table[1, number]),
        }
        for kind, table in tally.sections.items()
        for number in table[0].nonzero()[0]
    ]


def _player(session: Session, sums: Sequence[int], span_s: Sequence[float], part: Part | None) -> dict[str, Any]:
    """Build the figures of one session, over what the filter let pass of it: `part`; None if there is no filter.

    Loss is not told if datagrams between these were filtered out: acknowledgements may be among them.
    Rates are per second between `span_s`, its own first and last datagram: who came late is not slower for it.
    """
    seconds = max(0.0, span_s[1] - span_s[0])
    of = dict(zip(PLAYER_COLUMNS, sums))
    is_whole = part is None or part.num_left_out == 0
    up, down = (session.up, session.down) if part is None or is_whole else (part.up, part.down)
    knows_loss = part is None or not part.has_holes
    tick_ms = 1000 / (session.welcome.tick_rate if session.welcome is not None else DEFAULT_TICK_RATE)
    full = of["full_bytes"] / of["full_pages"] if of["full_pages"] else None
    delta = of["delta_bytes"] / of["delta_pages"] if of["delta_pages"] else None
    num_pages = of["full_pages"] + of["delta_pages"]
    return {
        "room": session.code or None,
        "player": session.name or None,
        "player_id": session.player_id,
        "session": id_text(session.session),
        "client": str(session.client),
        "relay": str(session.relay),
        "seconds": seconds,
        "begin": session.began_s,
        "end": session.newest_s,
        "ended": session.ended or None,
        "up": _way(up, of["up_datagrams"], of["up_bytes"], session.relay, seconds, knows_loss),
        "down": _way(down, of["down_datagrams"], of["down_bytes"], session.relay, seconds, knows_loss),
        "round_trip_ms": {"to_client": _spread(down), "to_relay": _spread(up)},
        "pages": {
            "full": of["full_pages"],
            "delta": of["delta_pages"],
            "delta_share": of["delta_pages"] / num_pages if num_pages else None,
            "delta_to_full_bytes": delta / full if delta is not None and full else None,
            "baseline_age_ms": of["baseline_ticks"] / of["delta_pages"] * tick_ms if of["delta_pages"] else None,
        },
    }


def _way(
    stream: Stream | PartOfStream, num_datagrams: int, num_bytes: int, relay: Endpoint, seconds: float, knows_loss: bool
) -> dict[str, Any]:
    wire_bytes = num_bytes + num_datagrams * (UDP_V6_BYTES if len(relay.host) == 16 else UDP_V4_BYTES)
    expected = stream.num_accepted + stream.num_missing
    num_lost = max(stream.num_missing, stream.num_unreported)
    return {
        "datagrams": num_datagrams,
        "bytes": num_bytes,
        "wire_kbit_per_s": wire_bytes * 8 / 1000 / seconds if seconds else None,
        "missing": stream.num_missing if knows_loss else None,
        "unreported": stream.num_unreported if knows_loss else None,
        "loss_percent": 100 * num_lost / expected if expected and knows_loss else None,
        "duplicates": stream.num_duplicate,
        "late": stream.num_late,
        "too_old": stream.num_too_old,
        "otherwise_dropped": stream.num_bad,
    }


def _spread(stream: Stream | PartOfStream) -> dict[str, Any]:
    """Percentiles of the round trips that acknowledgements of a stream show, ms."""
    values = np.frombuffer(stream.round_trips_s, np.float32) * 1000 if stream.round_trips_s else np.zeros(0)
    shown: dict[str, Any] = {"samples": len(values)}
    for percent in PERCENTILES:
        shown[f"p{percent}"] = round(float(np.percentile(values, percent)), 3) if len(values) else None
    return shown | {"max": round(float(values.max()), 3) if len(values) else None}


# --- for people


def tables_of(figures: dict[str, Any]) -> list[Table]:
    """Build the tables that `--stats` prints from what `figures_of` returned."""
    total = max(1, figures["bytes"])
    kinds = Table(
        f"{figures['datagrams']:,} datagrams, {figures['bytes']:,} bytes of UDP payload, {figures['seconds']:.3f} s",
        ("<kind", "<way", "datagrams", "bytes", "share", "mean"),
        [
            (k["kind"], k["direction"], _count(k["datagrams"]), _count(k["bytes"]),
             f"{100 * k['bytes'] / total:.1f} %", f"{k['bytes'] / k['datagrams']:.0f}")
            for k in figures["kinds"]
        ],
    )  # fmt: skip
    sections = Table(
        "Sections (bytes with the 3 of each header)",
        ("<in", "<section", "count", "bytes", "share", "mean"),
        [
            (s["kind"], s["section"], _count(s["count"]), _count(s["bytes"]), f"{100 * s['bytes'] / total:.1f} %",
             f"{s['bytes'] / s['count']:.0f}")
            for s in figures["sections"]
        ],
    )  # fmt: skip
    tables = [kinds, sections, _players_table(figures["players"])]
    for key, title in (("problems", "Malformed"), ("dropped", "Dropped"), ("skipped", "Skipped")):
        if figures[key]:
            tables.append(Table(title, ("<why", "count"), [(why, _count(num)) for why, num in figures[key].items()]))
    return [table for table in tables if table.rows]


def _players_table(players: Sequence[dict[str, Any]]) -> Table:
    most = sorted(players, key=lambda p: p["up"]["bytes"] + p["down"]["bytes"], reverse=True)
    more = f"; the {MAX_PLAYERS_SHOWN} with the most bytes" if len(most) > MAX_PLAYERS_SHOWN else ""
    return Table(
        f"{len(most):,} players (up / down; kbit/s over its own time, with IP and UDP headers{more})",
        ("<room", "<player", "<session", "datagrams", "kbit/s", "loss %", "doubled", "late", "rtt ms p50 / p99",
         "relay's part", "delta pages", "delta/full", "baseline ms", "<end"),
        [_player_row(player) for player in most[:MAX_PLAYERS_SHOWN]],
        num_names=3,
    )  # fmt: skip


def _player_row(player: dict[str, Any]) -> Sequence[str]:
    up, down, pages, trips = player["up"], player["down"], player["pages"], player["round_trip_ms"]
    share = pages["delta_share"]
    return (
        player["room"] or "-",
        player["player"] or "-",
        player["session"],
        f"{up['datagrams']:,} / {down['datagrams']:,}",
        f"{_number(up['wire_kbit_per_s'])} / {_number(down['wire_kbit_per_s'])}",
        f"{_number(up['loss_percent'], 2)} / {_number(down['loss_percent'], 2)}",
        f"{up['duplicates']} / {down['duplicates']}",
        f"{up['late']} / {down['late']}",
        f"{_number(trips['to_client']['p50'])} / {_number(trips['to_client']['p99'])}",
        _number(trips["to_relay"]["p50"]),
        "-" if share is None else f"{100 * share:.1f} %",
        _number(pages["delta_to_full_bytes"], 2),
        _number(pages["baseline_age_ms"]),
        player["ended"] or "",
    )


def _count(value: int) -> str:
    return f"{value:,}"


def _number(value: float | None, decimals: int = 1) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
