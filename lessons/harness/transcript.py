"""What happened in a test, written down for the learner to read when an attack succeeds."""

import base64
import json
import re
import textwrap
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Any

WIDTH = 76
FIRST_STEPS, LAST_STEPS = 3, 6
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*=*")


class Transcript:
    """The calls and requests of one test, as lines of ASCII."""

    def __init__(self) -> None:
        self._noted: list[Callable[[], tuple[str, ...]]] = []  # written out only if a test fails
        self._seen: dict[str, Any] = {}
        self.refusal = ""  # where the last request was refused, if the graded code did so

    def clear(self) -> None:
        self._noted.clear()
        self.refusal = ""

    @property
    def lines(self) -> list[str]:
        """The steps in their order; one that repeats itself is shown once, and of many some."""
        told: list[list[str]] = []
        self._seen.clear()
        for step, repeats in groupby([write() for write in self._noted]):
            more = len(list(repeats)) - 1
            told.append([*step, *([f"  ... and {more} more like this"] if more else [])])
        left_out = len(told) - FIRST_STEPS - LAST_STEPS
        if left_out > 1:  # the end tells how the attack succeeded, the start where it came from
            told[FIRST_STEPS:-LAST_STEPS] = [[f"  ... {left_out} steps ..."]]
        return [line for step in told for line in step]

    def note(self, event: str) -> None:
        """Note what happened without a call or a request."""
        self._noted.append(lambda: tuple(_wrap(f"({event})", "", "    ")))

    def part(self, what: str, end: str) -> None:
        """Note what a part of the app was asked without the rest of it, and how that ended."""
        self._noted.append(lambda: self._step(what, f"  -> {end}"))

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], end: str) -> None:
        """Note a function call and how it ended."""
        self.refusal = ""  # of a request before it
        shown = [("", _kept(arg)) for arg in args]
        shown += [(f"{key}=", _kept(kwargs[key])) for key in kwargs]

        def write() -> tuple[str, ...]:
            line = ", ".join(f"{key}{each()}" for key, each in shown)
            return self._step(f"{name}({line})", *args, f"  -> {end}")

        self._noted.append(write)

    def request(
        self, method: str, url: str, sent: dict[str, Any], answer: str, body: Callable[[], Any]
    ) -> None:
        """Note a request and its answer. `sent` is what the client's caller passed."""
        self._noted.append(lambda: self._request(method, url, sent, answer, body()))

    def _request(
        self, method: str, url: str, sent: dict[str, Any], answer: str, body: Any
    ) -> tuple[str, ...]:
        line, values = f"{method} {url}", []
        for kind in ("params", "headers", "data", "json", "content", "scope"):
            value = sent.get(kind)
            if isinstance(value, dict):
                line += f"  {kind}: " + " ".join(f"{key}={show(value[key])}" for key in value)
                values += value.values()
            elif value is not None:
                line += f"  {kind}: {show(value)}"
        if isinstance(body, dict):
            answer += " " + " ".join(f"{key}={show(body[key])}" for key in body)
            values.append(f"  -> {answer}")
        else:
            values.append(f"  -> {answer} {show(body) if body else ''}")
        return self._step(line, *values)

    def _step(self, *parts: Any) -> tuple[str, ...]:
        step: list[str] = []
        for index, part in enumerate(parts):
            if index == 0 or (isinstance(part, str) and part.startswith("  -> ")):
                line = part.encode("ascii", "backslashreplace").decode().rstrip()
                step += _wrap(line, "", "    ")
            else:
                step += self._take_apart(part)
        return tuple(step)

    def _take_apart(self, value: Any) -> list[str]:
        # The header and the claims are where a good token and a forged one differ.
        token = value.removeprefix("Bearer ") if isinstance(value, str) else ""
        if len(token) > 5000 or not JWT.fullmatch(token):
            return []
        lines: list[str] = []
        for name, part in zip(("header", "claims"), token.split("."), strict=False):
            try:
                content = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            except (ValueError, RecursionError):
                return []
            before = self._seen.get(name)
            self._seen[name] = content
            lines += _wrap(f"{name} {_differences(content, before)}", "    ", "      ")
        return lines


def _differences(content: Any, before: Any) -> str:
    """Return a token's part as JSON, or only what differs from the last one."""
    if not (isinstance(content, dict) and isinstance(before, dict)):
        return json.dumps(content)
    changed = {name: content[name] for name in content if before.get(name) != content[name]}
    gone = [name for name in before if name not in content]
    if len(changed) + len(gone) > 3:
        return json.dumps(content)
    notes = [f"without {name}" for name in gone]
    notes += [f"{name} {json.dumps(value)}" for name, value in changed.items()]
    return "as above" + (", but " + ", ".join(notes) if notes else "")


def _wrap(line: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False
    )


def _kept(value: Any) -> Callable[[], str]:
    """Return what shows a value as it is now. One that does not change is not spelled out yet."""
    kind = getattr(value, "__dataclass_params__", None)
    if isinstance(value, str | bytes) or (kind is not None and kind.frozen):
        return lambda: show(value)
    text = show(value)
    return lambda: text


def show(value: Any) -> str:
    """Return a short `repr` in ASCII; of a long text its start and its length."""
    # A long one is not spelled out to be measured: that takes its time with a megabyte.
    if isinstance(value, (str, bytes)) and (len(value) > 44 or len(ascii(value)) > 44):
        if isinstance(value, bytes):
            return f"{value[:12]!r}... ({len(value):,} bytes)"
        size = len(value.encode("utf-8", "surrogatepass"))
        length = f"{len(value):,} chars" + (f", {size:,} bytes" if size != len(value) else "")
        return f"{value[: 12 if value.isascii() else 2]!a}... ({length})"
    if isinstance(value, timedelta):
        return f"<{value.total_seconds():g} seconds>"
    if type(value).__repr__ is object.__repr__:
        return f"<{type(value).__name__}>"
    text = ascii(value)
    return text if len(text) <= 62 else text[:59] + "..."
