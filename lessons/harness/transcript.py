"""What happened in a test, written down for the learner to read when an attack succeeds."""

import base64
import json
import re
from typing import Any

WIDTH = 76
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*=*")


class Transcript:
    """The calls and requests of one test, as lines of ASCII."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def clear(self) -> None:
        self.lines.clear()

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], end: str) -> None:
        """Note a function call and how it ended."""
        shown = [show(arg) for arg in args] + [f"{key}={show(kwargs[key])}" for key in kwargs]
        self._add(f"{name}({', '.join(shown)})")
        for value in args:
            self._take_apart(value)
        self._add(f"  -> {end}")

    def request(self, method: str, url: str, sent: dict[str, Any], answer: str) -> None:
        """Note a request and its answer. `sent` is what the client's caller passed."""
        self._add(f"{method} {url}")
        for kind in ("headers", "data", "json", "content"):
            value = sent.get(kind)
            if isinstance(value, dict):
                for key, part in value.items():
                    self._add(f"  {key}: {show(part)}" if kind == "headers" else
                              f"  {kind} {key} = {show(part)}")
                    self._take_apart(part)
            elif value is not None:
                self._add(f"  {kind} {show(value)}")
        self._add(f"  -> {answer}")

    def _add(self, line: str) -> None:
        line = line.encode("ascii", "backslashreplace").decode()
        self.lines.append(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")

    def _take_apart(self, value: Any) -> None:
        # The header and the claims are what differs between a good token and a forged one.
        token = value.removeprefix("Bearer ") if isinstance(value, str) else ""
        if len(token) > 5000 or not JWT.fullmatch(token):
            return
        for name, part in zip(("header", "claims"), token.split("."), strict=False):
            try:
                text = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            except ValueError:
                return
            if isinstance(text, dict):
                self._add(f"    {name} {json.dumps(text)}")


def show(value: Any) -> str:
    """Return a short `repr`; of a long text its start and its length."""
    if isinstance(value, (str, bytes)) and len(value) > 40:
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"{value[:12]!r}... ({len(value):,} {unit})"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
