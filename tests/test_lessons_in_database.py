"""`pytest lessons --database=URL`: the lessons on the stores in a database."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from solutions.stores.sql.opening import open_database
from tests.judge import run_pytest
from tests.postgres import QUICK, postgres

LESSONS = [f"lessons/{number:02}" for number in range(1, 14)]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind. In PostgreSQL an ordinary role's, so that its wall holds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new.db"
        return
    with postgres(**QUICK) as server:
        server.execute("CREATE ROLE shop LOGIN PASSWORD 'shop'")
        name = server.new_database().rpartition("/")[2]
        server.execute(f"ALTER DATABASE {name} OWNER TO shop")
        yield f"postgresql://shop:shop@127.0.0.1:{server.port}/{name}"


def test_all_lessons_pass_on_a_database_of_each_kind(empty_url: str) -> None:
    done = run_pytest(*LESSONS, "--solutions", f"--database={empty_url}")
    assert done.stdout.count("15 of 15") == len(LESSONS), done.stdout + done.stderr
    assert done.stdout.count("attacks refused: 1") == len(LESSONS), done.stdout
    assert done.returncode == 0
    assert asyncio.run(rows_left(empty_url)) > 3, "Lesson 13 was on memory."


async def rows_left(url: str) -> int:
    """Count what the last test has left of tenants; nobody deletes it after that."""
    async with open_database(url, 1) as database:
        sizes = {  # row-level security shows no rows
            "sqlite": "SELECT count(*) AS size FROM memberships",
            "postgresql": "SELECT pg_relation_size('memberships') AS size",
        }
        return int((await database.run(sizes[database.dialect]))[0]["size"])


@pytest.mark.parametrize("plugin", [[], ["-p", "tests.on_alchemy"]], ids=["sql", "alchemy"])
def test_lesson_13_comes_again_on_its_own_rows(empty_url: str, plugin: list[str]) -> None:
    """The tables of the run before are emptied, though nobody sees all of their rows."""
    tests = ["-k", "members_and_items or last_owner"]
    for _ in range(2):
        done = run_pytest("lessons/13", "--solutions", f"--database={empty_url}", *tests, *plugin)
        assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_second_run_uses_the_same_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    for _ in range(2):
        done = run_pytest("lessons/03", "--solutions", f"--database={url}")
        assert "15 of 15" in done.stdout, done.stdout


def test_a_learner_s_own_file_can_be_graded_on_one(tmp_path: Path) -> None:
    candidate = Path("lessons/03_login/naive.py").resolve()
    url = f"sqlite:///{tmp_path}/new.db"
    done = run_pytest("lessons/03", f"--candidate={candidate}", f"--database={url}")
    assert "Lesson 03 login" in done.stdout and "open" in done.stdout, done.stdout
    assert "StoreDown" not in done.stdout + done.stderr


def test_somebody_s_tables_are_left_alone(sqlite_url: str) -> None:
    file = sqlite_url.removeprefix("sqlite:///")
    row = "'erin', 'user', '[]', 'stamp', 'hash'"
    columns = "username, role, scopes, security_stamp, hashed_password"
    with sqlite3.connect(file) as connection:
        connection.execute(f"INSERT INTO users ({columns}) VALUES ({row})")
    done = run_pytest("lessons/03", "--solutions", f"--database={sqlite_url}")
    assert "its tables are in use" in done.stdout + done.stderr, done.stdout
    assert done.returncode != 0
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT username FROM users").fetchall() == [("erin",)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--database=mysql://x"], "--database: give sqlite:///new.db, or postgresql://..."),
        (["--database=new.db"], "--database: give sqlite:///new.db, or postgresql://..."),
        (["--database=sqlite:///x.db", "--candidate-dir=."], "--database goes without"),
        (["--solutions", "--database=sqlite:////no/such/folder/x.db"], "it cannot be asked"),
        (["--solutions", "--database=postgresql://a:b@127.0.0.1:1/x"], "it cannot be asked"),
    ],
)
def test_what_cannot_be_is_one_sentence(options: list[str], sentence: str) -> None:
    done = run_pytest("lessons/03", *options)
    assert sentence in done.stdout + done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode != 0


def test_lesson_12_has_a_database_of_its_own(tmp_path: Path) -> None:
    done = run_pytest("lessons/12", "--solutions", f"--database=sqlite:///{tmp_path}/x.db")
    assert "--database is for the other lessons: lesson 12" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode != 0
