"""Sends requests to the candidate's app.

Starlette's TestClient hops to another thread for each request, which makes a lesson's tests a
fifth slower. This client runs the app in the test's own thread.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import httpx2
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from lessons.harness.candidate import Candidate, crash_line, refusal_line
from lessons.harness.escapes import contained
from lessons.harness.failing import DOWN, StoreDown
from lessons.harness.loop import Loop
from lessons.harness.race import Crowd
from lessons.harness.refusals import listening_to_refusals
from lessons.harness.transcript import Transcript
from lessons.harness.wire import Wire

Send = dict[str, Any]
T = TypeVar("T")


class Client:
    """A client for one app, with its lifespan around it.

    No answer may be a 5xx, but for a 503 that says when to come back.
    """

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
        self.app = app
        self._stack = AsyncExitStack()
        state = self._loop.run(self._stack.enter_async_context(app.router.lifespan_context(app)))

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        self._app = with_state
        self._wire = Wire(with_state)

    def beside(self, app: FastAPI) -> "Client":
        """Return a client for another app, as that of a test."""
        return Client(app, self._transcript, self._loop, self._candidate)

    def is_learners(self, slug: str) -> bool:
        """Tell whether an earlier lesson is here as the learner wrote it."""
        return slug in [each.slug for each in self._candidate.earlier]

    def close(self) -> None:
        """End the app's lifespan."""
        self._loop.run(self._stack.aclose())

    def keep_no_cookies(self) -> None:
        """Keep none of the cookies that the app sets, for tests that keep them themselves."""
        self._wire.keeps_cookies = False

    def speak_https(self) -> None:
        """Send what follows as over https."""
        self._wire.scheme = "https"

    def seen(self, method: str, url: str, **send: Any) -> httpx2.Response:
        """Send one request to an app that may crash, and return what its caller sees of that."""

        async def kept(scope: Any, receive: Any, reply: Any) -> None:
            try:
                await self._app(scope, receive, reply)
            except NotImplementedError as error:
                raise self._candidate.unfinished(error) from None
            except Exception as error:
                _log_crash(error)

        wire = Wire(kept)
        wire.scheme = self._wire.scheme
        answer = self.run(wire.request(method, url, **send))
        self._transcript.request(method, url, send, str(answer.status_code), lambda: None)
        return answer

    def get(self, url: str, **send: Any) -> httpx2.Response:
        return self.request("GET", url, **send)

    def post(self, url: str, **send: Any) -> httpx2.Response:
        return self.request("POST", url, **send)

    def request(self, method: str, url: str, **send: Any) -> httpx2.Response:
        """Send one request; `send` as in httpx, and `client`, the caller's address and port.

        Raises AssertionError when the app crashes.
        """
        return self._loop.run(self.ask(method, url, **send))

    async def ask(self, method: str, url: str, **send: Any) -> httpx2.Response:
        """Send one request from code that is on the loop already."""
        return await self._send(self._wire, method, url, send)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the app's event loop."""
        result: T = self._loop.run(coroutine)
        return result

    def tell(self, what: str, end: str) -> None:
        """Note what a test has asked without a request, and how it ended."""
        self._transcript.part(what, end)

    async def call(self, what: str, part: Coroutine[Any, Any, T]) -> T | HTTPException:
        """Run a part of the app without the rest of it, and return its refusal, if that comes.

        Raises AssertionError when the part crashes. `what` says it to whoever reads what happened.
        """
        self._transcript.refusal = ""
        try:
            with contained():
                result = await part
            self._transcript.part(what, "not refused")
            return result
        except NotImplementedError as error:
            raise self._candidate.unfinished(error) from None
        except HTTPException as refusal:
            self._transcript.part(what, str(refusal.status_code))
            if where := refusal_line(refusal, self._candidate):
                self._transcript.refusal = f"the {refusal.status_code} {where}"
            return refusal
        except Exception as error:
            crash = crash_line(error, self._candidate)
            self._transcript.part(what, f"500 {crash}")
            raise AssertionError(f"The app crashed, a 500: {crash}") from error

    def status_of(self, method: str, url: str, **send: Any) -> int:
        """Send one request to an app that may crash, and return the status that its caller sees.

        Raises AssertionError when the caller also sees what the error of a store says (CWE-209).
        """
        seen = [500]  # what a server makes of a crash without an answer
        said = why = ""

        async def watched(scope: Any, receive: Any, reply: Any) -> None:
            async def tell(message: Any) -> None:
                nonlocal said
                if message["type"] == "http.response.start":
                    seen.append(message["status"])
                said += f"{message.get('headers', '')}{message.get('body', b'').decode('latin-1')}"
                await reply(message)

            await self._app(scope, receive, tell)

        async def ask() -> None:
            nonlocal why
            try:
                await Wire(watched).request(method, url, **send)
            except NotImplementedError as error:
                raise self._candidate.unfinished(error) from None
            except Exception as error:
                _log_crash(error)  # the caller sees only what was sent before
                is_down = isinstance(error, StoreDown) or DOWN in str(error)
                crash = "the store fails here" if is_down else crash_line(error, self._candidate)
                why = f" ({crash})"

        self.run(ask())
        assert DOWN not in said, f"The answer repeats what the store's error says: {DOWN}."
        self._transcript.request(method, url, send, f"{seen[-1]}{why}", lambda: None)
        return seen[-1]

    def raised_by(self, method: str, url: str, **send: Any) -> Exception | None:
        """Send one request, and return what its route raised."""
        raised: list[Exception] = []

        async def ask() -> str:
            with contained(), listening_to_refusals(raised.append):
                return str((await self._wire.request(method, url, **send)).status_code)

        self._transcript.request(method, url, send, self.run(ask()), lambda: None)
        return raised[0] if raised else None

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
                    *(self._send(self._wire, method, url, send) for send in sends)
                )
            finally:
                if watcher:
                    watcher.cancel()

        return self._loop.run(all_of_them())

    def opens_socket(self, path: str, headers: dict[str, str] | None = None) -> bool:
        """Knock at a WebSocket, say a word, leave; return whether the app let the caller talk.

        An app that closes the connection without a word has refused, also after it accepted.
        """
        words: list[dict[str, Any]] = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "hello"},
        ]
        said: list[str] = []

        async def receive() -> dict[str, Any]:
            return words.pop(0) if words else {"type": "websocket.disconnect", "code": 1000}

        async def send(message: dict[str, Any]) -> None:
            said.append(message["type"])
            if message["type"] == "websocket.send":
                raise OSError("the client has heard enough")

        sent = {"host": "workbook.test", **(headers or {})}
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), sent[name].encode()) for name in sent],
            "client": ("127.0.0.1", 123),
            "server": ("workbook.test", 80),
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }

        async def knock() -> None:
            with contextlib.suppress(Exception):  # what it said counts, not how it ended
                async with asyncio.timeout(1):
                    await self._app(scope, receive, send)

        self._loop.run(knock())
        opened = "websocket.send" in said or said[-1:] == ["websocket.accept"]
        self._transcript.note(f"WebSocket {path}: {'open' if opened else 'closed'}")
        return opened

    def in_threads(
        self, crowd: Crowd, requests: list[tuple[str, str, Send]]
    ) -> list[httpx2.Response]:
        """Send each request from a thread and an event loop of its own, as from several workers."""

        async def one(method: str, url: str, send: Send) -> httpx2.Response:
            return await self._send(Wire(self._app), method, url, send)

        return crowd.run([lambda each=each: asyncio.run(one(*each)) for each in requests])

    async def _send(self, wire: Wire, method: str, url: str, send: Send) -> httpx2.Response:
        refusal = ""

        def note(error: Exception) -> None:
            nonlocal refusal
            refusal = refusal_line(error, self._candidate)

        try:
            with contained(), listening_to_refusals(note):
                answer = await wire.request(method, url, **send)
        except NotImplementedError as error:
            raise self._candidate.unfinished(error) from None
        except Exception as error:
            crash = crash_line(error, self._candidate)
            self._transcript.request(method, url, send, f"500 {crash}", lambda: None)
            raise AssertionError(f"The app crashed, a 500: {crash}") from error
        status = str(answer.status_code)
        self._transcript.request(method, url, send, status, lambda: body_of(answer))
        self._transcript.refusal = f"the {status} {refusal}" if refusal else ""
        may_come_back = answer.status_code == 503 and "retry-after" in answer.headers
        assert answer.status_code < 500 or may_come_back, f"The app answered {answer.status_code}."
        return answer


def _log_crash(error: Exception) -> None:
    """Log what leaves the app, as its server does: with what led to it, and notes on the error."""
    # Without its frames. They show source, no values, and to format them takes longer than the app.
    shown = (type(error), error, None)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=shown)


def body_of(answer: httpx2.Response) -> Any:
    """Return what an answer says: what its JSON means, or its text."""
    try:
        return answer.json()
    except (AssertionError, ValueError):
        return answer.text
