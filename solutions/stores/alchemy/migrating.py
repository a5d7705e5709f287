"""Makes and changes the tables with Alembic, so that plain SQL's `migrate` agrees.

The table `migrations` says which version there is, for both. Alembic's own note of it follows: so
either goes on from where the other has stopped.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...support.settings import UnsafeSettings, get_settings
from ..sql.database import A_DAY, StoreDown
from ..sql.locks import alone_migrating
from ..sql.migrate import CANNOT_BE_ASKED, NOTES
from ..sql.opening import DEVELOPMENT_DATABASE
from .engine import AlchemyDatabase, open_alchemy
from .models import Base, MigrationRow

INI = Path(__file__).with_name("alembic.ini")


def config_on(connection: Connection) -> Config:
    """Return what Alembic's commands want, on a connection that is open already."""
    config = Config(INI)
    config.attributes["connection"] = connection
    return config


@asynccontextmanager
async def alone(database: AlchemyDatabase) -> AsyncIterator[AsyncConnection]:
    """Open a step beside which nobody else migrates."""
    async with database.transaction(*alone_migrating(database.dialect)):
        await database.run(NOTES)
        yield await database.connection()


def run(context: Any) -> None:
    """Do what an Alembic command asks for: `env.py` calls this.

    `context` is `alembic.context`. All of it is one step, and of two that are started at once the
    second finds it done.
    """
    if context.is_offline_mode():
        raise CommandError("Not without a database: plain SQL is in ../sql/migrations.")
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run_on(connection, context)
        return
    logging.basicConfig(format="%(message)s")
    logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
    try:
        asyncio.run(_open_and_run(context))
    except StoreDown:
        raise CommandError(CANNOT_BE_ASKED) from None
    except UnsafeSettings as error:
        raise CommandError(str(error)) from None


async def _open_and_run(context: Any) -> None:
    settings = get_settings()
    url = settings.database_url.get_secret_value()
    if not url and settings.environment == "development":
        url = DEVELOPMENT_DATABASE
    if not url:
        raise CommandError("DATABASE_URL is not set. It names the database.")
    async with open_alchemy(url, 1, A_DAY) as database, alone(database) as connection:
        await connection.run_sync(_run_on, context)


def _run_on(connection: Connection, context: Any) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        on_version_apply=_agree,
    )
    migration: MigrationContext = context.get_context()
    newest = connection.scalar(select(func.coalesce(func.max(MigrationRow.number), 0))) or 0
    known = {int(each.revision) for each in context.script.walk_revisions()}
    if newest not in {0, *known}:
        raise CommandError(f"The tables have version {newest}, and here are {sorted(known)}.")
    migration.stamp(context.script, f"{newest:04}" if newest else "base")
    with context.begin_transaction():
        context.run_migrations()


def _agree(ctx: MigrationContext, heads: set[str], **rest: object) -> None:
    """Let the table `migrations` say what Alembic has just noted."""
    newest = max(map(int, heads), default=0)
    connection = ctx.connection
    assert connection is not None
    connection.execute(delete(MigrationRow).where(MigrationRow.number > newest))
    there = set(connection.scalars(select(MigrationRow.number)))
    for number in {*range(1, newest + 1)} - there:
        connection.execute(insert(MigrationRow).values(number=number))
