"""Opens the stores that the settings name, when the server starts an app."""

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from ..stores.chosen import Stores
from ..stores.sql.database import Database, StoreDown
from ..stores.sql.migrate import HOW_TO_MIGRATE, newest_in, version_of, versions
from ..stores.sql.opening import open_database
from ..stores.sql.users import add_missing
from ..stores.users import demo_people
from .settings import Settings, UnsafeSettings, get_settings
from .use_stores import OpenStores

D = TypeVar("D", bound=Database)

logger = logging.getLogger("uvicorn.error")


def from_settings(stores_on: Callable[[Database], Stores], in_development: str = "") -> OpenStores:
    """Return what `use_stores` wants: the stores on the database of DATABASE_URL.

    `in_development` is the one for those who have set none; without any, all stay in memory.
    """
    return opened_by(open_database, stores_on, in_development)


def opened_by(
    opening: Callable[[str, int], AbstractAsyncContextManager[D]],
    stores_on: Callable[[D], Stores],
    in_development: str = "",
) -> OpenStores:
    """Return the same for those who open a database in a way of their own."""

    @asynccontextmanager
    async def open_stores() -> AsyncIterator[Stores | None]:
        settings = get_settings()
        is_development = settings.environment == "development"
        url = settings.database_url.get_secret_value() or (is_development and in_development)
        if several_workers():
            _refuse_lonely_workers(settings)
        if not url:
            yield None
            return
        async with opening(url, settings.database_connections) as database:
            stores = replace(stores_on(database), are_ready=partial(_has_new_tables, database))
            if await _look_at_the_tables(database) and is_development:
                await add_missing(database, demo_people())
            yield stores

    return open_stores


def several_workers() -> bool:
    """Tell whether other processes serve the same app, as far as uvicorn lets one know."""
    for index, word in enumerate(sys.argv):
        if word == "--workers" or word.startswith("--workers="):
            return (word.partition("=")[2] or "".join(sys.argv[index + 1 : index + 2])) != "1"
    return os.environ.get("WEB_CONCURRENCY", "") not in ("", "1")


def _refuse_lonely_workers(settings: Settings) -> None:
    """Refuse workers that would not know each other's people or attempts."""
    for name, what in (
        ("DATABASE_URL", "each would have people and sessions of its own"),
        ("LIMITS_URL", "each would count attempts for itself"),
    ):
        if not getattr(settings, name.lower()).get_secret_value():
            raise UnsafeSettings(f"Not started: several workers, and {name} is not set: {what}.")


async def _has_new_tables(database: Database) -> bool:
    return await newest_in(database) >= max(versions())


async def _look_at_the_tables(database: Database) -> bool:
    """Refuse to start on tables older than the code; False when nobody answers (yet).

    Newer ones are good: the next version's migration runs before its code does, and this code goes
    on beside it. Raises UnsafeSettings.
    """
    try:
        version = await version_of(database)
    except StoreDown:
        logger.warning("The database cannot be asked yet. Until then answers are 503.")
        return False
    if version < max(versions()):
        raise UnsafeSettings(
            f"Not started: the tables are those of version {version}, and this code needs "
            f"{max(versions())}. Type: {HOW_TO_MIGRATE}"
        )
    return True
