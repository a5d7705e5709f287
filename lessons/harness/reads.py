"""Notes what is read of a request, so that side doors need no list of names.

Whoever lets somebody in by a header, a cookie, a field or an address has to read it. What is read
and not in the contract is no error by itself, as a log may want to name the browser. But a test
can ask: the same refused request again, with that header, must be refused in the same way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lessons.harness.noting import ALL, GIVEN, LIBRARY, PLUMBING, Cookies, Reads, Scope, caller

__all__ = ["ALL", "Reads", "reading"]

ONE = ("__getitem__", "__contains__", "getlist")
MANY = ("__iter__", "keys", "values", "items")
LISTS = ("multi_items", "__str__")
Note = Callable[[str, str], None]  # of a name, and of the module that reads it


@contextmanager
def reading() -> Iterator[Reads]:
    """Note what anything reads of the requests that FastAPI apps answer in the block.

    Not noted: that given code in `solutions.support` goes through all of them; names are.
    Not seen: fields of a JSON body, and what pydantic keeps of a model with `extra="allow"`.
    """
    import pytest
    from fastapi import FastAPI
    from starlette.datastructures import FormData, Headers, QueryParams
    from starlette.requests import HTTPConnection, Request

    reads = Reads()
    changes = [
        *_watched(Headers, lambda name, by: _note_header(reads, name, by), MANY),
        *_watched(QueryParams, lambda name, _: reads.query.add(name), (*MANY, *LISTS)),
        *_watched(FormData, lambda name, _: reads.form.add(name), (*MANY, *LISTS)),
        (HTTPConnection, "cookies", _cookies(HTTPConnection.cookies, reads)),
        (HTTPConnection, "url", _url(HTTPConnection.url, reads)),
        (HTTPConnection, "base_url", _url(HTTPConnection.base_url, reads)),
        (Request, "body", _raw_body(Request.body, reads)),
        (Request, "stream", _raw_body(Request.stream, reads)),
        (FastAPI, "__call__", _with_scope(FastAPI.__call__, reads)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, watched in changes:
            patch.setattr(owner, name, watched)
        yield reads


def _watched(owner: type, note: Note, many: tuple[str, ...]) -> Iterator[tuple[type, str, Any]]:
    """Return the methods of a class that read, each with a note of the name that is read."""

    def one(method: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Any, key: Any) -> Any:
            if type(self) is owner:  # and not the headers of an answer
                note(str(key), caller())
            return method(self, key)

        return read

    def all_of(method: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Any) -> Any:
            if type(self) is owner and not (by := caller()).startswith(
                (*PLUMBING, "fastapi.", GIVEN)
            ):
                note(ALL, by)
            return method(self)

        return read

    yield from ((owner, name, one(getattr(owner, name))) for name in ONE)
    yield from ((owner, name, all_of(getattr(owner, name))) for name in many)


def _note_header(reads: Reads, name: str, by: str) -> None:
    name = name.lower()
    if name == "cookie":
        if by not in PLUMBING:  # and not `request.cookies`, where names are noted
            reads.cookies.add(ALL)
        return
    reads.headers.add(name)
    reads.host |= name == "host"


def _cookies(original: Any, reads: Reads) -> property:
    def cookies(self: Any) -> Cookies:
        plain = original.fget(self)
        if not isinstance(plain, Cookies):
            self._cookies = Cookies(plain, lambda name, _: reads.cookies.add(name))
        return self._cookies  # type: ignore[no-any-return]

    return property(cookies)


def _url(original: Any, reads: Reads) -> property:
    def url(self: Any) -> Any:
        if not caller().startswith(LIBRARY):
            reads.host = True
            reads.query.add(ALL)
            reads.scope.update(("scheme", "root_path"))
        return original.fget(self)

    return property(url)


def _raw_body(original: Callable[..., Any], reads: Reads) -> Callable[..., Any]:
    def read(self: Any) -> Any:
        if not caller().startswith((*LIBRARY, GIVEN)):
            reads.form.add(ALL)
        return original(self)

    return read


def _with_scope(original: Callable[..., Any], reads: Reads) -> Callable[..., Any]:
    async def call(app: Any, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not isinstance(scope, Scope):
            scope = Scope(scope, reads)
        await original(app, scope, receive, send)

    return call
