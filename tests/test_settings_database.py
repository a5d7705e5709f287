"""Settings of lesson 12: which database, how many connections, and what several workers need."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from solutions.stores.sql.migrate import versions
from solutions.support.opened_stores import several_workers
from solutions.support.rotate_keys import rotate
from solutions.support.settings import UnsafeSettings, get_settings
from tests.everyday import IS_EVERYDAY
from tests.processes import refuse_to_start

HIDDEN = "s3cret-4711"
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_ISSUER": "https://shop.example",
    "JWT_AUDIENCE": "shop",
    "JWT_SECRET": "x" * 31 + "y",
}


@pytest.mark.parametrize(
    "url",
    [
        *(f"mysql://root:{HIDDEN}@x/y", f"postgres://root:{HIDDEN}@x/y", f"{HIDDEN}.db", "sqlite:"),
        *("sqlite://x.db", " sqlite:///x.db", f"POSTGRESQL://root:{HIDDEN}@x/y"),
        f"postgresql+psycopg://root:{HIDDEN}@x/y",
    ],
)
def test_another_database_is_refused_without_its_password(
    development: pytest.MonkeyPatch, url: str
) -> None:
    development.setenv("DATABASE_URL", url)
    with pytest.raises(UnsafeSettings) as error:
        get_settings()
    assert str(error.value) == (
        "Not started: DATABASE_URL: give sqlite:///file.db, or postgresql://user:password@host/name"
    )


@pytest.mark.parametrize("number", ["0", "-1", "1001", "ten", ""])
def test_a_pool_has_some_connections(development: pytest.MonkeyPatch, number: str) -> None:
    development.setenv("DATABASE_CONNECTIONS", number)
    with pytest.raises(UnsafeSettings, match="Not started: DATABASE_CONNECTIONS: "):
        get_settings()


def test_the_url_shows_nowhere(development: pytest.MonkeyPatch) -> None:
    development.setenv("DATABASE_URL", f"postgresql://root:{HIDDEN}@x/y")
    settings = get_settings()
    assert HIDDEN not in f"{settings!r} {settings} {settings.model_dump()}"
    assert HIDDEN not in settings.model_dump_json()


@pytest.mark.parametrize("environment", ["production", "development"])
def test_a_database_needs_one_secret_for_all_its_workers(
    fresh_settings: pytest.MonkeyPatch, environment: str
) -> None:
    """Each would draw its own, and tokens would work at random (CWE-344)."""
    for name, value in PRODUCTION.items():
        fresh_settings.setenv(name, value)
    fresh_settings.setenv("ENVIRONMENT", environment)
    fresh_settings.delenv("JWT_SECRET")
    fresh_settings.setenv("DATABASE_URL", "sqlite:///x.db")
    with pytest.raises(UnsafeSettings, match="Not started: JWT_SECRET is not set"):
        get_settings()


@pytest.mark.parametrize(
    ("words", "web_concurrency", "several"),
    [
        (["uvicorn", "app"], "", False),
        (["uvicorn", "app", "--workers", "1"], "", False),
        (["uvicorn", "app", "--workers=1"], "", False),
        (["uvicorn", "app", "--workers", "4"], "", True),
        (["uvicorn", "--workers=2", "app"], "", True),
        (["uvicorn", "app"], "1", False),
        (["uvicorn", "app"], "4", True),
        (["uvicorn", "app", "--workers", "1"], "4", False),
        (["pytest", "--workers-of-mine"], "", False),
    ],
)
def test_several_workers_are_known(
    fresh_settings: pytest.MonkeyPatch, words: list[str], web_concurrency: str, several: bool
) -> None:
    fresh_settings.setattr(sys, "argv", words)
    fresh_settings.setenv("WEB_CONCURRENCY", web_concurrency)
    assert several_workers() is several


@pytest.mark.parametrize(
    "app", ["solutions.main:app", "solutions.database:app"][: 1 if IS_EVERYDAY else 2]
)
def test_workers_that_would_not_know_each_other_do_not_start(app: str, tmp_path: Path) -> None:
    sentence = refuse_to_start(app, workers="2", **PRODUCTION)
    assert sentence.startswith("Not started: several workers, and DATABASE_URL is not set: each")
    url = f"sqlite:///{tmp_path}/x.db"
    sentence = refuse_to_start(app, workers="2", DATABASE_URL=url, **PRODUCTION)
    assert sentence.startswith("Not started: several workers, and LIMITS_URL is not set: each")


def test_without_tables_it_does_not_start_and_says_what_to_type(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    sentence = refuse_to_start("solutions.main:app", DATABASE_URL=url, **PRODUCTION)
    assert sentence == (
        f"Not started: the tables are those of version 0, and this code needs {max(versions())}. "
        "Type: python -m solutions.stores.sql.migrate"
    )


def test_what_nobody_foresaw_is_no_start_in_memory(tmp_path: Path) -> None:
    """To uvicorn an app that only raises has no lifespan, and is served all the same (CWE-636)."""
    file = tmp_path / "people.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE migrations (no_number text)")
    connection.close()
    sentence = refuse_to_start("solutions.main:app", DATABASE_URL=f"sqlite:///{file}", **PRODUCTION)
    assert sentence == "Not started: WrongStatement"


def test_a_folder_that_is_not_there_is_a_warning_and_503(
    development: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a server that is not there yet: it may come back, and then all goes on."""
    from solutions.main import app

    folder = tmp_path / "later"
    development.setenv("DATABASE_URL", f"sqlite:///{folder}/x.db")
    with TestClient(app) as client:
        assert client.post("/revoke", data={"token": "x"}).status_code == 503
        folder.mkdir()
        asyncio.run(_migrate(f"sqlite:///{folder}/x.db"))
        assert client.post("/revoke", data={"token": "x"}).status_code == 200
    assert "The database cannot be asked yet" in caplog.text


async def _migrate(url: str) -> None:
    from solutions.stores.sql.migrate import migrate
    from solutions.stores.sql.opening import open_database

    async with open_database(url, 1) as database:
        await migrate(database)


def test_development_has_the_demo_people_once(
    development: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    from solutions.main import app

    development.setenv("DATABASE_URL", sqlite_url)
    login = {"username": "carol", "password": "secretcarol"}
    for _ in range(2):
        with TestClient(app) as client:
            token = client.post("/token", data=login).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            people = client.get("/admin/users", headers=headers).json()
            assert sorted(each["username"] for each in people) == [
                *("alice", "bob", "carol", "johndoe")
            ]


def test_an_app_that_refuses_to_start_says_so_at_once(
    fresh_settings: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    """What is refused by the app itself, not by its stores. It has hung here."""
    from solutions.main import app

    for name, value in (PRODUCTION | {"DATABASE_URL": sqlite_url}).items():
        fresh_settings.setenv(name, value)
    with pytest.raises(UnsafeSettings, match="SIGNING_KEYS_DIR"), TestClient(app):
        pass


@pytest.mark.asvs("6.3.2")
def test_production_begins_with_nobody(
    fresh_settings: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    from solutions.database import app

    for name, value in (PRODUCTION | {"DATABASE_URL": sqlite_url}).items():
        fresh_settings.setenv(name, value)
    fresh_settings.setenv("TRUSTED_PROXIES", "127.0.0.1")
    rotate(tmp_path / "keys")
    fresh_settings.setenv("SIGNING_KEYS_DIR", str(tmp_path / "keys"))
    login = {"username": "carol", "password": "secretcarol"}
    with TestClient(app, "https://localhost") as client:
        assert client.post("/token", data=login).status_code == 400
