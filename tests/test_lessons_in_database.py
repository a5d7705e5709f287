"""`pytest lessons --database=URL`: the lessons on the stores in a database."""

import sqlite3
from pathlib import Path

import pytest

from tests.judge import run_pytest

LESSONS = [f"lessons/{number:02}" for number in range(1, 12)]


def test_all_lessons_pass_on_a_database_of_each_kind(database_url: str, tmp_path: Path) -> None:
    url = (
        f"sqlite:///{tmp_path}/new.db"
        if database_url.startswith("sqlite")
        else _empty(database_url)
    )
    done = run_pytest(*LESSONS, "--solutions", f"--database={url}")
    assert done.stdout.count("15 of 15") == len(LESSONS), done.stdout + done.stderr
    assert done.stdout.count("attacks refused: 11 of 11") == len(LESSONS), done.stdout
    assert done.returncode == 0


def _empty(url: str) -> str:
    """Take all tables away."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


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
