"""Opens the stores that the settings name, when the server starts an app."""

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..stores.chosen import Stores
from ..stores.sql.database import Database, StoreDown
from ..stores.sql.migrate import HOW_TO_MIGRATE, version_of, versions
from ..stores.sql.opening import open_database
from ..stores.users import demo_people
from .settings import Settings, UnsafeSettings, get_settings
from .use_stores import OpenStores

logger = logging.getLogger("uvicorn.error")


def from_settings(stores_on: Callable[[Database], Stores], in_development: str = "") -> OpenStores:
    """Return what `use_stores` wants: the stores on the database of DATABASE_URL.

    `in_development` is the one for those who have set none; without any, all stay in memory.
    """

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
        async with open_database(url, settings.database_connections) as database:
            stores = stores_on(database)
            await _look_at_the_tables(database)
            if is_development:
                for person in demo_people():
                    await stores.users.add(person)
            yield stores

    return open_stores


def several_workers() -> bool:
    """Tell whether other processes serve the same app, as far as uvicorn lets one know."""
    for index, word in enumerate(sys.argv):
        if word == "--workers" or word.startswith("--workers="):
            return (word.partition("=")[2] or "".join(sys.argv[index + 1 : index + 2])) != "1"
    return os.environ.get("WEB_CONCURRENCY", "1") != "1"


def _refuse_lonely_workers(settings: Settings) -> None:
    """Refuse workers that would not know each other's people or attempts."""
    for name, what in (
        ("DATABASE_URL", "each would have people and sessions of its own"),
        ("LIMITS_URL", "each would count attempts for itself"),
    ):
        if not getattr(settings, name.lower()).get_secret_value():
            raise UnsafeSettings(f"Not started: several workers, and {name} is not set: {what}.")


async def _look_at_the_tables(database: Database) -> None:
    """Refuse to start on tables older than the code. Raises UnsafeSettings."""
    try:
        version = await version_of(database)
    except StoreDown:
        logger.warning("The database cannot be asked yet. Until then answers are 503.")
        return
    if version < max(versions()):
        raise UnsafeSettings(
            f"Not started: the tables are those of version {version}, and this code needs "
            f"{max(versions())}. Type: {HOW_TO_MIGRATE}"
        )
