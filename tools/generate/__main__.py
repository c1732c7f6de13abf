"""`python -m tools.generate [--check]`: rewrite the generated files, or tell which of them are stale."""

import argparse
import sys
from pathlib import Path

from tools.generate import fingerprint, gdscript, lua, spec_tables, vectors

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds `protocol/`."""


def generated_files(root: Path) -> dict[str, str]:
    """Make every generated file. Returns: path below `root` -> the text it must have."""
    pages = {name: (root / name).read_text(encoding="utf-8") for name in (spec_tables.PATH, spec_tables.README_PATH)}
    recorded = root / fingerprint.PATH
    return {
        **{name: spec_tables.fill_blocks(page) for name, page in pages.items()},
        vectors.path(): vectors.build_text(),
        gdscript.PATH: gdscript.build_text(),
        lua.PATH: lua.build_text(),
        fingerprint.PATH: fingerprint.build_text(recorded.read_text(encoding="utf-8") if recorded.exists() else ""),
    }


def first_difference(old: str, new: str) -> str:
    """Describe the first line that differs, as "line N: -old +new" (each cut to 100 letters)."""
    old_lines, new_lines = old.splitlines(), new.splitlines()
    for number, (a, b) in enumerate(zip(old_lines, new_lines, strict=False), start=1):
        if a != b:
            return f"line {number}: -{a[:100]} +{b[:100]}"
    return f"line {min(len(old_lines), len(new_lines)) + 1}: one of the two ends here"


def main(argv: list[str], root: Path = ROOT) -> int:
    """Run the command. Returns: 0, or 1 if a file is stale (--check) or the fingerprint must not be recorded anew."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 and name each stale file")
    options = parser.parse_args(argv)
    try:
        files = generated_files(root)
    except fingerprint.FrozenLayoutError as error:
        print(error, file=sys.stderr)
        return 1
    stale = 0
    for name, text in files.items():
        path = root / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == text:
            continue
        stale += 1
        print(f"{name} {'is stale' if options.check else 'rewritten'}: {first_difference(old, text)}")
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
