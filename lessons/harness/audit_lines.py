"""What an app writes to its audit log, line by line, as a file would get it."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AUDIT = "audit"  # the name of the logger


class Lines(logging.Handler):
    """Takes what is logged, as a handler does that writes to a file in UTF-8."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self.text = ""
        self.lost = 0  # events that could not be written
        self.by: set[str] = set()  # the names of the loggers that they came by

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or note that it is lost."""
        self.by.add(record.name)
        try:
            self.text += (self.format(record) + "\n").encode().decode()
        except Exception:
            self.lost += 1

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events so far. Raises AssertionError for a line that is none."""
        assert not self.lost, f"{self.lost} event could not be written: the log has raised."
        return [_read(line) for line in self.text.splitlines()]


def _read(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    assert isinstance(event, dict), f"A line of the audit log is no JSON object: {line[:200]!a}"
    return event


@contextmanager
def audit_lines() -> Iterator[Lines]:
    """Collect what the app writes to the audit log in the block."""
    logger, lines = logging.getLogger(AUDIT), Lines()
    logger.addHandler(lines)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)


@contextmanager
def nobody_else(lines: Lines) -> Iterator[None]:
    """Let no other handler have what is logged in the block: pytest's take their time."""
    logger = logging.getLogger(AUDIT)
    handlers, is_passed_on = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [lines], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, is_passed_on


@contextmanager
def at_the_root() -> Iterator[Lines]:
    """Let the audit log go where all logs go in the block, as a service does that collects them."""
    logger, root, lines = logging.getLogger(AUDIT), logging.getLogger(), Lines()
    kept = logger.handlers, logger.propagate, root.handlers
    logger.handlers, logger.propagate, root.handlers = [], True, [lines]
    try:
        yield lines
    finally:
        logger.handlers, logger.propagate, root.handlers = kept
