"""Looks whether the database's own wall between tenants holds for the app."""

import logging

from ..stores.sql.database import Database
from .settings import UnsafeSettings, get_settings

logger = logging.getLogger("uvicorn.error")


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
