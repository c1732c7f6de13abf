"""What a made-up network does to datagrams, and how a user writes it: `wifi`, `latency=40,loss=1`, `mobile,up.loss=5`.

Everything is said for ONE direction and one way: a latency of 40 ms in both directions adds 80 ms to a round trip.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

from tools.cli import UsageError

PERCENT = 100.0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What happens to the datagrams of one direction of one path. The default is a perfect network."""

    latency_ms: float = 0.0
    """Least time from one end to the other, 0 ... 10,000 ms."""
    jitter_ms: float = 0.0
    """Mean of what is added to the latency, anew for each datagram, 0 ... 2,000 ms.

    Exponential: most are hardly late and a few are very late, as behind a queue that others use too (the time in an
    M/M/1 queue is distributed so); cut off at 8 times the mean. Jitter alone never reorders: a datagram waits for the
    one before it. So of those that are sent closer together than the jitter, all wait for the latest.
    """
    loss_percent: float = 0.0
    """Share of datagrams that get lost, 0 ... 100 %; those that a full queue drops (`bandwidth_kbit`) come on top."""
    burst: float = 1.0
    """Mean number of datagrams that are lost in a row, 1 ... 1,000 (Gilbert's model; the mean loss stays).

    Independent losses have a mean length too, 1 / (1 - loss). This one or less means independent.
    """
    duplicate_percent: float = 0.0
    """Share of the datagrams that arrive which arrive twice, 0 ... 100 %; the copy right behind, unless reordered."""
    reorder_percent: float = 0.0
    """Share of the datagrams that arrive which are held back so long that one or two later ones overtake them,
    0 ... 100 %. Nothing is held longer than 0.5 s, so who sends less than twice a second is not reordered."""
    bandwidth_kbit: float = 0.0
    """Capacity in kbit/s, IPv4 and UDP headers (28 bytes) included; 0 = no cap, otherwise 1 ... 10,000,000.

    Behind it is a queue: a datagram that would wait longer than 0.25 s before it begins to leave is dropped.
    """

    def __post_init__(self) -> None:
        """Check every range. Raises: ValueError naming field, value and permitted range."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:g}; permitted: {low:g} to {high:,g}")
        if 0 < self.bandwidth_kbit < MIN_BANDWIDTH_KBIT:
            raise ValueError(
                f"bandwidth_kbit is {self.bandwidth_kbit:g}; permitted: 0 (no cap), or {MIN_BANDWIDTH_KBIT:g} to "
                f"{RANGES['bandwidth_kbit'][1]:,.0f}"
            )


RANGES: dict[str, tuple[float, float]] = {
    "latency_ms": (0.0, 10_000.0),
    "jitter_ms": (0.0, 2_000.0),
    "loss_percent": (0.0, PERCENT),
    "burst": (1.0, 1_000.0),
    "duplicate_percent": (0.0, PERCENT),
    "reorder_percent": (0.0, PERCENT),
    "bandwidth_kbit": (0.0, 10_000_000.0),
}
"""Field -> permitted range. Chosen: each goes far beyond what a game could be played on."""
MIN_BANDWIDTH_KBIT = 1.0
"""Below it one datagram would take longer than 10 s."""


@dataclass(frozen=True)
class Path:
    """Both directions between one client and the relay."""

    up: Conditions = field(default_factory=Conditions)
    """From the client to the relay."""
    down: Conditions = field(default_factory=Conditions)
    """From the relay to the client."""


KEYS = {field.name.partition("_")[0]: field.name for field in fields(Conditions)}
"""What a user writes -> field: latency -> latency_ms."""
UNITS = {"ms": " ms", "percent": " %", "kbit": " kbit/s"}


def _alike(**values: float) -> Path:
    conditions = Conditions(**values)
    return Path(conditions, conditions)


def _with_bandwidth(up_kbit: float, down_kbit: float, **values: float) -> Path:
    return Path(
        Conditions(bandwidth_kbit=up_kbit, **values),
        Conditions(bandwidth_kbit=down_kbit, **values),
    )


PRESETS: dict[str, Path] = {
    # None of these were measured by us: chosen, of the size that such lines usually have. Real ones differ widely.
    "none": Path(),
    # A cable to a switch in the same house.
    "lan": _alike(latency_ms=0.2, jitter_ms=0.1),
    # A home line to a relay in the same country, the last metres by radio with neighbours on the same channel.
    "wifi": _alike(latency_ms=12.0, jitter_ms=4.0, loss_percent=0.5, burst=2.0),
    # 4G with good reception.
    "mobile": _with_bandwidth(
        5_000.0, 20_000.0, latency_ms=30.0, jitter_ms=10.0, loss_percent=1.0, burst=3.0, reorder_percent=0.5
    ),
    # 3G, or 4G from a moving train.
    "bad-mobile": _with_bandwidth(
        500.0, 2_000.0, latency_ms=80.0, jitter_ms=40.0, loss_percent=5.0, burst=6.0, duplicate_percent=0.5,
        reorder_percent=1.0,
    ),
    # Geostationary: up and down again are 72,000 km, 240 ms at the speed of light, and there is equipment at both ends.
    "satellite": _with_bandwidth(
        3_000.0, 20_000.0, latency_ms=280.0, jitter_ms=10.0, loss_percent=1.0, burst=4.0
    ),
}  # fmt: skip
"""Name -> path."""


def parse_conditions(text: str) -> Path:
    """Read what a user wrote: a preset, key=value pairs, or a preset and pairs that change it, with commas between.

    Args:
        text: A key without prefix is for both directions, `up.` and `down.` are for one. Of a key that stands twice
            the last wins.
    Raises: UsageError with one line that names the wrong part and what is permitted.
    """
    items = [item.strip() for item in text.split(",")]
    path = PRESETS["none"]
    if items[0] in PRESETS:
        path = PRESETS[items.pop(0)]
    up, down = dict(_values(path.up)), dict(_values(path.down))
    for item in items:
        directions, name, value = _parse_pair(item)
        for direction in directions:
            {"up": up, "down": down}[direction][name] = value
    try:
        return Path(Conditions(**up), Conditions(**down))
    except ValueError as error:
        raise UsageError(f"conditions {text!r}: {error}") from None


def _values(conditions: Conditions) -> Iterator[tuple[str, float]]:
    for name in KEYS.values():
        yield name, getattr(conditions, name)


def _parse_pair(item: str) -> tuple[tuple[str, ...], str, float]:
    """Split `up.loss=1` into directions, field and value. Raises: UsageError."""
    key, equals, value = item.partition("=")
    direction, dot, rest = key.strip().partition(".")
    directions: tuple[str, ...] = ("up", "down")
    if dot and direction in directions:
        directions, key = (direction,), rest
    key = key.strip()
    if not equals or key not in KEYS:
        raise UsageError(
            f"conditions have {item!r}; permitted: [up.|down.]KEY=VALUE with KEY one of {', '.join(KEYS)}, "
            f"or first one of {', '.join(PRESETS)}"
        )
    try:
        return directions, KEYS[key], float(value)
    except ValueError:
        raise UsageError(f"conditions have {item!r}; permitted: a number, such as {key}=5") from None


def parse_mix(texts: Sequence[str]) -> list[tuple[float, Path]]:
    """Read paths for shares of many clients: `30%:mobile`, `10%:latency=200,loss=5`, `wifi`.

    Args:
        texts: As for `parse_conditions`, each perhaps with a share before it. Those without one get equal shares of
            what is left. If each has one and they leave something, that is for a perfect network.
    Returns: (share, path), shares above 0 to 1 with the sum 1, in the order of the texts, what was left over last.
    Raises: UsageError with one line.
    """
    mix = [_parse_share(text) for text in texts]
    left = PERCENT - sum(share for share, _ in mix if share is not None)
    num_open = sum(share is None for share, _ in mix)
    if left < -ROUNDING or (num_open and left <= ROUNDING):
        wanted = f"and {num_open} without a share" if num_open else "together"
        raise UsageError(f"shares are {PERCENT - left:g} % {wanted}; permitted: 100 % for all")
    if not num_open and left > ROUNDING:
        mix.append((left, PRESETS["none"]))
    return [((left / num_open if share is None else share) / PERCENT, path) for share, path in mix]


ROUNDING = 1e-9
"""Percent: sums of decimal fractions are not exact."""


def _parse_share(text: str) -> tuple[float | None, Path]:
    """Split a share off. Returns: (percent or None, path). Raises: UsageError."""
    share, colon, conditions = text.rpartition(":")
    if not colon:
        return None, parse_conditions(text)
    try:
        percent = float(share.strip().removesuffix("%")) if share.strip().endswith("%") else 0.0
    except ValueError:
        percent = 0.0
    if not 0.0 < percent <= PERCENT:
        raise UsageError(f"share is {share!r}; permitted: above 0% to 100%, as in 30%:{conditions or 'wifi'}")
    return percent, parse_conditions(conditions)


def describe_path(path: Path) -> str:
    """Write a path for humans: "latency 40 ms, loss 1 % up and 2 % down; one way"; what is not set is left out."""
    perfect = Conditions()
    parts = []
    for key, name in KEYS.items():
        unit = UNITS.get(name.rpartition("_")[2], "")
        up, down, unset = (getattr(conditions, name) for conditions in (path.up, path.down, perfect))
        if up != down:
            parts.append(f"{key} {up:g}{unit} up and {down:g}{unit} down")
        elif up != unset:
            parts.append(f"{key} {up:g}{unit}")
    return f"{', '.join(parts)}; one way" if parts else "nothing added"
