"""What both databases have in common: statements, transactions, and how they fail."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

Dialect = Literal["sqlite", "postgresql"]
Row = Mapping[str, Any]
Value = str | int | None  # text and whole numbers: what both keep alike

CONNECTIONS = 10  # of a process at once
PATIENCE = 1.5  # seconds to wait for a connection, for it to be whole, and for an answer
A_DAY = 86_400.0  # the same for an answer to a migration, which may have much to do


class StoreDown(Exception):
    """The database cannot be asked, or does not answer in time. Nothing is known to have happened.

    It says no more: what a driver says names hosts and people, and quotes values (CWE-209).
    """


class WrongStatement(Exception):
    """The database refuses a statement for what it says: a mistake of ours, not of its caller.

    Its text has none of the values.
    """


class Conflict(WrongStatement):
    """A rule of the tables forbids a row, as that there is one of that key already."""


class Unstorable(ValueError):
    """A text that a database cannot keep: one with a NUL, or with half a character."""


class Database(Protocol):
    """A database, open on the event loop that opened it."""

    dialect: Dialect

    async def run(self, sql: str, **values: Value) -> list[Row]:
        """Run one statement with its `:names` filled in, and return the rows that it yields.

        Alone it is a transaction of its own, done when this returns. Values never become a part of
        the statement (CWE-89). Raises StoreDown,
        Unstorable, and WrongStatement.
        """

    def transaction(self, *begin: str) -> AbstractAsyncContextManager[None]:
        """Let the statements of a block be one step: all of them are done, or none.

        `begin` are the statements that open it, if not just BEGIN. Within another one of the same
        task it is a part of that one. Raises StoreDown.
        """


def check(values: Mapping[str, Value]) -> None:
    """Raise Unstorable for what one of the databases could not keep, so that both refuse it."""
    for value in values.values():
        if isinstance(value, str) and not _is_storable(value):
            raise Unstorable("This text cannot be kept")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Unstorable("This number cannot be kept")


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
