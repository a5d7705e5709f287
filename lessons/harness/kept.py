"""What the given stores keep, in memory or in a database: for tests that look inside."""

from collections.abc import Callable
from typing import Any

TABLES = {  # by the name of a store's method that no other one has
    "replace_hash": ("users",),
    "consume": ("refresh_tokens", "revoked_families"),
    "touch": ("sessions",),
    "take": ("flows",),
    "claim": ("identities",),
}


def flows_in(store: Any) -> dict[tuple[str, str], Any]:
    """Return the logins under way, by session and state."""
    if not _is_in_database(store):
        flows: dict[tuple[str, str], Any] = store._flows
        return flows
    from solutions.stores.sql.flows import _to_flow

    found = map(_to_flow, store.database.now("SELECT * FROM flows ORDER BY number"))
    return {(flow.session, flow.state): flow for flow in found}


def sessions_in(store: Any, pre_sessions: bool = False) -> dict[str, Any]:
    """Return the sessions of people by digest, or else the pre-sessions."""
    if not _is_in_database(store):
        kept: dict[str, Any] = store._pre_sessions if pre_sessions else store._sessions
        return kept
    from solutions.stores.sql.sessions import _to_session

    found = map(_to_session, store.database.now("SELECT * FROM sessions ORDER BY number"))
    return {each.digest: each for each in found if bool(each.username) != pre_sessions}


def put_back(store: Any, kept: Any) -> None:
    """Put a flow or a pre-session back that was there before."""
    if _is_in_database(store):
        if hasattr(store, "take"):
            store.database.wait(store.take(kept.session, kept.state))
        store.database.wait(store.add(kept))
    elif hasattr(store, "take"):
        store._flows[kept.session, kept.state] = kept
    else:
        store._pre_sessions[kept.digest] = kept


def with_people(store: Any, people: list[Any], kind: Any = None) -> Any:
    """Return a store of the same kind, or of another one, that has these people and nobody else.

    In a database it has the same table: nobody is there but they.
    """
    kind = kind or type(store)
    if not _is_in_database(store):
        return kind(people)
    store.database.now("DELETE FROM users")
    for person in people:
        store.database.wait(store.add(person))
    return kind(store.database)


def keeps_none(store: Any) -> bool:
    """Tell whether a store takes None where a text has to be. The tables of a database do not."""
    return not _is_in_database(store)


def a_live_digest_in(store: Any) -> str:
    """Return the digest of a refresh token that is neither spent nor revoked."""
    if not _is_in_database(store):
        return str(list(store._tokens)[-1])
    rows = store.database.now(
        "SELECT digest FROM refresh_tokens WHERE spent = 0"
        " AND family NOT IN (SELECT family FROM revoked_families)"
    )
    return str(rows[0]["digest"])


def snapshot(store: Any) -> Callable[[], None]:
    """Return what puts a store back as it is now."""
    if _is_in_database(store):
        return _snapshot_of_rows(store)
    kept = {name: dict(value) for name, value in vars(store).items() if isinstance(value, dict)}

    def put_back() -> None:
        for name, value in kept.items():
            setattr(store, name, dict(value))

    return put_back


def text_of(store: Any) -> str:
    """Return all that a store keeps, as one text."""
    return repr(rows_in(store) if _is_in_database(store) else vars(store))


def rows_in(store: Any) -> Any:
    """Return the rows of a store in a database by table, or else the store itself."""
    if not _is_in_database(store):
        return store
    tables = next((TABLES[name] for name in TABLES if hasattr(store, name)), ("api_keys",))
    return {table: store.database.now(f"SELECT * FROM {table}") for table in tables}  # noqa: S608


def _snapshot_of_rows(store: Any) -> Callable[[], None]:
    kept = rows_in(store)

    def put_back() -> None:
        for table, rows in kept.items():
            store.database.now(f"DELETE FROM {table}")  # noqa: S608
            for row in rows:
                values = ", ".join(f":{name}" for name in row)
                columns = ", ".join(row)
                insert = f"INSERT INTO {table} ({columns}) VALUES ({values})"  # noqa: S608
                store.database.now(insert, **row)

    return put_back


def _is_in_database(store: Any) -> bool:
    return hasattr(store, "database")
