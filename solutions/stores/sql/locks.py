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


def alone_migrating(dialect: Dialect) -> tuple[str, ...]:
    """Return the statements that begin a transaction, and keep all other migrations out.

    Not by a table: the first of them makes that, and two who make one table at once collide, even
    with IF NOT EXISTS. They wait for each other however long it takes, but not for readers of a
    table that is to be changed: behind who waits for those the whole service would wait.
    """
    if dialect == "sqlite":
        return ("BEGIN IMMEDIATE",)
    return (
        "BEGIN",
        "SET LOCAL lock_timeout = 0",
        "SELECT pg_advisory_xact_lock(hashtext('migrations'))",
        "SET LOCAL lock_timeout TO DEFAULT",
    )
