"""The shared vectors decode and encode in GDScript to the same values and bytes as in Python."""

import json
from pathlib import Path

import pytest

from tests.godot.engine import ROOT, Godot

FILES = sorted((ROOT / "protocol/vectors").glob("revision*.json"))
SERVER_ONLY = {"page_ids", "num_pages", "age_of_delay", "sample_times"}
"""Groups of rules that only a server follows."""


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_vector_holds_in_gdscript(godot: str, project: Path, path: Path) -> None:
    vectors = json.loads(path.read_text(encoding="utf-8"))
    told = Godot.start(godot, project, "vectors.gd", str(path)).finish()
    groups = {name: len(cases) for name, cases in vectors.items() if isinstance(cases, list)}
    assert {line["event"]: line["cases"] for line in told} == {
        name: count for name, count in groups.items() if name not in SERVER_ONLY
    }
    assert {line["event"]: line["failed"] for line in told if line["failed"]} == {}
