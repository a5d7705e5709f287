"""Lesson 10: what answers and logs give away, and what breaks the app."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

import httpx2

from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.site import Visit, good, said

DETAIL = re.compile(
    r"Traceback \(most recent call last\)|File \"[^\"]+\", line \d+|site-packages"
    r"|sqlalchemy\.|psycopg|sqlite3\.|asyncpg|pymongo|\bSELECT\b.{1,200}\bFROM\b|INSERT INTO",
    re.DOTALL,
)
JWT = re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}")
ODD = {
    "a NUL": "alice\0",
    "a lone surrogate": "alice\ud800",
    "a quote": "alice' OR '1'='1",
    "10,000 letters": "a" * 10_000,
    "no letters": "",
    "a number": 7,
    "a list": ["alice"],
    "an object": {"$gt": ""},
    "null": None,
}
PASSWORDS: dict[str, Any] = {
    "a lone surrogate in the password": "\ud800",
    "no password": "",
    "a number for a password": 7,
}


def _odd_answers(visit: Visit) -> Iterator[tuple[str, httpx2.Response]]:
    """Send a login that is odd in one thing, again and again; to a server, once."""
    if visit.site.target.in_process:
        yield from _sent_odd(visit)
        return
    visit.site.odd = visit.site.odd or [*_sent_odd(visit)]
    yield from visit.site.odd


def _sent_odd(visit: Visit) -> Iterator[tuple[str, httpx2.Response]]:
    person = visit.known()
    login = visit.about.login
    for name, value in ODD.items():
        if login.body is None and not isinstance(value, str):
            continue  # a form has nothing but texts
        yield name, visit.ask(login, places=person.places | {"username": value, "email": value})
    for name, password in PASSWORDS.items():
        if login.body is not None or isinstance(password, str):
            yield name, visit.try_login(person, password)
    route = login.method, login.path
    kind = "application/x-www-form-urlencoded" if login.form else "application/json"
    own = {"Content-Type": kind, "Origin": visit.site.target.base}
    bodies = {
        "no body": b"",
        "bytes that are no UTF-8": b"\xff\xfe\xfa",
        "half a JSON": b'{"username": ',
        "JSON nested 5,000 deep": b"[" * 5000 + b"]" * 5000,
        "a number of 5,000 digits": b'{"username": ' + b"9" * 5000 + b"}",
    }
    for name, body in bodies.items():
        yield name, visit.raw(*route, content=body, headers=own)
    multipart = {**own, "Content-Type": "multipart/form-data; boundary=x"}
    yield "half a multipart", visit.raw(*route, content=b"--x\r\nContent-", headers=multipart)


@attack(
    "odd-input",
    "an odd login crashes the request",
    lesson="10",
    level="hardening",
    authority="ASVS 16.5.3",
)
def odd_input(visit: Visit) -> Success | None:
    stranger = visit.new_person()
    for name, answer in _odd_answers(visit):
        is_down = answer.status_code == 503 and "retry-after" in answer.headers
        if answer.status_code < 500 or is_down:
            continue
        if name in PASSWORDS:
            other = visit.try_login(stranger, PASSWORDS[name])
            if other.status_code != answer.status_code:
                return Success(
                    f"{name}: {answer.status_code} for who has an account, "
                    f"{other.status_code} for nobody",
                    "leak",
                )
        return Success(f"a {said(answer)} for: {name}")
    return None


@attack(
    "error-detail",
    "an error tells what the app is made of",
    lesson="10",
    level="leak",
    authority="ASVS 16.5.1",
)
def error_detail(visit: Visit) -> Success | None:
    answers = [*_odd_answers(visit), ("no such page", visit.get("/no-such-page-at-all"))]
    answers.append(("a method that is not there", visit.raw("TRACE", visit.about.login.path)))
    for name, answer in answers:
        if found := DETAIL.search(answer.text):
            return Success(f"{name}: the answer says {' '.join(found[0].split())[:60]!r}")
    return None


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.lines.append(self.format(record))
        except Exception:  # a message that its arguments do not fit
            self.lines.append(f"{record.msg} {record.args}")


class _Copied:
    """A stream that keeps what is written to another."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Fill a list with what is logged, at the levels that the app has set, and printed."""
    kept, out, err = _Kept(), _Copied(sys.stdout), _Copied(sys.stderr)
    logging.getLogger().addHandler(kept)
    try:
        with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
            yield kept.lines
    finally:
        logging.getLogger().removeHandler(kept)
        kept.lines += [*out.text.splitlines(), *err.text.splitlines()]


@attack(
    "secrets-in-log",
    "a password or a token stands in the log",
    lesson="10",
    level="leak",
    authority="ASVS 16.2.5",
)
def secrets_in_log(visit: Visit) -> Success | None:
    if not visit.site.target.in_process:
        raise NotTried("only with --app the log can be read")
    printed = len(visit.site.logged())
    with _listening() as lines:
        person = visit.make_somebody() if visit.site.can_make_people else visit.somebody()
        ticket = visit.log_in(person)
        wrong = visit.new_person()
        visit.try_login(wrong)
        visit.me(visit.with_token(ticket, ticket.token + "x"))
        if visit.about.refresh and ticket.refresh:
            visit.renew(ticket, ticket.refresh)
        if visit.about.forgot:
            visit.ask(visit.about.forgot, places=person.places)
    lines += visit.site.logged()[printed:].splitlines()
    secrets = {
        "the password": person.password,
        "a wrong password": wrong.password,
        "the token": ticket.token,
        "the refresh token": ticket.refresh or "",
    }
    for name, secret in secrets.items():
        line = next((each for each in lines if secret and secret in each), None)
        if line:
            short = " ".join(line.replace(secret, "***").split())[:100]
            return Success(f"{name}: {short}")
    if found := next((each for each in map(JWT.search, lines) if each), None):
        return Success(f"a token: {found[0][:12]}...")
    return None


@attack(
    "missing-headers",
    "browsers are not told what they may do with an answer",
    lesson="10",
    level="hardening",
    authority="ASVS 3.4.4",
)
def missing_headers(visit: Visit) -> Success | None:
    ticket = visit.log_in(visit.somebody())
    answer = visit.me(ticket)
    if not good(answer):
        raise NotTried(f"{visit.about.me.route} does not let its user in: {said(answer)}")
    missing = []
    if answer.headers.get("x-content-type-options", "").lower() != "nosniff":
        missing.append("X-Content-Type-Options: nosniff")
    is_page = "text/html" in answer.headers.get("content-type", "")
    framed = "frame-ancestors" in answer.headers.get("content-security-policy", "")
    if is_page and not framed and "x-frame-options" not in answer.headers:
        missing.append("Content-Security-Policy with frame-ancestors")
    return Success(f"{visit.about.me.route} has no {' and no '.join(missing)}") if missing else None
