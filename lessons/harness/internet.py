"""The internet of a test: the providers that are there, and nobody else. No socket is opened.

It takes the place of what httpx2 and httpx send requests by. So it does not matter which client a
program makes, or how: what is asked of whom is noted, and the bounds that it sets are kept.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any
from urllib import parse

from lessons.harness.failing import an_hour_of_the_loop
from lessons.harness.provider import Provider, Reply

PATIENCE_HOURS = 6  # of a clock that is turned on: who still waits then waits for ever
PART = 16 * 1024  # bytes at a time of a long answer


class Internet:
    """Who is there, and what was asked of whom."""

    def __init__(self, *providers: Provider) -> None:
        self.providers = providers
        self.asked: list[str] = []  # addresses, without what is behind a question mark
        self.hours = 0  # that somebody waited for one answer
        self.bytes = 0  # that somebody read of one answer
        self.turns = 0  # of the event loop before each answer, in which others go on
        self.gate: asyncio.Event | None = None  # before it is set nobody answers
        self.unchecked = False  # whether somebody asked for no certificates

    async def send(self, module: Any, request: Any) -> Any:
        """Answer a request of httpx2 or httpx, whose module is given."""
        url = str(request.url)
        self.asked.append(url.partition("?")[0])
        self.hours, self.bytes = 0, 0
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if self.gate:
            await self.gate.wait()
        host = request.url.netloc.decode()
        provider = next((each for each in self.providers if host in each.hosts), None)
        if provider is None:
            raise module.ConnectError(f"There is no {host}.", request=request)
        reply = provider.reply(request.method, url, request.headers, await request.aread())
        if reply.never:
            await self._wait(module, request)
        return module.Response(
            reply.status,
            headers=dict(reply.headers),
            stream=_parts_of(module)(self, reply),
            request=request,
        )

    async def _wait(self, module: Any, request: Any) -> None:
        """Let nothing come until somebody gives up."""
        limits = request.extensions.get("timeout") or {}
        if limits.get("read") is not None:
            raise module.ReadTimeout("Nothing came.", request=request)
        for _ in range(PATIENCE_HOURS):
            await self.an_hour()
        raise module.ReadError("Nothing came.", request=request)

    async def an_hour(self) -> None:
        """Let an hour go by on the clock of the event loop."""
        self.hours += 1
        await an_hour_of_the_loop()


@cache
def _remembered(function: Any) -> Any:
    """Return a pure function that keeps what it returned."""
    return lru_cache(512)(function)


@cache
def _parts_of(module: Any) -> Any:
    """Return the class of an answer's body as httpx2 or httpx want it, part by part."""

    class Parts(module.AsyncByteStream):  # type: ignore[misc,name-defined]
        def __init__(self, internet: Internet, reply: Reply) -> None:
            self._internet, self._reply = internet, reply

        async def __aiter__(self) -> AsyncIterator[bytes]:
            internet, reply = self._internet, self._reply
            size = 1 if reply.drips else PART
            for start in range(0, len(reply.body), size):
                if reply.drips:
                    if internet.hours >= PATIENCE_HOURS:
                        return
                    await internet.an_hour()
                part = reply.body[start : start + size]
                internet.bytes += len(part)
                yield part

    return Parts


@contextmanager
def internet_of(*providers: Provider) -> Iterator[Internet]:
    """Let these providers be all that can be reached in the block."""
    import ssl

    import httpx2
    import pytest

    there = Internet(*providers)
    with pytest.MonkeyPatch.context() as patch:
        # To read the system's certificates takes 20 ms, and nobody is asked for one here.
        patch.setattr(ssl, "create_default_context", lambda *_, **__: None)
        for module in (httpx2, *filter(None, [sys.modules.get("httpx")])):
            for name, instead in _instead(there, module).items():
                patch.setattr(module.AsyncHTTPTransport, name, instead)
            # Few addresses are asked, over and over. To take them apart costs a tenth of a login.
            patch.setattr(module._urls, "urlparse", _remembered(module._urls.urlparse))
        for name in ("quote", "unquote"):  # by which urllib reads and writes forms: as much again
            patch.setattr(parse, name, _remembered(getattr(parse, name)))
        yield there


def _instead(there: Internet, module: Any) -> dict[str, Any]:
    """Return what takes the place of a transport's methods: no pool, no socket, no certificate."""

    def init(self: Any, verify: Any = True, *_: Any, **__: Any) -> None:
        if verify is False:
            there.unchecked = True

    async def enter(self: Any) -> Any:
        return self

    async def leave(self: Any, *_: Any) -> None:
        return None

    async def send(self: Any, request: Any) -> Any:
        return await there.send(module, request)

    return {
        "__init__": init,
        "__aenter__": enter,
        "__aexit__": leave,
        "aclose": leave,
        "handle_async_request": send,
    }
