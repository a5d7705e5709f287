"""Looks whether the database's own wall between tenants holds for the app."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ..stores.chosen import Stores
from ..stores.sql.database import Database, StoreDown
from ..stores.sql.tenants import SqlTenants
from .settings import UnsafeSettings, get_settings
from .use_stores import OpenStores

logger = logging.getLogger("uvicorn.error")


def behind_the_wall(open_stores: OpenStores) -> OpenStores:
    """Return what opens the same stores, and refuses to start where the wall does not hold."""

    @asynccontextmanager
    async def open_and_look() -> AsyncIterator[Stores | None]:
        async with open_stores() as stores:
            if stores and isinstance(stores.tenants, SqlTenants):
                with suppress(StoreDown):  # then answers are 503 until it can be asked
                    await look_at_the_wall(stores.tenants.database)
            yield stores

    return open_and_look


async def look_at_the_wall(database: Database) -> None:
    """Refuse to serve tenants by a role that PostgreSQL lets past row-level security.

    In development it is a warning. Raises UnsafeSettings, and StoreDown.
    """
    if database.dialect == "sqlite":
        return
    rows = await database.run(
        "SELECT rolsuper OR rolbypassrls AS passes FROM pg_roles WHERE rolname = current_user"
    )
    if not rows[0]["passes"]:
        return
    sentence = (
        "The database's role is a superuser or has BYPASSRLS, so row-level security does not hold "
        "for it. Give the app a role of its own: CREATE ROLE shop LOGIN PASSWORD '...'"
    )
    if get_settings().environment == "production":
        raise UnsafeSettings(f"Not started: {sentence}")
    logger.warning(sentence)
