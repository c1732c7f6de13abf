"""From measurements to the table: rounds, medians, ratios, and what of it proves something.

A round measures every row once; rounds follow each other, so that a slow minute of the machine falls on all rows. Of
several rounds the median is given, and the ratio is the median of the rounds' own ratios: a row is compared with the
floor of the same minute. The spread is (largest - smallest) / median of the CPU figure. A run without options has one
round only, for ten rows of ten seconds fill the minutes it may take; the spread is then that of the thirds of the
measured time, if the load gave them, and is marked as such: it shows an unsteady machine, but not the difference
between two starts.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tools.bench.rows import Spec
from tools.bench.run import Figures, Measure, MeasureError

SATURATED_PERCENT = 90.0
"""A process that uses more of its core than this had no time left to be measured: its row proves nothing."""
WAYS = ("up", "down")
FORMAT = 1
"""Of saved files. A file of another format is refused."""

Measured = dict[Spec, list[Figures | None]]
"""The figures of each row, round by round; None where it could not be measured."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. None: does not apply, or the load did not say."""

    name: str
    players: int
    shape: str
    """What differs from the plain shape, in words; empty for that."""
    us_per_player_tick: float | None
    """CPU microseconds of the server, all threads, per player and tick."""
    ratio_to_floor: float | None
    delivered_share: float | None
    state_age_p99_ms: float | None
    bytes_per_player_s: float | None
    """UDP payload, both ways."""
    datagrams_per_player_tick: float | None = None
    """Down."""
    message_p99_ms: float | None = None
    """Latency of messages, from the sender's clock to the receiver."""
    rss_mib: float | None
    saturated: bool
    cpu_percent: float | None
    """Of the server, of one core."""
    load_cpu_percent: float | None
    spread: float | None
    spread_of: str
    """rounds, thirds (of the measured time of a single round), or nothing."""
    rounds: int
    failures: list[str]
    """What the load found wrong. A row with any is no measurement."""
    bottlenecks: list[str]
    """What the load says held it up. Then less was played than the shape says, and what was measured is too cheap."""


JSON_KEYS = (
    "name",
    "players",
    "us_per_player_tick",
    "ratio_to_floor",
    "delivered_share",
    "state_age_p99_ms",
    "bytes_per_player_s",
    "rss_mib",
    "saturated",
)
"""What `--json` prints of every row. Rows of another shape than the plain one have `shape` too, or they could not be
told apart, and `datagrams_per_player_tick`; rows with messages `message_p99_ms`, rows whose load was held up
`bottlenecks`, and idle ones `cpu_percent`. `--save` writes all."""


def measure_rounds(specs: Sequence[Spec], rounds: int, measure: Measure, tell: Callable[[str], None]) -> Measured:
    """Measure every row once, then again, `rounds` times.

    Args:
        measure: Measures one row.
        tell: Gets a line of progress before and after each.
    Returns: what was measured until the end, or until Ctrl-C.
    """
    measured: Measured = {spec: [] for spec in specs}
    total = rounds * len(specs)
    try:
        for number in range(total):
            spec = specs[number % len(specs)]
            what = " ".join(filter(None, [str(spec.name), f"{spec.players} players", spec.shape]))
            try:
                figures = measure(spec)
            except MeasureError as error:
                measured[spec].append(None)
                tell(f"[{number + 1}/{total}] {what}: not measured: {error}")
                continue
            measured[spec].append(figures)
            tell(f"[{number + 1}/{total}] {what}: {_brief(spec, figures)}")
    except KeyboardInterrupt:
        tell("interrupted; this is what was measured until now")
    return measured


def _brief(spec: Spec, figures: Figures) -> str:
    cost, percent = _us(spec, figures), _get(figures, "relay", "cpu_percent")
    words = [f"{cost:.2f} us per player-tick"] if cost is not None else []
    return ", ".join([*words, f"{percent:.1f} % of a core" if percent is not None else "no CPU figure"])


def build_rows(measured: Measured) -> list[Row]:
    """Summarise every row that was measured at least once."""
    return [
        build_row(spec, by_round, measured.get(spec.floor(), []))
        for spec, by_round in measured.items()
        if any(by_round)
    ]


def build_row(spec: Spec, by_round: Sequence[Figures | None], floor: Sequence[Figures | None]) -> Row:
    """Summarise the rounds of one row.

    Args:
        by_round: Its figures, at least one not None.
        floor: Those of the floor of the same shape, by the same rounds; fewer or none if it was not measured.
    """
    found = [figures for figures in by_round if figures]
    costs = [_us(spec, figures) for figures in found]
    pairs = [
        (_us(spec, mine), _us(spec, under)) for mine, under in zip(by_round, floor, strict=False) if mine and under
    ]
    ratios = [cost / under for cost, under in pairs if cost and under]
    relay_percents = _all(found, "relay", "cpu_percent")
    load_percents = _all(found, "load", "cpu_percent")
    spread, spread_of = _spread(costs, found)
    return Row(
        name=str(spec.name),
        players=spec.players,
        shape=spec.shape,
        us_per_player_tick=_median(costs),
        ratio_to_floor=_median(ratios),
        delivered_share=_median(_all(found, "delivered_share")),
        state_age_p99_ms=_median(_all(found, "state_age_ms", "p99")),
        bytes_per_player_s=_median([sum(ways) for ways in zip(*(_all(found, "bytes_per_player_s", w) for w in WAYS))]),
        datagrams_per_player_tick=_median([_datagrams(spec, figures) for figures in found]),
        message_p99_ms=_median(_all(found, "message_latency_ms", "p99")),
        rss_mib=_median(_all(found, "relay", "rss_mib")),
        saturated=max([*relay_percents, *load_percents], default=0.0) > SATURATED_PERCENT,
        cpu_percent=_median(relay_percents),
        load_cpu_percent=_median(load_percents),
        spread=spread,
        spread_of=spread_of,
        rounds=len(found),
        failures=_distinct(text for figures in found for text in _failures(spec, figures)),
        bottlenecks=_distinct(text for figures in found for text in _get(figures, "load", "bottlenecks") or []),
    )


def _us(spec: Spec, figures: Figures) -> float | None:
    """Return the cost per player and tick; an idle relay's is not one: it ticks, but nothing is sent in most ticks."""
    return None if spec.is_idle else _get(figures, "relay", "us_per_player_tick")


def _datagrams(spec: Spec, figures: Figures) -> float | None:
    """Return the datagrams that each player was sent in a tick."""
    down = _get(figures, "datagrams_per_s", "down")
    return down / (spec.num_rooms * spec.per_room * spec.tick_rate) if down is not None and spec.players else None


def _failures(spec: Spec, figures: Figures) -> list[str]:
    failures = list(_get(figures, "failures") or [])
    if _get(figures, "passed") is False and not failures:
        failures.append("the load failed and did not say why")
    connected = _get(figures, "players", "connected")
    # of those who come and go some are always away; who could not join the load tells itself
    if connected is not None and connected < spec.players and not spec.joins_per_s:
        failures.append(f"only {connected} of {spec.players} players connected")
    return failures


def _spread(costs: Sequence[float | None], found: Sequence[Figures]) -> tuple[float | None, str]:
    known = [cost for cost in costs if cost is not None]
    if len(known) == 1:
        thirds = _get(found[0], "relay", "us_per_player_tick_thirds") or []
        return (_range_share(thirds), "thirds") if thirds else (None, "")
    return (_range_share(known), "rounds") if known else (None, "")


def _range_share(values: Sequence[float]) -> float | None:
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else None


def _get(figures: Figures, *path: str) -> Any:
    """Follow keys; None where one is missing."""
    value: Any = figures
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _all(found: Sequence[Figures], *path: str) -> list[float]:
    return [value for figures in found if (value := _get(figures, *path)) is not None]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _distinct(texts: Any) -> list[str]:
    return list(dict.fromkeys(texts))


# --- What is printed and kept


def rows_json(rows: Sequence[Row]) -> str:
    """Write what `--json` prints."""
    kept = []
    for row in rows:
        idle = row.us_per_player_tick is None
        more = {
            "shape": row.shape,
            "datagrams_per_player_tick": row.datagrams_per_player_tick if row.shape else None,
            "message_p99_ms": row.message_p99_ms,
            "bottlenecks": row.bottlenecks,
            "cpu_percent": row.cpu_percent if idle else None,
        }
        always = {key: getattr(row, key) for key in JSON_KEYS}
        kept.append(always | {key: value for key, value in more.items() if value})
    return json.dumps({"rows": kept})


def save(path: Path, rows: Sequence[Row], commit: str, machine: Mapping[str, str]) -> None:
    """Keep a run. Raises: OSError."""
    run = {"format": FORMAT, "commit": commit, "machine": dict(machine), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class SavedRun:
    """What `save` wrote."""

    commit: str
    machine: dict[str, str]
    rows: list[Row]


def load_saved(path: Path) -> SavedRun:
    """Read a run that was saved. Raises: OSError; ValueError if it is none."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["format"] != FORMAT:
            raise ValueError(f"is of format {run['format']}; this release reads {FORMAT}")
        names = {field.name for field in fields(Row)}
        rows = [Row(**{name: value for name, value in row.items() if name in names}) for row in run["rows"]]
        return SavedRun(str(run["commit"]), dict(run["machine"]), rows)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("is not a run that was saved by this command") from None


def changes(rows: Sequence[Row], before: Sequence[Row]) -> dict[tuple[str, int, str], float]:
    """Compare the CPU figures of two runs.

    Returns: by (name, players, shape) the change, 0.1 = costs a tenth more now. Rows that only one run has, or that
        are saturated, held up or failed in one, are left out.
    """
    old = {(row.name, row.players, row.shape): row for row in before}
    found = {}
    for row in rows:
        key = (row.name, row.players, row.shape)
        if key in old and (now := _proven_cost(row)) and (then := _proven_cost(old[key])):
            found[key] = now / then - 1
    return found


def _proven_cost(row: Row) -> float | None:
    """Return what a row costs, per player-tick or (idle) as percent; None if it proves nothing."""
    if row.saturated or row.failures or row.bottlenecks:
        return None
    return row.us_per_player_tick if row.us_per_player_tick is not None else row.cpu_percent
