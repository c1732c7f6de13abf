"""`tickrelay serve`: run a relay until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import errno
import logging
import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from relay.capture.blocks import build_file_head
from relay.capture.files import CaptureFiles
from relay.capture.pseudonyms import KEY_BYTES
from relay.capture.recorder import Recorder
from relay.server import RelayServer
from tools.cli import EXIT_FAILED, OneLineParser, UsageError
from tools.serve_secret import default_secret_path, load_secret
from tools.serve_settings import CONFIG_VARIABLE, ServeSettings, all_settings, merge_settings

_IN_USE = frozenset({errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)})
_NOT_OURS = frozenset({errno.EADDRNOTAVAIL, getattr(errno, "WSAEADDRNOTAVAIL", errno.EADDRNOTAVAIL)})

CAPTURE_COMMENT = (
    "Captured by the relay. Sessions, nonces, cookies, secrets, tokens, challenges and proofs are pseudonyms."
)
"""Stands in every capture file, for whoever opens it."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the subcommand. Returns: the exit code."""
    options = vars(build_parser().parse_args(argv))
    settings = merge_settings(options, environ, options.pop("config"))
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    path = Path(settings.secret_file).expanduser() if settings.secret_file else default_secret_path(environ)
    secret, warning = load_secret(path)
    if warning:
        logging.getLogger("tickrelay").warning("%s", warning)
    with asyncio.Runner(loop_factory=choose_loop(settings.no_uvloop)) as runner:
        return runner.run(_serve(settings, secret))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser: an option per setting. Values stay text; `merge_settings` checks them all alike."""
    parser = OneLineParser(
        prog="tickrelay serve",
        description="Run a relay until Ctrl-C or SIGTERM.",
        epilog="Every option can also be set in the environment (--tick-rate: TICKRELAY_TICK_RATE) and in a TOML file "
        "(tick_rate = 30). An option wins over the environment, the environment over the file.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=f"TOML file with settings (environment: {CONFIG_VARIABLE})")
    for setting in all_settings():
        text = setting.help.replace("%", "%%")
        if isinstance(setting.default, bool):
            parser.add_argument(setting.option, action="store_const", const="true", dest=setting.name, help=text)
            continue
        metavar = "|".join(setting.choices) or {int: "N", float: "SECONDS"}.get(type(setting.default), "TEXT")
        default = "" if setting.default == "" else f" (default: {setting.default})"
        parser.add_argument(setting.option, metavar=metavar, dest=setting.name, help=text + default)
    return parser


def choose_loop(no_uvloop: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory where it is installed and wanted, None for Python's own loop."""
    if no_uvloop:
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(settings: ServeSettings, secret: bytes) -> int:
    try:
        server = RelayServer(
            settings.config,
            secret=secret,
            host=settings.host,
            port=settings.port,
            transport=settings.transport,
            stages=settings.stages,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        await server.start()
    except OSError as error:
        return _explain(error, settings)
    if settings.capture:
        try:
            server.record(open_capture(settings))
        except UsageError:
            await server.stop()
            raise
    await server.serve_forever()
    return 0


def open_capture(settings: ServeSettings) -> Recorder:
    """Begin the files of a capture. Raises: UsageError if they cannot be written."""
    path = Path(settings.capture).expanduser()
    head = build_file_head(f"tickrelay {settings.config.release}", CAPTURE_COMMENT)
    try:
        files = CaptureFiles(path, settings.capture_max_mib << 20, head)
    except ValueError as error:
        raise UsageError(f"capture: {error}") from None
    except OSError as error:
        raise UsageError(f"capture: cannot write {path}: {error.strerror}") from None
    return Recorder(
        files,
        secrets.token_bytes(KEY_BYTES),
        room=settings.capture_room.encode(),
        seat=settings.capture_session,
        redact_text=settings.redact_text,
    )


def _explain(error: OSError, settings: ServeSettings) -> int:
    """Say in one line why the port could not be bound. Returns: the exit code. Raises: UsageError for a wrong host."""
    if isinstance(error, socket.gaierror) or error.errno in _NOT_OURS:
        raise UsageError(
            f"host is {settings.host!r}; permitted: an address of this machine, or a name of one"
        ) from None
    if error.errno in _IN_USE:
        text = f"UDP port {settings.port} is already in use; is another relay running? --port takes another"
    else:
        text = f"cannot listen on UDP port {settings.port}: {error.strerror}"
    print(f"tickrelay serve: {text}", file=sys.stderr)
    return EXIT_FAILED
