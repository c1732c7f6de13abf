"""One project for all tests of a worker, and the engine, found or skipped."""

from pathlib import Path

import pytest

from tests.godot import engine


@pytest.fixture(scope="session")
def godot() -> str:
    return engine.find_godot4()


@pytest.fixture(scope="session")
def godot3() -> str:
    return engine.find_godot3()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engine.make_project(tmp_path_factory.mktemp("godot"))
