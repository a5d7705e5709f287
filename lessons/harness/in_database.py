"""`--database=URL`: the lessons run on the stores of `solutions/database.py`, not on memory.

No test knows of it: what opens a store hands out the one in the database. Whoever clears the
caches, as happens before each test, finds its tables empty.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

from lessons.harness.any_loop import AnyLoop
from lessons.harness.catalogue import find_lessons

STORES = "solutions.database"
OPENED = {  # by module: what opens its store, which one that is, and where its rows are
    "users": ("open_user_store", "users", ("users",)),
    "refresh_tokens": (
        "open_refresh_store",
        "refresh_tokens",
        ("refresh_tokens", "revoked_families"),
    ),
    "api_keys": ("open_key_store", "keys", ("api_keys",)),
    "sessions": ("open_session_store", "sessions", ("sessions",)),
    "flows": ("open_flow_store", "flows", ("flows",)),
    "identities": ("open_identity_store", "identities", ("identities",)),
    "tenants": (
        "open_tenant_store",
        "tenants",
        ("tenant_keys", "invitations", "items", "memberships", "tenants"),
    ),
}
OURS = "emptied_by_tests"  # a table that says so


class NotOurs(Exception):
    """The database cannot be used, or holds what is somebody's; the message is one sentence."""


@contextmanager
def stores_in_database(url: str) -> Iterator[None]:
    """Let all stores be in a database until the block ends. Raises NotOurs."""
    import pytest

    from solutions.stores.sql.database import StoreDown
    from solutions.support.settings import UnsafeSettings

    try:
        database = AnyLoop(url)
        _prepare(database)
    except UnsafeSettings as error:
        raise NotOurs(str(error).removeprefix("Not started: ")) from None
    except StoreDown:
        raise NotOurs("--database: it cannot be asked. Is it running, is its URL right?") from None
    stores_on = _stores_on()
    with pytest.MonkeyPatch.context() as patch:
        for name, (opens, which, tables) in OPENED.items():
            module = import_module(f"solutions.stores.{name}")
            opener = _opener(module.__name__, database, stores_on, which, tables)
            patch.setattr(module, opens, opener)
        yield
    database.close()


def _prepare(database: AnyLoop) -> None:
    """Make the tables in an empty database. Others are left alone, but for one that is ours."""
    from solutions.stores.sql.migrate import migrate, version_of

    if database.wait(version_of(database)) == 0:
        database.now(f"CREATE TABLE IF NOT EXISTS {OURS} (number bigint)")
    known = {
        "sqlite": "SELECT 1 FROM sqlite_master WHERE name = :name",
        "postgresql": "SELECT 1 FROM pg_tables WHERE tablename = :name",
    }
    if not database.now(known[database.dialect], name=OURS):
        raise NotOurs("--database: its tables are in use. The tests need an empty one.")
    database.wait(migrate(database))


def _stores_on() -> Callable[[Any], Any]:
    """Return what makes the stores. The lessons' modules that it loads are not the graded ones."""
    from solutions.stores.sql.tenants import with_tenants

    stores_on: Callable[[Any], Any] = with_tenants(import_module(STORES).stores_on)
    package = sys.modules["solutions"]
    for name in {STORES, *(lesson.module for lesson in find_lessons())} & set(sys.modules):
        del sys.modules[name]
        vars(package).pop(name.partition(".")[2], None)
    return stores_on


def _opener(
    module: str,
    database: AnyLoop,
    stores_on: Callable[[Any], Any],
    which: str,
    tables: tuple[str, ...],
) -> Callable[[], Any]:
    def open_store() -> Any:
        from solutions.stores.users import demo_people
        from solutions.support.settings import get_settings

        if which == "tenants" and database.dialect == "postgresql":
            # Row-level security lets nobody delete the rows of all tenants.
            database.now(f"TRUNCATE {', '.join(tables)}")
        else:
            for table in tables:
                database.now(f"DELETE FROM {table}")  # noqa: S608
        store = getattr(stores_on(database), which)
        if which == "users" and get_settings().environment == "development":
            for person in demo_people():
                database.wait(store.add(person))
        return store

    open_store.__module__ = module  # `candidate.clear_state` looks for it there
    return lru_cache(open_store)
