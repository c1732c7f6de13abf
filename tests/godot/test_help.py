"""What the editor's help shows of the add-on's classes, as the engine itself makes it from the `##` comments.

The help leaves out what begins with "_" and has no comment. All else that a class has is an offer to whoever writes a
game, so it says what it is.
"""

import re
import shutil
import subprocess
from pathlib import Path
from subprocess import PIPE, STDOUT
from xml.etree import ElementTree

from tests.godot.engine import NOT_THE_REPOS, PROJECT

ADDON = PROJECT / "addons/tickrelay"
CLASS_NAME = re.compile(r"^class_name (\w+)", re.MULTILINE)
ENUM = re.compile(r"(.*)\n\s*enum ([A-Z]\w*)")
"""An enumeration and the line above it: what the engine writes has no place for the help of enumerations."""
SAMPLE = """class_name RelaySample
extends RefCounted

signal told
enum Kind { ONE }
enum _Own { TWO }
## Documented.
enum Good {
	## Documented too.
	THREE,
}
const LIMIT := 1
const RelayOther := preload("other.gd")
const _RelayOther := preload("other.gd")
var size := 1
## Documented.
var length := 1
var _own := 1


func grow() -> void:
	pass


func _shrink() -> void:
	pass


class RelayInner:
	extends RefCounted
"""


def help_of(godot: str, folder: Path) -> dict[str, ElementTree.Element]:
    """Let the engine write the help of a project's classes. Returns: class or inner class -> its page."""
    pages = folder / "pages"
    pages.mkdir()
    for arguments in (["--import"], ["--doctool", str(pages), "--gdscript-docs", "res://addons/tickrelay"]):
        command = [godot, "--headless", "--path", str(folder), *arguments]
        result = subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout
    found = {path.stem: ElementTree.parse(path).getroot() for path in sorted(pages.glob("*.xml"))}
    return {name: page for name, page in found.items() if not name.startswith("addons--")}


def without_help(name: str, page: ElementTree.Element) -> list[str]:
    """List what the page of a class shows without a word: the class itself, and members that are not private."""
    silent = [] if (page.findtext("brief_description") or "").strip() else [name]
    for member in page.iter():
        if member.tag not in ("signal", "constant", "member", "method"):
            continue
        text = member.findtext("description") if member.tag in ("signal", "method") else member.text
        if not (text or "").strip() and not member.attrib["name"].startswith("_"):
            silent.append(f"{name}.{member.attrib['name']}")
    return silent


def enums_without_help(name: str, script: str) -> list[str]:
    """List the enumerations of a script that have no comment."""
    return [f"{name}.{enum}" for above, enum in ENUM.findall(script) if not above.strip().startswith("##")]


def faults(godot: str, folder: Path) -> list[str]:
    """List all of a project's add-on that the help shows without a word."""
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in (folder / "addons/tickrelay").glob("*.gd")}
    named = {match[1]: text for text in scripts.values() if (match := CLASS_NAME.search(text))}
    pages = help_of(godot, folder)
    assert set(named) == {name for name in pages if "." not in name}
    silent = [fault for name, page in pages.items() for fault in without_help(name, page)]
    return sorted(silent + [fault for name, text in named.items() for fault in enums_without_help(name, text)])


def test_the_help_says_what_every_public_member_is(godot: str, tmp_path: Path) -> None:
    shutil.copytree(ADDON, tmp_path / "addons/tickrelay", ignore=NOT_THE_REPOS)
    (tmp_path / "project.godot").write_text("config_version=5\n")
    assert faults(godot, tmp_path) == []


def test_a_member_without_help_is_found(godot: str, tmp_path: Path) -> None:
    addon = tmp_path / "addons/tickrelay"
    addon.mkdir(parents=True)
    (tmp_path / "project.godot").write_text("config_version=5\n")
    (addon / "sample.gd").write_text(SAMPLE)
    (addon / "other.gd").write_text("extends RefCounted\n")
    members = ["told", "Kind", "ONE", "TWO", "LIMIT", "RelayOther", "size", "grow", "RelayInner"]
    assert faults(godot, tmp_path) == sorted(["RelaySample", *(f"RelaySample.{name}" for name in members)])
