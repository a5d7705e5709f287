"""What PostgreSQL makes of a statement, as far as races go: its manual, 13.2 and 13.3."""

import re
from collections.abc import Iterable

from lessons.harness.verdicts import Refused

PATIENCE = 1_500  # milliseconds that a connection waits anyway
TABLES = ("users", "refresh_tokens", "revoked_families")

LOOK = re.compile(r"\s*(SELECT|WITH)\b(?!.*\b(UPDATE|INSERT|DELETE)\s)", re.I | re.S)
LOCK = re.compile(
    r"\s*LOCK\s+((?!IN\b)[\w.,\"]+\s*)+(\bIN\s+(?P<mode>[A-Z\s]+?)\s+MODE)?\s*;?\s*$", re.I
)
ALONE = ("ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE")
ADVISORY = re.compile(r"\bpg_advisory_xact_lock\s*\(", re.I)
ROWS = re.compile(r"\s+FOR\s+(NO\s+KEY\s+)?UPDATE(\s+OF\s+\w+)?(?=\s*;?\s*($|\)))", re.I)
BEGIN = re.compile(r"\s*(BEGIN|START\s+TRANSACTION)\b(?!\s+(IMMEDIATE|EXCLUSIVE|DEFERRED)\b)", re.I)
SETTING = re.compile(r"\s*(SET|SELECT\s+(pg_catalog\.)?set_config\s*\()\s*", re.I)
ISOLATED = re.compile(r"\b(REPEATABLE\s+READ|SERIALIZABLE)\b", re.I)
TIMEOUT = re.compile(
    r"\b(lock|statement|transaction|idle_in_transaction_session)_timeout\b(\W|\bTO\b)*"
    r"(?P<number>\d+)\s*(?P<unit>us|ms|s|min|h|d)?",
    re.I,
)
UNITS = {"us": 0.001, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
REFUSED = {
    r"\bNOWAIT\b": "NOWAIT: the second is refused, not made to wait.",
    r"\bSKIP\s+LOCKED\b": "SKIP LOCKED: nobody waits, and what is locked is left out.",
    r"\bpg_try_advisory": "a lock that is only tried makes nobody wait.",
    r"\bpg_advisory_lock": "a lock of the session is still held after the transaction.",
    r"\bsynchronous_commit\b(\W|\bTO\b)*(off|false|no|0)\b": (
        "without synchronous_commit, what was answered may be lost."
    ),
    r"\bREAD\s+ONLY\b": "READ ONLY: a block writes as well.",
}
_AFTER = (
    "WHERE|ON|JOIN|INNER|LEFT|RIGHT|FULL|CROSS|NATURAL|ORDER|GROUP|HAVING|LIMIT|UNION|EXCEPT"
    "|INTERSECT|SET|RETURNING|FOR|USING|WINDOW|OFFSET|FETCH"
)
_COPY = re.compile(
    rf"(?P<before>\b(?:FROM|JOIN|TABLE)\s+(?:ONLY\s+)?\(?|,\s*)(?P<table>{'|'.join(TABLES)})\b"
    rf"(?!\s*\.)(?P<alias>\s+(?:AS\s+)?(?!(?:{_AFTER})\b)\w+)?",
    re.I,
)


def is_look(sql: str) -> bool:
    """Tell whether a statement only looks."""
    return bool(LOOK.match(sql)) and not locks(sql)


def locks(sql: str) -> bool:
    """Tell whether a statement makes others wait, until the transaction ends."""
    return bool(mode_of(sql) in ALONE or ADVISORY.search(sql) or ROWS.search(sql))


def mode_of(sql: str) -> str:
    """Return the mode of a LOCK TABLE, or ''."""
    found = LOCK.match(sql)
    return " ".join((found["mode"] or ALONE[0]).upper().split()) if found else ""


def missing_lock(statements: Iterable[str]) -> str:
    """Return why more than one at a time may change people, or '' where they may not."""
    of_tables = [each for each in statements if LOCK.match(each)]
    for each in statements:
        all_rows = ROWS.search(each) and not re.search(r"\b(WHERE|LIMIT)\b", each, re.I)
        if ADVISORY.search(each) or (all_rows and re.search(r"\busers\b", each, re.I)):
            return ""
        if mode_of(each) in ALONE and re.search(r"\busers\b", each, re.I):
            return ""
    if any(ROWS.search(each) for each in statements):
        return "Only some rows are locked: other people's rows can be written meanwhile."
    if of_tables and not re.search(r"\busers\b", " ".join(of_tables), re.I):
        return "The lock is on another table than `users`."
    if of_tables:
        return f"Two can hold {mode_of(of_tables[0])} at once: it does not conflict with itself."
    return "Nothing makes a second block wait: look at the table of locks in PostgreSQL's manual."


def refuse(sql: str) -> None:
    """Raise Refused for a statement after which somebody does not wait, or is not heard."""
    for pattern, sentence in REFUSED.items():
        if re.search(pattern, sql, re.I):
            raise Refused(f"On PostgreSQL: {sentence}")
    if mode_of(sql) == "SHARE":
        raise Refused(
            "On PostgreSQL: both hold SHARE, then wait for each other: it does not conflict with "
            "itself."
        )
    if (found := TIMEOUT.search(sql)) and SETTING.match(sql):
        wait = float(found["number"]) * UNITS[(found["unit"] or "ms").lower()]
        if 0 < wait < PATIENCE:
            raise Refused("On PostgreSQL, with a timeout, the second is refused, not made to wait.")


def refuse_isolated(level: str) -> None:
    """Raise Refused for a block that looks before it holds a lock, and keeps what it saw."""
    if level == "SERIALIZABLE":
        told = "SERIALIZABLE makes nobody wait: one of two is ended with an error."
    else:
        told = f"{level} keeps what it saw first: whoever waited sees what was before."
    raise Refused(f"On PostgreSQL: {told}")


def with_old_copies(sql: str, before: str) -> str:
    """Return a statement that reads all but the row that it writes as it was before its wait.

    Whoever waited for a row looks at that row again, and at nothing else (13.2.1).
    """
    if ROWS.search(sql):  # then it is the SELECT that waits
        return sql

    def old(found: re.Match[str]) -> str:
        if re.search(r"\b(DELETE|INSERT)\s+$", sql[: found.start()], re.I):
            return found[0]
        alias = found["alias"] or f" AS {found['table']}"
        return f"{found['before']}{before}{found['table']}{alias}"

    return _COPY.sub(old, sql)
