"""What `tickrelay serve` can be told, and where: option > environment > TOML file > default.

Every field of RelayConfig is a setting under its own name, with the words that stand under the field: nothing is typed
twice. All values are checked here or by RelayConfig before anything is started, and an error names the place.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.constants import DEFAULT_PORT
from relay.config import RelayConfig, documented_fields, field_docs
from relay.rooms import is_code
from relay.sessions import ROW_BITS
from relay.stages import STAGES
from relay.transport.selection import TRANSPORTS
from tools.cli import UsageError

ENVIRONMENT_PREFIX = "TICKRELAY_"
TEST_VARIABLES = frozenset({"TICKRELAY_FULL", "TICKRELAY_REQUIRE"})
"""What the tests of this project read; a relay that they start sees them too."""
CONFIG_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"
LOG_LEVELS = ("debug", "info", "warning", "error")
MAX_PORT = 65_535
_CAPTURE_RANGES = {"capture_session": (0, 1 << ROW_BITS), "capture_max_mib": (32, 1 << 20)}
"""A file, a quarter of all, then holds the largest batch (4,096 datagrams, 5 MiB)."""


@dataclass(frozen=True)
class Setting:
    """One thing that can be set."""

    name: str
    """Name in a TOML file; option and variable are made from it."""
    default: int | float | bool | str
    """Its type is the setting's type."""
    help: str
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """Name on the command line: --tick-rate."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name in the environment: TICKRELAY_TICK_RATE."""
        return ENVIRONMENT_PREFIX + self.name.upper()


SERVE_SETTINGS = (
    Setting(
        "host",
        "",
        "Name or address to listen on. Empty: all IPv4 and IPv6 addresses. Give one if the machine has several, so "
        "that answers leave from the address that was asked.",
    ),
    Setting(
        "port", DEFAULT_PORT, "UDP port, 1 ... 65,535, or 0 for any free one. Clients take the default if told none."
    ),
    Setting(
        "transport",
        "auto",
        "How to read and send: batch (many datagrams per system call, 64-bit Linux), asyncio (everywhere), or auto for "
        "the better one that is there.",
        TRANSPORTS,
    ),
    Setting(
        "stages",
        "auto",
        "How datagrams are handled: compiled (about half the time; needs the extra `fast`), columns (everywhere), or "
        "auto for the better one that is there.",
        STAGES,
    ),
    Setting(
        "secret_file",
        "",
        "File with the relay's 32-byte secret; created if missing. With the same one a relay that was started again "
        "tells clients of the one before at once. Empty: $STATE_DIRECTORY/secret, or ~/.local/state/tickrelay/secret.",
    ),
    Setting(
        "capture",
        "",
        "Write all traffic into this pcapng file, for `tickrelay dump`, Wireshark and bug reports. Sessions and "
        "secrets are replaced by pseudonyms. Older files get a number: FILE.1.pcapng.",
    ),
    Setting("capture_room", "", "Capture only the room with this code."),
    Setting(
        "capture_session",
        0,
        "Capture only the Nth session, counted from 1 in the order of joining; when one leaves its number is given to "
        "the next who joins. 0: all.",
    ),
    Setting("capture_max_mib", 256, "Largest size of all files of the capture together, 32 ... 1,048,576 MiB."),
    Setting("redact_text", False, "Blank messages, signals and names in the capture, at the same lengths."),
    Setting("log_level", "info", "Least level of log lines.", LOG_LEVELS),
    Setting("no_uvloop", False, "Use Python's own event loop even where uvloop is installed."),
)
"""Settings of the command itself; the others are those of the relay."""
_NOT_SETTABLE = frozenset({"release"})


def all_settings() -> list[Setting]:
    """List serve's own settings, then the fields of RelayConfig."""
    docs = field_docs()
    relay = [Setting(name, value, docs[name]) for name, value in documented_fields() if name not in _NOT_SETTABLE]  # type: ignore[arg-type]
    return [*SERVE_SETTINGS, *relay]


@dataclass(frozen=True)
class ServeSettings:
    """All settings, checked."""

    config: RelayConfig
    host: str | None
    port: int
    transport: str
    stages: str
    secret_file: str
    capture: str
    capture_room: str
    capture_session: int
    capture_max_mib: int
    redact_text: bool
    log_level: str
    no_uvloop: bool


def merge_settings(options: Mapping[str, Any], environ: Mapping[str, str], config_path: str | None) -> ServeSettings:
    """Take each setting from the first place that has it.

    Args:
        options: What the command line said, by setting name; None where it said nothing.
        environ: The environment.
        config_path: TOML file of --config, if given; otherwise the environment may name one.
    Raises: UsageError with one line that names what is wrong and where.
    """
    settings = {setting.name: setting for setting in all_settings()}
    values = {name: setting.default for name, setting in settings.items()}
    places: dict[str, str] = {}
    path = config_path or environ.get(CONFIG_VARIABLE)
    for place, given in (
        (str(path), _read_file(path, settings) if path else {}),
        ("environment", _read_environment(environ, settings)),
        ("command line", {name: value for name, value in options.items() if value is not None}),
    ):
        for name, value in given.items():
            values[name] = _checked(settings[name], value, place)
            places[name] = place
    return _build(values, places)


def _read_file(path: str, settings: Mapping[str, Setting]) -> dict[str, Any]:
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    for name in values:
        if name not in settings:
            raise UsageError(f"{path}: unknown key {name!r}{_suggestion(name, settings)}")
    return values


def _read_environment(environ: Mapping[str, str], settings: Mapping[str, Setting]) -> dict[str, Any]:
    by_variable = {setting.variable: setting for setting in settings.values()}
    given = {}
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and variable != CONFIG_VARIABLE:
            if variable in TEST_VARIABLES:
                continue
            if variable not in by_variable:
                raise UsageError(f"environment: unknown variable {variable}{_suggestion(variable, by_variable)}")
            given[by_variable[variable].name] = text
    return given


def _suggestion(name: str, known: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _checked(setting: Setting, value: Any, place: str) -> int | float | bool | str:
    """Turn a value into the setting's type. Text from command line or environment is parsed; TOML has types."""
    kind = type(setting.default)
    name = f"{setting.name} ({place})"
    if kind is bool:
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        parsed = words.get(str(value).lower())
        if parsed is None:
            raise UsageError(f"{name} is {value!r}; permitted: true or false")
        return parsed
    if kind is str:
        if not isinstance(value, str) or (setting.choices and value not in setting.choices):
            raise UsageError(f"{name} is {value!r}; permitted: {', '.join(setting.choices) or 'text'}")
        return value
    is_text = isinstance(value, str) and place in ("command line", "environment")
    is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    try:
        if is_text or is_number:
            return kind(value)
    except ValueError:
        pass
    raise UsageError(f"{name} is {value!r}; permitted: {'a whole number' if kind is int else 'a number'}")


def _build(values: dict[str, Any], places: Mapping[str, str]) -> ServeSettings:
    own = {setting.name: values.pop(setting.name) for setting in SERVE_SETTINGS}
    if not 0 <= own["port"] <= MAX_PORT:
        raise UsageError(f"port ({places['port']}) is {own['port']}; permitted: 0 to {MAX_PORT}")
    own["capture_room"] = own["capture_room"].upper()
    _check_capture(own, places)
    try:
        config = RelayConfig(**values)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        place = f" ({places[name]})" if name in places else ""
        raise UsageError(f"{name}{place} {rest}") from None
    return ServeSettings(config=config, host=own.pop("host") or None, **own)


def _check_capture(own: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """Check the settings of a capture against each other."""
    for name in ("capture_room", "capture_session", "redact_text"):
        if own[name] and not own["capture"]:
            raise UsageError(
                f"{name} ({places[name]}) is of no use without capture; give a file: --capture FILE.pcapng"
            )
    room, seat = own["capture_room"], own["capture_session"]
    if room and seat:
        raise UsageError("capture_room and capture_session exclude each other; permitted: one of the two")
    if room and not is_code(room.encode()):
        raise UsageError(f"capture_room ({places['capture_room']}) is {room!r}; permitted: 1 to 16 of A-Z, 0-9 and '-'")
    for name, (low, high) in _CAPTURE_RANGES.items():
        if not low <= own[name] <= high:
            raise UsageError(f"{name} ({places[name]}) is {own[name]}; permitted: {low:,} to {high:,}")
