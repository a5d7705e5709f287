"""How a transaction begins that nobody else may write beside."""

from .database import Dialect


def alone_on(table: str, dialect: Dialect) -> tuple[str, ...]:
    """Return the statements that begin a transaction, and let nobody else write into a table.

    What the block reads then still holds when it writes: under the default isolation of both
    databases it need not (CWE-367). Readers go on.
    """
    if dialect == "sqlite":
        return ("BEGIN IMMEDIATE",)  # the one writer of the whole file
    return ("BEGIN", f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
