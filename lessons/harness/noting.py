"""The scope, the headers and the cookies of a request, each with a note of what is read."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

ALL = "*"  # somebody went through all of them, or read the raw text
PLUMBING = ("starlette.datastructures", "starlette.requests", "starlette.formparsers")
LIBRARY = ("fastapi.", "starlette.")
GIVEN = "solutions.support."  # it checks how a request is made, before anybody reads it
HOW = ("http_version", "scheme", "root_path", "extensions")  # how a request came, in the scope
TELEMETRY = ("fastapi.telemetry", "starlette.middleware.opentelemetry")


@dataclass
class Reads:
    """What was read, by name; header names in small letters."""

    headers: set[str] = field(default_factory=set)
    query: set[str] = field(default_factory=set)
    cookies: set[str] = field(default_factory=set)
    form: set[str] = field(default_factory=set)
    client: bool = False  # the address of the caller
    host: bool = False  # the name under which we were called
    scope: set[str] = field(default_factory=set)  # how the request came, see HOW


def caller() -> str:
    """Return the module that calls the function which asks this."""
    return str(sys._getframe(2).f_globals.get("__name__", ""))


class Noting(dict[str, Any]):
    """A dict that notes what is read of it."""

    def __init__(self, content: Any, note: Callable[[str, str], None]) -> None:
        super().__init__(content)
        self._note = note

    def __getitem__(self, key: str) -> Any:
        self._note(key, caller())
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key, caller())
        return super().get(key, default)


class Cookies(Noting):
    """The cookies of a request."""

    def __contains__(self, key: object) -> bool:
        self._note(str(key), "")
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> Any:
        self._note(ALL, "")
        return super().keys()

    def values(self) -> Any:
        self._note(ALL, "")
        return super().values()

    def items(self) -> Any:
        self._note(ALL, "")
        return super().items()


class Scope(Noting):
    """What the server knows of a request, for those who read it without Starlette's help."""

    def __init__(self, scope: Any, reads: Reads) -> None:
        super().__init__(scope, self._look)
        self._reads = reads
        self["headers"] = scope["headers"]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, Pairs(value, self._reads) if key == "headers" else value)

    def _look(self, key: str, caller: str) -> None:
        if caller.startswith(TELEMETRY):
            return
        if key in HOW and not caller.startswith((*LIBRARY, GIVEN)):
            self._reads.scope.add(key)
        elif key == "client":
            self._reads.client = True
        elif key == "server" and not caller.startswith(LIBRARY):
            self._reads.host = True
        elif key == "query_string" and not caller.startswith(LIBRARY):
            self._reads.query.add(ALL)


class Pairs(list[tuple[bytes, bytes]]):
    """The raw headers. Whoever compares each name with one is noted with that name only."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]], reads: Reads) -> None:
        super().__init__(pairs)
        self._reads = reads

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        if caller().startswith((*PLUMBING, *TELEMETRY, GIVEN)):
            return super().__iter__()
        return self._one_by_one()

    def _one_by_one(self) -> Iterator[tuple[bytes, bytes]]:
        for raw, value in super().__iter__():
            name = Name(raw)
            try:
                yield name, value
            finally:
                self._reads.headers |= name.compared_with or {ALL}


class Name(bytes):
    """The name of a raw header."""

    def __init__(self, _: bytes) -> None:
        self.compared_with: set[str] = set()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes):
            self.compared_with.add(other.decode("latin-1").lower())
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = bytes.__hash__
