"""What the lesson on databases makes of a statement for PostgreSQL, as the server does."""

import pytest

from lessons.harness.postgresql import is_look, locks, missing_lock, refuse, with_old_copies
from lessons.harness.verdicts import Refused

SPEND = "UPDATE refresh_tokens SET spent = 1"


@pytest.mark.parametrize(
    "sql",
    [
        "LOCK TABLE users",
        "lock users in share row exclusive mode;",
        "LOCK TABLE ONLY users, refresh_tokens IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE",
        "SELECT pg_advisory_xact_lock(12)",
        "SELECT 1 FROM users FOR UPDATE",
        "SELECT 1 FROM users ORDER BY username FOR NO KEY UPDATE OF users;",
    ],
)
def test_one_at_a_time_changes_people(sql: str) -> None:
    refuse(sql)
    assert locks(sql) and not is_look(sql)
    assert missing_lock(["BEGIN", sql]) == ""


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("LOCK TABLE users IN ROW EXCLUSIVE MODE", "Two can hold ROW EXCLUSIVE at once"),
        ("LOCK TABLE sessions", "another table"),
        ("SELECT 1 FROM users WHERE role = 'superadmin' FOR UPDATE", "other people's rows"),
        ("SELECT 1 FROM sessions FOR UPDATE", "Only some rows"),
        ("SELECT 1 FROM users FOR SHARE", "Nothing makes a second block wait"),
        ("SELECT 1 FROM users", "Nothing makes a second block wait"),
    ],
)
def test_two_at_a_time_change_people(sql: str, why: str) -> None:
    refuse(sql)
    assert why in missing_lock(["BEGIN", sql])


@pytest.mark.parametrize(
    "sql",
    [
        "SET LOCAL lock_timeout = '50ms'",
        "SET LOCAL lock_timeout TO 50",
        "SET LOCAL statement_timeout = '1s'",
        "SELECT set_config('lock_timeout', '50', true)",
        "LOCK TABLE users IN EXCLUSIVE MODE NOWAIT",
        "SELECT 1 FROM users FOR UPDATE SKIP LOCKED",
        "SELECT pg_try_advisory_xact_lock(12)",
        "SELECT pg_advisory_lock(12)",
        "SET LOCAL synchronous_commit = off",
        "SET LOCAL synchronous_commit TO 'off'",
        "SELECT set_config('synchronous_commit', 'off', true)",
        "BEGIN READ ONLY",
        "LOCK TABLE users IN SHARE MODE",
    ],
)
def test_who_does_not_wait_is_refused(sql: str) -> None:
    with pytest.raises(Refused):
        refuse(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SET LOCAL lock_timeout = '5s'",
        "SET LOCAL lock_timeout = 0",
        "SET LOCAL synchronous_commit = on",
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        f"{SPEND} WHERE digest = :digest AND spent = 0",
    ],
)
def test_other_statements_are_not_refused(sql: str) -> None:
    refuse(sql)


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        (
            f"{SPEND} FROM refresh_tokens AS live WHERE live.spent = 0",
            f"{SPEND} FROM old_refresh_tokens AS live WHERE live.spent = 0",
        ),
        (
            f"{SPEND} WHERE digest IN (SELECT digest FROM refresh_tokens WHERE spent = 0)",
            f"{SPEND} WHERE digest IN"
            " (SELECT digest FROM old_refresh_tokens AS refresh_tokens WHERE spent = 0)",
        ),
        (
            f"WITH a AS (SELECT 1 FROM users u JOIN refresh_tokens ON 1 = 1) {SPEND} FROM a",
            "WITH a AS (SELECT 1 FROM old_users u JOIN old_refresh_tokens AS refresh_tokens"
            f" ON 1 = 1) {SPEND} FROM a",
        ),
        ("DELETE FROM refresh_tokens WHERE spent = 0", None),
        (f"{SPEND} WHERE refresh_tokens.spent = 0 RETURNING digest, family", None),
        (f"{SPEND} WHERE digest IN (SELECT digest FROM refresh_tokens FOR UPDATE)", None),
    ],
)
def test_who_waited_reads_all_other_rows_as_they_were(sql: str, read: str | None) -> None:
    assert with_old_copies(sql, "old_") == (read or sql)
