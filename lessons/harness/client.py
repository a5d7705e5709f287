"""Sends requests to the candidate's app.

Starlette's TestClient hops to another thread for each request, which makes a lesson's tests a
fifth slower. This client runs the app in the test's own thread.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import Any

import httpx2
from fastapi import FastAPI

from lessons.harness.candidate import Candidate, crash_line
from lessons.harness.loop import Loop
from lessons.harness.race import Crowd
from lessons.harness.transcript import Transcript

Send = dict[str, Any]

if find_spec("sniffio") is None:  # httpx2 would look for it on the disk at every request
    sys.modules["sniffio"] = None  # type: ignore[assignment]


class Client:
    """A client for one app, with its lifespan around it. No answer may be a 5xx."""

    def __init__(
        self,
        app: FastAPI,
        transcript: Transcript,
        loop: Loop,
        candidate: Candidate,
    ) -> None:
        self._loop = loop
        self._transcript = transcript
        self._candidate = candidate
        self._stack = AsyncExitStack()
        state = self._loop.run(self._stack.enter_async_context(app.router.lifespan_context(app)))

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        self._app = with_state
        self._http = self._new_http()

    def _new_http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self._app),
            base_url="http://workbook.test",
            trust_env=False,
        )

    def beside(self, app: FastAPI) -> "Client":
        """Return a client for another app, as that of a test."""
        return Client(app, self._transcript, self._loop, self._candidate)

    def close(self) -> None:
        """End the app's lifespan."""
        self._loop.run(self._http.aclose())
        self._loop.run(self._stack.aclose())

    def get(self, url: str, **send: Any) -> httpx2.Response:
        return self.request("GET", url, **send)

    def post(self, url: str, **send: Any) -> httpx2.Response:
        return self.request("POST", url, **send)

    def request(self, method: str, url: str, **send: Any) -> httpx2.Response:
        """Send one request; `send` as in httpx. Raises AssertionError when the app crashes."""
        return self._loop.run(self._send(self._http, method, url, send))

    def together(
        self,
        method: str,
        url: str,
        sends: list[Send],
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> list[httpx2.Response]:
        """Send many requests at once, and run `beside` while they are under way."""

        async def all_of_them() -> list[httpx2.Response]:
            watcher = asyncio.create_task(beside()) if beside else None
            try:
                return await asyncio.gather(
                    *(self._send(self._http, method, url, send) for send in sends)
                )
            finally:
                if watcher:
                    watcher.cancel()

        return self._loop.run(all_of_them())

    def in_threads(
        self, crowd: Crowd, requests: list[tuple[str, str, Send]]
    ) -> list[httpx2.Response]:
        """Send each request from a thread and an event loop of its own, as from several workers."""

        async def one(method: str, url: str, send: Send) -> httpx2.Response:
            async with self._new_http() as http:
                return await self._send(http, method, url, send)

        return crowd.run([lambda each=each: asyncio.run(one(*each)) for each in requests])

    async def _send(
        self, http: httpx2.AsyncClient, method: str, url: str, send: Send
    ) -> httpx2.Response:
        try:
            answer = await http.request(method, url, **send)
        except NotImplementedError as error:
            raise self._candidate.unfinished(error) from None
        except Exception as error:
            crash = crash_line(error, self._candidate)
            self._transcript.request(method, url, send, f"500 {crash}", lambda: None)
            raise AssertionError(f"The app crashed, a 500: {crash}") from error
        status = str(answer.status_code)
        self._transcript.request(method, url, send, status, lambda: body_of(answer))
        assert answer.status_code < 500, f"The app answered {answer.status_code}."
        return answer


def body_of(answer: httpx2.Response) -> Any:
    """Return what an answer says: what its JSON means, or its text."""
    try:
        return answer.json()
    except ValueError:
        return answer.text
