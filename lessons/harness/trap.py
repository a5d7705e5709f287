"""A trap for secrets: holds all that is written while it is on, and knows each spelling.

What a task or a thread is called counts as written: asyncio and logging write it.

It takes what somebody could have switched off, too: records of every logger from DEBUG up, whatever
the logger's level, handlers and `propagate`, with their extra fields and exceptions, and warnings
that a filter hides. And what is printed.
"""

import asyncio
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from lessons.harness.outside import system_log
from lessons.harness.spelling import Text, holds
from lessons.harness.spellings import spellings

__all__ = ["Trap", "holds", "listening", "spellings"]

CLIENTS = ("httpx", "httpcore")  # they log each address that they ask
HOST = re.compile(r"https?://[^/?#@\s]*(?=[/?#\s]|$)")  # it is no secret, and also in tokens
MOST = 20_000  # letters of one piece or line; somebody may log or print a megabyte
SHOWN = 60  # letters of a line
TIMES = 3  # a time of day, or how long it took, is not the same as often
WORD = re.compile(r"[\w+/=-]{3,}")
STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class Trap:
    """What was written, piece by piece, each with its place."""

    def __init__(self, addresses: bool = False) -> None:
        self.records = 0  # of logs
        self.addresses = addresses
        self._taken: list[tuple[str, str]] = []
        self._streams: list[tuple[str, Callable[[], str]]] = []
        self._everything = "", Text("")  # read once, however often something is refused

    def take(self, place: str, text: str) -> None:
        """Add what was written somewhere. The place is the beginning of a sentence."""
        self._taken.append((place, _cut(text)))

    def follow(self, place: str, stream: Callable[[], str]) -> None:
        """Add what a stream holds whenever it is asked."""
        self._streams.append((place, stream))

    @property
    def pieces(self) -> list[tuple[str, str]]:
        """All that was written so far: where, and what."""
        streams = [(place, stream().splitlines()) for place, stream in self._streams]
        return self._taken + [(place, "\n".join(map(_cut, lines))) for place, lines in streams]

    def refuse(self, secrets: Mapping[str, str]) -> None:
        """Assert that none of these secrets was written, in any spelling, whole or in part.

        They go by name: "refresh token", or "new password" for one that people choose. Of a
        password no unsalted digest may be written either, and no half. Of an API key give the part
        behind the prefix. Names and addresses of people are no secrets.
        """
        pieces = self.pieces
        everything = self._read("\n".join(text for _, text in pieces))
        for name, secret in secrets.items():
            is_password = "password" in name
            how = everything.find(secret, is_password)
            if how is None:
                continue
            for place, text in pieces:
                here = holds(text, secret, is_password)
                assert here is None, f"{place} holds the {name}, {here}.{_line_with(text, secret)}"
            raise AssertionError(f"What was written holds the {name}, {how}, in several pieces.")

    def _read(self, text: str) -> Text:
        """Return a text to look for secrets in; the same one as long as nothing is added."""
        if text != self._everything[0]:
            self._everything = text, Text(text)
        return self._everything[1]


def _line_with(text: str, secret: str) -> str:
    """Return the beginning of the line in which a secret stands, without the secret."""
    lines = [line.replace(secret, "***") for line in text.splitlines() if secret in line]
    return f" The line: {lines[0].strip()[:SHOWN]!a}" if lines else ""


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST // 2]}\n{text[-MOST // 2 :]}"


@contextmanager
def listening(printed: Any = None, addresses: bool = False) -> Iterator[Trap]:
    """Collect what is logged, warned of and printed in the block.

    `printed` may be pytest's `capfd`. With it, what goes past `sys.stdout` is seen too. With
    `addresses` those count that httpx logs, each without its host.
    """
    trap = Trap(addresses)
    if printed is not None:
        trap.follow("What was printed", _all_of(printed))
    syslog = system_log(partial(trap.take, "The syslog"))
    with _logs(trap), _warnings(trap), _prints(trap), _names(trap), syslog:
        yield trap


def told_apart(call: Callable[[str], Any], one: str, other: str) -> str | None:
    """Return what is written each time `call` gets the one secret, and never with the other.

    That may be any digest of it, where an account has no salt for whoever reads the log. Give two
    secrets of one length, and answers that are the same.
    """
    always, never = [_words(call, one) for _ in range(TIMES)], _words(call, other)
    return next(iter(sorted(set.intersection(*always) - never)), None)


def _words(call: Callable[[str], Any], secret: str) -> set[str]:
    with listening() as trap:
        call(secret)
    return {word for _, text in trap.pieces for word in WORD.findall(text)}


def _all_of(printed: Any) -> Callable[[], str]:
    read: list[str] = []

    def stream() -> str:
        read.extend(printed.readouterr())
        return "".join(read)

    return stream


@contextmanager
def _logs(trap: Trap) -> Iterator[None]:
    loggers: Any = logging.Logger
    is_enabled, handle = loggers.isEnabledFor, loggers.handle

    def take(logger: logging.Logger, record: logging.LogRecord) -> None:
        passed = logger.filter(record)  # what a filter keeps back or blackens is in no log
        if not passed:
            return
        record = passed if isinstance(passed, logging.LogRecord) else record
        if record.name.startswith(CLIENTS):
            if trap.addresses:
                trap.take("The log of httpx", HOST.sub("", record.getMessage()))
        else:
            trap.records += 1
            for place, text in _parts(record):
                trap.take(place, text)
        if is_enabled(logger, record.levelno):
            handle(logger, record)

    loggers.isEnabledFor, loggers.handle = (lambda logger, level: True), take
    try:
        yield
    finally:
        loggers.isEnabledFor, loggers.handle = is_enabled, handle


def _parts(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    try:
        yield "The log", record.getMessage()
    except Exception:  # a message that its arguments do not fit; logging would print both
        yield "The log", str(record.msg)
    yield "The name of a logger", record.name
    if record.args:
        yield "An argument of a log record", _shown(record.args)
    if record.exc_info:
        yield "A traceback in the log", "".join(traceback.format_exception(*record.exc_info))
    if record.exc_text:
        yield "A traceback in the log", record.exc_text
    if record.stack_info:
        yield "A stack in the log", record.stack_info
    for name, value in record.__dict__.items():
        if name not in STANDARD:
            yield f"The field `{name}` of a log record", _shown(value)


def _shown(value: Any) -> str:
    """Return a value as one formatter or another would write it."""
    try:
        return value if isinstance(value, str) else f"{value!r}\n{value}"
    except Exception:  # no formatter could write it either
        return ""


@contextmanager
def _warnings(trap: Trap) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trap.follow("A warning", lambda: "\n".join(str(each.message) for each in caught or ()))
        yield


@contextmanager
def _prints(trap: Trap) -> Iterator[None]:
    # The stream stays the same, since pytest puts its own back between a fixture and its test.
    streams = {"The output": sys.stdout, "The error output": sys.stderr}
    for place, stream in streams.items():
        written: list[str] = []  # put together: `print` writes in pieces
        stream.write = _noting(stream.write, written)  # type: ignore[method-assign]
        trap.follow(place, lambda written=written: "".join(written))  # type: ignore[misc]
    try:
        yield
    finally:
        for stream in streams.values():
            del stream.write


@contextmanager
def _names(trap: Trap) -> Iterator[None]:
    """Look at what tasks and threads are called each time when a store is asked, and at the end."""
    from solutions.stores.one_at_a_time import OneAtATime

    stores: Any = OneAtATime
    enter, seen = stores.enter, set[str]()

    def look(one: OneAtATime) -> Any:
        if task := asyncio.current_task():
            seen.add(task.get_name())
        return enter(one)

    trap.follow("The name of a task or a thread", lambda: "\n".join(sorted(seen)))
    stores.enter = look
    try:
        yield
    finally:
        stores.enter = enter
        seen.update(each.name for each in threading.enumerate())


def _noting(write: Callable[[str], int], written: list[str]) -> Callable[[str], int]:
    def write_and_note(text: str) -> int:
        written.append(text)
        return write(text)

    return write_and_note
