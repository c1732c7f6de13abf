"""The add-on in a game whose classes have the names that come to mind first.

GDScript has one space for the names of classes: `class_name Entity` in a game stops every script from compiling that
has an inner class of this name, or a type annotation with an enumeration or a preloaded script called so.
"""

import re
import shutil
import subprocess
from pathlib import Path
from subprocess import PIPE, STDOUT

from tests.godot.engine import NOT_THE_REPOS, PROJECT, complaints

ADDON = PROJECT / "addons/tickrelay"
NAMES_IN_GAMES = ["Connection", "Entity", "Log", "Packet", "Page", "Player", "Request", "Session", "State", "Table"]
DECLARED = re.compile(r"^\s*(?:class|enum|const|signal|class_name) ([A-Z]\w*[a-z]\w*)", re.MULTILINE)
LOAD_ALL = """extends SceneTree

func _initialize() -> void:
	for file in DirAccess.get_files_at("res://addons/tickrelay"):
		if file.ends_with(".gd"):
			print("loaded ", file, ": ", load("res://addons/tickrelay/" + file) != null)
	quit()
"""


def test_a_game_may_name_its_classes_as_it_likes(godot: str, tmp_path: Path) -> None:
    scripts = sorted(ADDON.glob("*.gd"))
    declared = {name for script in scripts for name in DECLARED.findall(script.read_text(encoding="utf-8"))}
    taken = sorted({name for name in declared if not name.startswith("Relay")} | set(NAMES_IN_GAMES))
    assert {"Status", "Kind"} <= set(taken)  # what is public, or of the wire, has the names of SPEC.md
    shutil.copytree(ADDON, tmp_path / "addons/tickrelay", ignore=NOT_THE_REPOS)
    (tmp_path / "project.godot").write_text("config_version=5\n")
    (tmp_path / "all.gd").write_text(LOAD_ALL)
    for name in taken:
        (tmp_path / f"game_{name}.gd").write_text(f"class_name {name}\nextends RefCounted\n")

    def run(*arguments: str) -> str:
        command = [godot, "--headless", "--path", str(tmp_path), *arguments]
        return subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, timeout=60, check=True).stdout

    run("--import")  # from now on the engine knows the game's classes
    known = (tmp_path / ".godot/global_script_class_cache.cfg").read_text(encoding="utf-8")
    assert all(f'&"{name}"' in known for name in [*taken, "RelayClient"])
    log = run("--script", "res://all.gd")
    assert complaints(log) == []
    assert re.findall(r"loaded (\S+): true", log) == [script.name for script in scripts]
