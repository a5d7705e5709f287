"""The SQL that the lessons' texts show, run by the standard library's sqlite3."""

import sqlite3
from collections.abc import Iterator

import pytest

from lessons.harness.catalogue import Lesson, find_lessons
from tests.test_texts import blocks


class Anything(dict[str, None]):
    """A value for each parameter that a statement names."""

    def __missing__(self, name: str) -> None:
        return None


def statements(block: str) -> Iterator[str]:
    """Return the statements of a block. Each ends in a semicolon at the end of a line."""
    statement = ""
    for line in block.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    assert not statement.strip(), f"A semicolon is missing: {statement}"


def sql_of(number: str) -> list[str]:
    """Return all statements that one lesson shows, in their order."""
    (lesson,) = (lesson for lesson in find_lessons() if lesson.number == number)
    return [each for block in blocks(lesson.readme, "sql") for each in statements(block)]


def database() -> sqlite3.Connection:
    """Return an empty database that holds what is REFERENCED to be there."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
def test_every_statement_runs(lesson: Lesson) -> None:
    empty = database()
    for statement in sql_of(lesson.number):
        empty.execute(statement, Anything()).fetchall()


class RefreshTokens:
    """Lesson 05's two tables, and its one statement."""

    def __init__(self) -> None:
        *schema, self._consume = sql_of("05")
        self._database = database()
        for statement in schema:
            self._database.execute(statement)
        for family in ("phone", "laptop"):
            row = (family, "erin", "stamp", "me items", "2030-01-01T00:00:00Z")
            names = "id, username, stamp, scopes, expires_at"
            self._database.execute(f"INSERT INTO family ({names}) VALUES (?, ?, ?, ?, ?)", row)

    def add(self, digest: str, family: str) -> None:
        row = (digest, family)
        self._database.execute("INSERT INTO refresh_token (digest, family_id) VALUES (?, ?)", row)

    def revoke(self, family: str) -> None:
        self._database.execute("UPDATE family SET revoked = TRUE WHERE id = ?", (family,))

    def consume(self, digest: str) -> list[tuple[str]]:
        return self._database.execute(self._consume, {"digest": digest}).fetchall()


def test_a_live_token_is_spent_once() -> None:
    tokens = RefreshTokens()
    tokens.add("first", "phone")
    tokens.add("other", "phone")
    assert tokens.consume("first") == [("phone",)]
    assert tokens.consume("first") == []
    assert tokens.consume("other") == [("phone",)]
    assert tokens.consume("unknown") == []


def test_a_revoked_family_is_dead_and_no_other() -> None:
    tokens = RefreshTokens()
    tokens.add("first", "phone")
    tokens.add("other", "laptop")
    tokens.revoke("phone")
    tokens.add("still on its way", "phone")
    assert tokens.consume("first") == []
    assert tokens.consume("still on its way") == []
    assert tokens.consume("other") == [("laptop",)]


def test_each_token_has_one_digest_and_a_family() -> None:
    tokens = RefreshTokens()
    tokens.add("first", "phone")
    for digest, family in (("first", "laptop"), ("second", "nobody's")):
        with pytest.raises(sqlite3.IntegrityError):
            tokens.add(digest, family)
