"""Hands a request to an app as a server does, and collects the answer.

httpx's own way leads through authentication, redirects and streams, which no lesson needs and
which cost a test more than most apps do.
"""

import asyncio
import json
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlencode

import httpx2

BASE_URL = "http://workbook.test"
CALLER = ("127.0.0.1", 123)
# As httpx sends them: what an app does only for such clients shows in every test.
DEFAULT_HEADERS = {
    b"accept": b"*/*",
    b"accept-encoding": b"gzip, deflate",
    b"connection": b"keep-alive",
    b"user-agent": b"python-httpx2",
}


class Answer(httpx2.Response):
    """An answer. Where a test reads JSON and there is none, that is the app's fault."""

    @classmethod
    def whole(cls, status: int, headers: Any, body: bytes, request: Any) -> "Answer":
        """Return an answer whose body is there as it is: nothing has to be read or decoded."""
        answer = cls(status, headers=headers, stream=httpx2.ByteStream(body), request=request)
        answer._content = body
        answer.is_closed = answer.is_stream_consumed = True
        return answer

    def json(self, **options: Any) -> Any:
        try:
            return super().json(**options)
        except ValueError:
            asked = f"{self.request.method} {self.request.url.path}"
            what = f"is {self.text:.40}" if self.content else "has no body"
            raise AssertionError(
                f"{asked}: the answer, a {self.status_code}, {what}. It should be JSON."
            ) from None


_url = cache(httpx2.URL)  # to take one apart costs a sixth of a request


@dataclass
class Plain:
    """A request as most of them are: without parameters, with a form, JSON or nothing.

    httpx makes the same of it, and takes a tenth of the time of the whole request.
    """

    method: str
    url: httpx2.URL
    raw: list[tuple[bytes, bytes]]
    body: bytes = b""

    def read(self) -> bytes:
        """Return the body."""
        return self.body

    @classmethod
    def of(cls, method: str, url: httpx2.URL, headers: Any, sent: dict[str, Any]) -> "Plain | None":
        """Return the request, or None for one that httpx has to make."""
        form, values = sent.get("data"), sent.get("json")
        if not (isinstance(headers, dict | None) and isinstance(form, dict | None)):
            return None
        if sent.keys() - {"data", "json"} or (form is not None and values is not None):
            return None
        headers = headers or {}
        if not all(
            isinstance(each, str) and each.isascii() for pair in headers.items() for each in pair
        ):
            return None
        names = {name.lower() for name in headers}
        if names & OWN or not all(isinstance(each, str) for each in (form or {}).values()):
            return None
        raw, body, kind = [(b"host", url.netloc)], b"", b""
        if form:
            body, kind = urlencode(form).encode(), b"application/x-www-form-urlencoded"
        if values is not None:
            text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            body, kind = text.encode(), b"application/json"
        if body or method in ("POST", "PUT", "PATCH"):
            raw.append((b"content-length", str(len(body)).encode()))
        raw += [(name.lower().encode(), headers[name].encode()) for name in headers]
        if kind:
            raw.append((b"content-type", kind))
        return cls(method, url, raw, body)


OWN = {"host", "content-length", "content-type", "transfer-encoding"}  # which httpx looks at


class Wire:
    """One client of one app, with the cookies that the app gave it. It follows no redirects."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.cookies = httpx2.Cookies()
        self.scheme = "http"
        self.keeps_cookies = True  # to take cookies apart costs a tenth of a request

    async def request(
        self,
        method: str,
        url: str,
        client: tuple[str, int] | None = None,
        headers: Any = None,
        scope: dict[str, Any] | None = None,
        **sent: Any,
    ) -> httpx2.Response:
        """Send one request; `sent` as in httpx. Raises what the app raises.

        `scope` is what the server says of it otherwise, such as its HTTP version.
        """
        request: httpx2.Request | Plain | None = None
        if not (self.keeps_cookies or self.cookies):
            request = Plain.of(method, _url(BASE_URL + url), headers, sent)
        if request is None:
            request = httpx2.Request(method, _url(BASE_URL + url), headers=headers, **sent)
            if self.cookies and "cookie" not in request.headers:
                self.cookies.set_cookie_header(request)
        answer = await self._deliver(request, client or CALLER, scope or {})
        if self.keeps_cookies and "set-cookie" in answer.headers:
            self.cookies.extract_cookies(answer)
        return answer

    async def _deliver(
        self, request: "httpx2.Request | Plain", caller: tuple[str, int], more: dict[str, Any]
    ) -> httpx2.Response:
        messages = [{"type": "http.request", "body": request.read(), "more_body": False}]
        answered = asyncio.Event()
        status, headers, body = 0, [], b""

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal status, headers, body
            assert not answered.is_set(), "The app answered a request twice."
            if message["type"] == "http.response.start":
                status, headers = message["status"], message.get("headers", [])
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    answered.set()

        path, _, query = request.url.raw_path.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": _with_defaults(
                request.raw if isinstance(request, Plain) else request.headers.raw
            ),
            "scheme": self.scheme,
            "path": request.url.path,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "server": ("workbook.test", None),
            "client": caller,
            **more,
        }
        await self._app(scope, receive, send)
        assert status and answered.is_set(), "The app's answer has no beginning or no end."
        if request.method == "HEAD":
            body = b""
        if b"content-encoding" in dict(headers):
            return Answer(status, headers=headers, content=body, request=request)
        return Answer.whole(status, headers, body, request)


def _with_defaults(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the raw headers as a server gives them, and those that httpx adds."""
    sent = [(name.lower(), value) for name, value in headers]
    names = {name for name, _ in sent}
    return sent + [pair for pair in DEFAULT_HEADERS.items() if pair[0] not in names]
