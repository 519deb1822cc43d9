"""Books on disk, and a worker's view of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from activities.ledger import create_engine, migrate
from tests.money.house import House, opened


@pytest.fixture(scope="module")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    migrate(engine)
    engine.dispose()
    return folder


@pytest.fixture
def folder(empty_books: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_books, tmp_path / "books"))


@pytest.fixture
def house(folder: Path) -> Iterator[House]:
    with opened(folder) as house:
        yield house
