"""The command itself: what it does without a subcommand, and how it ends."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from relay.config import RelayConfig
from tools import cli


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tickrelay {RelayConfig().release}\n"


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    shown = capsys.readouterr().err
    assert all(f"  {command}" in shown for command in cli.COMMANDS)


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    assert "serve" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["srve"], ["--nope"]])
def test_an_unknown_command_or_option_is_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and arguments[0] in shown


def test_a_usage_error_of_a_subcommand_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(argv: Any, environ: Any) -> int:
        raise cli.UsageError(f"{argv} {environ}")

    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(main=fails))
    assert cli.main(["serve", "--x"], {"A": "b"}) == 2
    assert capsys.readouterr().err == "tickrelay serve: ['--x'] {'A': 'b'}\n"


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(argv: Any, environ: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(main=interrupted))
    assert cli.main(["demo"]) == 130


def test_a_subcommand_is_imported_only_when_called() -> None:
    code = "import sys, tools.cli; tools.cli.main(['--version']); print(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tools.serve", "tools.ping", "tools.demo", "rich", "numpy.f2py"} & set(shown)


def test_serve_needs_no_extra() -> None:
    code = "import sys; sys.modules['rich'] = None; import tools.serve; print(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "relay.server" in shown and "tools.demo" not in shown


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "demo", "--rooms", "0"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "tickrelay demo: rooms is 0; permitted: 1 to 8\n")
