"""The import arrows, the places of clocks, sockets and randomness, and the sizes of things.

Each rule is a function from sources to complaints. So each is also tested on a planted violation: a rule that cannot
fail proves nothing.
"""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("protocol", "relay", "tools")
MAY_IMPORT = {"protocol": {"protocol"}, "relay": {"relay", "protocol"}, "tools": {"tools", "relay", "protocol"}}
IO_MODULES = {"asyncio", "datetime", "selectors", "signal", "socket", "time", "uvloop"}
RANDOM_NAMES = {"random", "secrets", "uuid", "os.urandom", "numpy.random"}
IO_PLACES = ("relay/server", "relay/client", "relay/client_lists", "relay/transport/", "tools/")
RANDOM_PLACES = ("relay/server", "relay/client", "relay/client_lists", "tools/")
TOP_LEVEL = {"pyproject.toml", "relay", "protocol", "tests", "tools", "README.md", "LICENSE", "CHANGELOG.md"}
MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 600

Sources = dict[str, str]
"""Path below the root -> text."""


def sources(*folders: str) -> Sources:
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def in_folder_or_file(path: str, places: tuple[str, ...]) -> bool:
    """Tell whether a path is one of the places: a folder (ends in /), or a module or package of that name."""
    return any(
        path.startswith(place if place.endswith("/") else f"{place}/") or path == f"{place}.py" for place in places
    )


def for_types_only(tree: ast.Module) -> set[ast.AST]:
    """All nodes under `if TYPE_CHECKING:`; they never run."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            found |= {inner for child in node.body for inner in ast.walk(child)}
    return found


def imported_names(text: str, path: str, at_run_time: bool = False) -> Iterator[str]:
    """Yield every dotted name that a module imports, with what it takes from there: "os.urandom", "relay.engine"."""
    tree = ast.parse(text)
    skipped = for_types_only(tree) if at_run_time else set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.split("/")[: -node.level]) if node.level else ""
            module = ".".join(part for part in (package, node.module) if part)
            yield from (f"{module}.{name.name}" for name in node.names)


def wrong_arrows(files: Sources) -> list[str]:
    """Imports between our packages against the arrows, and imports of what another package keeps private."""
    complaints = []
    for path, text in files.items():
        package = path.split("/")[0]
        for name in imported_names(text, path):
            target = name.split(".")[0]
            if target in (*PACKAGES, "tests") and target not in MAY_IMPORT[package]:
                complaints.append(f"{path} imports {name}")
            elif target in PACKAGES and target != package and any(part.startswith("_") for part in name.split(".")):
                complaints.append(f"{path} imports the private {name}")
    return complaints


def within(name: str, forbidden: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[: i + 1]) in forbidden for i in range(len(parts)))


def wrong_io(files: Sources) -> list[str]:
    """Clocks, sockets and event loops outside the few places that may have them."""
    return [
        f"{path} imports {name}"
        for path, text in files.items()
        if not in_folder_or_file(path, IO_PLACES)
        for name in imported_names(text, path, at_run_time=True)
        if within(name, IO_MODULES)
    ]


def wrong_randomness(files: Sources) -> list[str]:
    """Random numbers that were not handed in."""
    complaints = []
    for path, text in files.items():
        if in_folder_or_file(path, RANDOM_PLACES):
            continue
        used = {
            ast.unparse(node).replace("np.", "numpy.", 1)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute)
        }
        used = {name for name in used if name.startswith(("os.urandom", "numpy.random"))}
        names = [*imported_names(text, path, at_run_time=True), *sorted(used)]
        complaints += [f"{path} uses {name}" for name in names if within(name, RANDOM_NAMES)]
    return complaints  # fmt: skip


def missing_tests(source_paths: list[str], test_paths: set[str]) -> list[str]:
    """Source files of protocol/ and relay/ without a test file of their own; __init__ and generated ones apart."""
    complaints = []
    for path in source_paths:
        folder, _, name = path.rpartition("/")
        if name.startswith(("__", "generated_")):
            continue
        wanted = f"tests/{folder}/test_{name.lstrip('_')}"
        if wanted not in test_paths:
            complaints.append(f"{path} has no {wanted}")
    return complaints


def unexpected_entries(paths: list[str]) -> list[str]:
    """Entries of the top level that do not belong there, and those that are missing."""
    entries = {path.split("/")[0] for path in paths}
    extra = {entry for entry in entries - TOP_LEVEL if not entry.startswith(".")}
    return [f"{entry} does not belong here" for entry in sorted(extra)] + [
        f"{entry} is missing" for entry in sorted(TOP_LEVEL - entries)
    ]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def too_long(files: Sources) -> list[str]:
    """Modules beyond the cap of the house style, in whatever language."""
    lengths = {path: text.count("\n") for path, text in files.items()}
    return [f"{path} has {length} lines" for path, length in lengths.items() if length > MAX_MODULE_LINES]


def too_large(files: Sources) -> list[str]:
    """Functions and modules beyond the caps of the house style."""
    complaints = too_long(files)
    for path, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > MAX_FUNCTION_LINES:
                complaints.append(f"{path}: {node.name} has {code_lines(node)} lines")
    return complaints


# --- The rules hold


def test_imports_follow_the_arrows() -> None:
    assert wrong_arrows(sources(*PACKAGES)) == []


def test_clocks_and_sockets_are_where_they_may_be() -> None:
    assert wrong_io(sources(*PACKAGES)) == []


def test_randomness_is_handed_in() -> None:
    assert wrong_randomness(sources(*PACKAGES)) == []


def test_every_source_file_has_a_test_file() -> None:
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert missing_tests(list(sources("protocol", "relay")), tests) == []


def test_functions_and_modules_stay_small() -> None:
    assert too_large(sources(*PACKAGES)) == []


def test_scripts_of_the_add_on_are_small() -> None:
    """All but the generated one, which nobody reads."""
    paths = [path for path in sorted((ROOT / "tools/godot").rglob("*.gd")) if not path.name.startswith("generated_")]
    assert len(paths) > 50
    assert too_long({path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}) == []


def test_the_top_level_has_exactly_what_belongs_there() -> None:
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    assert unexpected_entries([path for path in listed if path and (ROOT / path).exists()]) == []


# --- The rules can fail


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("protocol/a.py", "import relay.engine"),
        ("protocol/a.py", "from relay import engine"),
        ("protocol/client/a.py", "def f():\n    import tools.cli"),
        ("protocol/client/a.py", "from ...relay import engine"),
        ("relay/a.py", "from tools.cli import main"),
        ("relay/a.py", "from tests.sim import network"),
        ("tools/a.py", "import tests"),
        ("relay/a.py", "from protocol.codec import _KINDS"),
        ("tools/a.py", "from relay._hidden import x"),
    ],
)
def test_a_wrong_arrow_is_found(path: str, text: str) -> None:
    assert wrong_arrows({path: text})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("protocol/a.py", "import protocol.codec\nfrom protocol import constants"),
        ("relay/a.py", "from protocol.codec import decode\nimport relay.engine"),
        ("relay/a.py", "from relay.engine import _private_within_the_package"),
        ("tools/a.py", "from relay.client import RelayClient"),
        ("protocol/client/a.py", "from . import b\nfrom ..codec import decode"),
    ],
)
def test_a_right_arrow_is_not(path: str, text: str) -> None:
    assert wrong_arrows({path: text}) == []


@pytest.mark.parametrize("name", sorted(IO_MODULES))
@pytest.mark.parametrize("path", ["protocol/a.py", "relay/engine.py", "relay/clients.py", "relay/servers/a.py"])
def test_a_clock_or_socket_in_the_core_is_found(path: str, name: str) -> None:
    assert wrong_io({path: f"import {name}"})
    assert wrong_io({path: f"def f():\n    from {name} import x"})


@pytest.mark.parametrize(
    "path", ["relay/server.py", "relay/server/loop.py", "relay/client/a.py", "relay/transport/a.py", "tools/cli.py"]
)
def test_a_clock_or_socket_at_the_edge_is_not(path: str) -> None:
    assert wrong_io({path: "import asyncio, socket, time"}) == []


def test_a_clock_for_types_only_is_not() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import random, asyncio\n"
    assert wrong_io({"relay/a.py": text}) == wrong_randomness({"relay/a.py": text}) == []


@pytest.mark.parametrize(
    "text",
    [
        "import random",
        "from random import Random",
        "import secrets",
        "from os import urandom",
        "import os\nx = os.urandom(3)",
        "import numpy as np\nx = np.random.default_rng()",
        "from numpy.random import default_rng",
    ],
)
@pytest.mark.parametrize("path", ["protocol/a.py", "relay/a.py", "relay/transport/a.py"])
def test_randomness_of_its_own_is_found(path: str, text: str) -> None:
    assert wrong_randomness({path: text})
    assert wrong_randomness({"relay/server.py": text}) == []


def test_a_source_file_without_a_test_is_found() -> None:
    paths = ["relay/log.py", "protocol/client/inbox.py", "relay/__init__.py", "relay/_rows.py"]
    tests = {"tests/relay/test_log.py", "tests/relay/test_rows.py", "tests/protocol/test_inbox.py"}
    assert missing_tests(paths, tests) == ["protocol/client/inbox.py has no tests/protocol/client/test_inbox.py"]


def test_a_stray_or_missing_entry_of_the_top_level_is_found() -> None:
    good = [f"{entry}/x" for entry in TOP_LEVEL] + [".ci/run", ".gitignore"]
    assert unexpected_entries(good) == []
    assert unexpected_entries([*good, "setup.py"]) == ["setup.py does not belong here"]
    assert unexpected_entries(good[1:]) == [f"{good[0].split('/')[0]} is missing"]


def test_a_large_function_or_module_is_found() -> None:
    body = "".join(f"    x{i} = {i}\n" for i in range(MAX_FUNCTION_LINES))
    docstring = '    """One.\n\n    Two.\n    """\n'
    assert too_large({"relay/a.py": f"def f():\n{body}"}) == [f"relay/a.py: f has {MAX_FUNCTION_LINES + 1} lines"]
    assert too_large({"relay/a.py": f"class A:\n    async def f(self):\n{body.replace('    ', '        ')}"})
    assert too_large({"relay/a.py": f"def f():\n{docstring}{body[: body.rindex('    x')]}"}) == []
    assert too_large({"relay/a.py": "x = 1\n" * MAX_MODULE_LINES}) == []
    assert too_large({"relay/a.py": "x = 1\n" * (MAX_MODULE_LINES + 1)})
