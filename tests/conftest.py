"""Fixtures of the workbook's own tests. Light on purpose: a learner's run loads it too."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lessons.harness.grade import Grade
    from tests.contract import Kind

# In the background of a script Ctrl-C is ignored, here and in whatever is begun here. Some tests
# press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What takes longest, and what mostly waits, begins first where tests run side by side: at the end
# nobody waits for it alone.
FIRST = (
    *("candidates", "keys", "blame", "watch", "make_it_yours", "limit", "deploy", "workers"),
    *("outages", "social_browser", "session_browser", "lessons_in_database", "apps", "classroom"),
    *("command_line", "notebooks", "handout", "floors", "database_app", "output", "surroundings"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask last for what is judged in the background meanwhile."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_turn)
    else:
        items.sort(key=_is_judged)


def _turn(item: pytest.Item) -> int:
    name = item.path.stem.removeprefix("test_")
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _is_judged(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "judged" in item.fixturenames


@pytest.fixture(scope="session")
def judged(request: pytest.FixtureRequest) -> "Iterator[dict[object, Future[Grade]]]":
    """Judge in the background what the selected tests ask for."""
    from tests.candidates import begin_asked

    running = begin_asked([item for item in request.session.items if _is_judged(item)])
    yield running
    for future in running.values():  # after a first failure with -x, say
        future.cancel()


@pytest.fixture(scope="session", autouse=True)
def _judging(request: pytest.FixtureRequest) -> None:
    """Begin with it at once. Most other tests keep one core busy, and wait for servers."""
    is_alone = "PYTEST_XDIST_WORKER" not in os.environ  # each worker would judge them all
    if is_alone and any(map(_is_judged, request.session.items)):
        request.getfixturevalue("judged")


@pytest.fixture(autouse=True)
def _leaves_no_setting() -> Iterator[None]:
    """A variable that a test leaves behind fails another test, far away and not always."""
    before = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    yield
    after = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    assert after == before


@pytest.fixture
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without settings, and the caches of solutions/ cleared around the test."""
    from lessons.harness.candidate import clear_caches
    from solutions.support.settings import Settings

    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    clear_caches()
    yield monkeypatch
    clear_caches()


@pytest.fixture
def development(fresh_settings: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Development with cheap hashes and a secret."""
    fresh_settings.setenv("ENVIRONMENT", "development")
    fresh_settings.setenv("JWT_SECRET", "x" * 31 + "y")
    fresh_settings.setenv("BCRYPT_ROUNDS", "4")
    return fresh_settings


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[Callable[[], str]]:
    """Make databases with all tables on one server of this run; skips where there is none."""
    from tests.postgres import migrated_postgres

    with migrated_postgres() as (server, template):
        yield lambda: server.new_database(template)


@pytest.fixture
def postgres_url(new_postgres: Callable[[], str]) -> str:
    """A database of this test's own on PostgreSQL, with all tables."""
    return new_postgres()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, to be copied."""
    import asyncio

    from solutions.stores.sql.migrate import migrate
    from solutions.stores.sql.opening import open_database

    file = tmp_path_factory.mktemp("sqlite") / "template.db"

    async def make() -> None:
        async with open_database(f"sqlite:///{file}", 1) as database:
            await migrate(database)

    asyncio.run(make())
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A database of this test's own in a file, with all tables."""
    file = tmp_path / "test.db"
    file.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of this test's own, of each kind, with all tables."""
    kind = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return str(request.getfixturevalue(kind))


@pytest.fixture(scope="session")
def _kind_on_sqlite(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Kind"]:
    from tests.contract import kind_on

    file = tmp_path_factory.mktemp("sqlite") / "shared.db"
    file.write_bytes(sqlite_template.read_bytes())
    with kind_on(f"sqlite:///{file}", "sqlite") as kind:
        yield kind


@pytest.fixture(scope="session")
def _kind_on_postgresql(new_postgres: Callable[[], str]) -> Iterator["Kind"]:
    from tests.contract import kind_on

    with kind_on(new_postgres(), "postgresql") as kind:
        yield kind


@pytest.fixture(scope="session")
def _kind_on_sqlite_by_alchemy(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Kind"]:
    from tests.alchemy_kind import alchemy_kind_on

    file = tmp_path_factory.mktemp("sqlite") / "alchemy.db"
    file.write_bytes(sqlite_template.read_bytes())
    with alchemy_kind_on(f"sqlite:///{file}", "sqlite_by_alchemy") as kind:
        yield kind


@pytest.fixture(scope="session")
def _kind_on_postgresql_by_alchemy(new_postgres: Callable[[], str]) -> Iterator["Kind"]:
    from tests.alchemy_kind import alchemy_kind_on

    with alchemy_kind_on(new_postgres(), "postgresql_by_alchemy") as kind:
        yield kind


DATABASES = ["sqlite", "postgresql", "sqlite_by_alchemy", "postgresql_by_alchemy"]


@pytest.fixture(params=["memory", "slow", *DATABASES])
def new_stores(request: pytest.FixtureRequest) -> "Kind":
    """Make empty stores of each kind: `new_stores().users`."""
    from tests.contract import Kind

    if request.param in ("memory", "slow"):
        return Kind(request.param)
    return request.getfixturevalue(f"_kind_on_{request.param}")  # type: ignore[no-any-return]


@pytest.fixture(params=DATABASES)
def new_rows(request: pytest.FixtureRequest) -> "Kind":
    """Make empty stores in a database of each kind: `new_rows().users`."""
    return request.getfixturevalue(f"_kind_on_{request.param}")  # type: ignore[no-any-return]
