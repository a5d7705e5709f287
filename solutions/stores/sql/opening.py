"""Opens the database that DATABASE_URL names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ...support.settings import UnsafeSettings
from .database import CONNECTIONS, PATIENCE, Database

SQLITE = "sqlite:///"
DEVELOPMENT_DATABASE = "sqlite:///workbook.db"


@asynccontextmanager
async def open_database(
    url: str, connections: int = CONNECTIONS, patience: float = PATIENCE
) -> AsyncIterator[Database]:
    """Open a database until the block ends: `sqlite:///file.db`, or `postgresql://...`.

    `patience` is how many seconds a statement may take.
    Raises UnsafeSettings where a driver is missing, and for a URL that it does not understand.
    """
    if url.startswith(SQLITE):
        from .sqlite import SqliteDatabase

        file = SqliteDatabase(Path(url.removeprefix(SQLITE)), connections, patience)
        try:
            yield file
        finally:
            await file.close()
        return
    try:
        from .postgres import PostgresDatabase
    except ImportError:
        raise UnsafeSettings(
            "Not started: DATABASE_URL names PostgreSQL, and its driver is missing. "
            'Type: pip install "psycopg[binary,pool]>=3.3"'
        ) from None
    try:
        server = PostgresDatabase(url, connections, patience)
    except ValueError as error:
        raise UnsafeSettings(f"Not started: DATABASE_URL: {error}.") from None
    await server.open()
    try:
        yield server
    finally:
        await server.close()
