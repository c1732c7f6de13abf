"""`--plot`: round trip, loss, baseline age and bytes over time, as a PNG or a page of HTML."""

import html
import io
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relay.columns import Bools
from tools.cli import UsageError
from tools.dump.datagrams import Direction
from tools.dump.sessions import Batch
from tools.dump.stats import DEFAULT_TICK_RATE
from tools.dump.tally import read_pages

NUM_BINS = 240
"""Points of each line (chosen: a line of a picture 1,200 pixels wide)."""
MIN_BIN_S = 0.1
"""Shorter bins hold too few datagrams to tell of loss."""
ENDINGS = (".png", ".html")
SIZE_INCHES = (12, 10)
DPI = 100
UP_COLOR, DOWN_COLOR = "#0072b2", "#d55e00"
"""Apart for colour-blind people too (Okabe and Ito)."""

Floats = npt.NDArray[np.float64]


class PlotView:
    """Collects, and draws at the end."""

    def __init__(self, path: str) -> None:
        """Begin. Raises: UsageError for a path that can not be written or another ending, and without matplotlib."""
        self._path = Path(path)
        if self._path.suffix not in ENDINGS:
            raise UsageError(f"plot is {path!r}; permitted: a file that ends in {' or '.join(ENDINGS)}")
        if not self._path.parent.is_dir():
            raise UsageError(f"plot is {path!r}: there is no folder {self._path.parent}")
        try:
            import matplotlib  # noqa: F401  only whether it is there
        except ImportError:
            raise UsageError("--plot needs matplotlib: pip install 'tickrelay[all]'") from None
        self._columns = {way: {name: array("d") for name in _STREAM_COLUMNS} for way in (Direction.UP, Direction.DOWN)}
        self._lost_s = {way: array("d") for way in (Direction.UP, Direction.DOWN)}
        """When datagrams of each way were seen that acknowledgements show to be lost behind the capture."""
        self._pages = {name: array("d") for name in ("time_s", "age_ms")}

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Collect a batch."""
        mask = np.ones(len(batch.seen), np.bool_) if kept is None else np.array(kept, np.bool_)
        for seen, is_kept in zip(batch.seen, mask.tolist()):
            if not is_kept or seen.direction is Direction.UNKNOWN:
                continue
            columns = self._columns[seen.direction]
            if seen.lost_s:
                self._lost_s[_OTHER[seen.direction]].extend(seen.lost_s)
            columns["time_s"].append(seen.datagram.time_s)
            columns["bytes"].append(seen.datagram.size)
            columns["expected"].append(max(0, seen.ahead))
            columns["came"].append(seen.ahead != 0)
            columns["round_trip_ms"].append(np.nan if seen.round_trip_s is None else seen.round_trip_s * 1000)
        self._take_pages(batch, mask)

    def _take_pages(self, batch: Batch, mask: Bools) -> None:
        hot = batch.update
        pages = read_pages(hot, mask[hot.place] & hot.certain) if len(hot) else None
        if pages is None:
            return
        delta = pages.since > 0
        for place, age_ticks in zip(hot.place[pages.datagram[delta]].tolist(), pages.age_ticks[delta].tolist()):
            seen = batch.seen[place]
            welcome = seen.session.welcome if seen.session is not None else None
            self._pages["time_s"].append(seen.datagram.time_s)
            self._pages["age_ms"].append(age_ticks * 1000 / (welcome.tick_rate if welcome else DEFAULT_TICK_RATE))

    def finish(self) -> None:
        """Draw into the file. Raises: OSError if it can not be written."""
        figure = self.draw()
        if self._path.suffix == ".png":
            figure.savefig(self._path, dpi=DPI)
        else:
            self._path.write_text(page_of(figure, self._path.stem), encoding="utf-8", newline="\n")

    def draw(self) -> Any:
        """Draw what was collected. Returns: a matplotlib Figure."""
        columns = {way: {name: np.array(values) for name, values in c.items()} for way, c in self._columns.items()}
        for way, lost_s in self._lost_s.items():
            columns[way]["lost_s"] = np.array(lost_s)
        pages = {name: np.array(values) for name, values in self._pages.items()}
        return draw(columns, pages)


_OTHER = {Direction.UP: Direction.DOWN, Direction.DOWN: Direction.UP}
_STREAM_COLUMNS = ("time_s", "bytes", "expected", "came", "round_trip_ms")


def draw(columns: dict[Direction, dict[str, Floats]], pages: dict[str, Floats]) -> Any:
    """Draw all panels.

    Args:
        columns: Of each direction, all (n,), n datagrams; "lost_s", (l,): when those were seen that were lost later.
        pages: Columns of the PAGE sections, (p,).
    Returns: a matplotlib Figure.
    """
    from matplotlib.figure import Figure

    times = np.concatenate([*(c["time_s"] for c in columns.values()), pages["time_s"]])
    begin_s = float(times.min()) if len(times) else 0.0
    bin_s = max(MIN_BIN_S, (float(times.max()) - begin_s) / NUM_BINS) if len(times) else MIN_BIN_S
    num_bins = int((float(times.max()) - begin_s) / bin_s) + 1 if len(times) else 1
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    trips, loss, ages, sizes = figure.subplots(4, 1, sharex=True)
    x = np.arange(num_bins) * bin_s
    for way, color, trip in ((Direction.DOWN, DOWN_COLOR, "client"), (Direction.UP, UP_COLOR, "relay")):
        own, other = columns[way], columns[_OTHER[way]]
        bins = ((own["time_s"] - begin_s) / bin_s).astype(np.int64)
        # an acknowledgement goes the other way than what it acknowledges
        trip_bins = ((other["time_s"] - begin_s) / bin_s).astype(np.int64)
        p50, p95 = _percentiles(trip_bins, other["round_trip_ms"], num_bins)
        _plot(trips, x, p50, color=color, label=f"to the {trip}, p50")
        _plot(trips, x, p95, color=color, linestyle=":", label=f"to the {trip}, p95")
        expected, came = (np.bincount(bins, own[name], num_bins) for name in ("expected", "came"))
        # A filter may have hidden those that were lost, so a bin can lie outside of the picture.
        lost_bins = ((own["lost_s"] - begin_s) / bin_s).astype(np.int64)
        lost = np.bincount(lost_bins[(lost_bins >= 0) & (lost_bins < num_bins)], minlength=num_bins)
        share = (expected - came + lost) / np.where(expected > 0, expected, np.nan)
        _plot(loss, x, np.clip(share, 0, 1) * 100, color=color, label=way.value)
        _plot(sizes, x, np.bincount(bins, own["bytes"], num_bins) / bin_s / 1000, color=color, label=way.value)
    p50, p95 = _percentiles(((pages["time_s"] - begin_s) / bin_s).astype(np.int64), pages["age_ms"], num_bins)
    _plot(ages, x, p50, color=DOWN_COLOR, label="p50")
    _plot(ages, x, p95, color=DOWN_COLOR, linestyle=":", label="p95")
    titles = ("round trip, ms", "missing, %", "age of baselines, ms", "kB/s of UDP payload")
    for panel, title in zip((trips, loss, ages, sizes), titles):
        panel.set_ylabel(title)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.legend(loc="upper right")
    sizes.set_xlabel("seconds since the first datagram")
    return figure


def _plot(panel: Any, x: npt.NDArray[np.floating[Any]], y: Floats, **style: Any) -> None:
    """Draw a line; a point between two gaps would be no line, so it gets a marker. `x`, `y`: (num_bins,)."""
    known = ~np.isnan(y)
    alone = known & ~np.append(False, known[:-1]) & ~np.append(known[1:], False)
    panel.plot(x, y, marker=".", markevery=alone, **style)


def _percentiles(bins: npt.NDArray[np.int64], values: Floats, num_bins: int) -> tuple[Floats, Floats]:
    """Percentiles 50 and 95 of the values in each bin; NaN where there are none. Returns: two of (num_bins,)."""
    result = np.full((2, num_bins), np.nan)
    known = ~np.isnan(values)
    bins, values = bins[known], values[known]
    order = np.argsort(bins, kind="stable")
    numbers, starts = np.unique(bins[order], return_index=True)
    for number, group in zip(numbers.tolist(), np.split(values[order], starts[1:])):
        if len(group):
            result[:, number] = np.percentile(group, (50, 95))
    return result[0], result[1]


def page_of(figure: Any, name: str) -> str:
    """Build a page of HTML that needs nothing else."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>tickrelay dump: {html.escape(name)}</title></head>\n<body>{svg[svg.index('<svg') :]}</body></html>\n"
    )
