"""Hands a request to an app as a server does, and collects the answer.

httpx's own way leads through authentication, redirects and streams, which no lesson needs and
which cost a test more than most apps do.
"""

import asyncio
from functools import cache
from typing import Any

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


class Wire:
    """One client of one app, with the cookies that the app gave it. It follows no redirects."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.cookies = httpx2.Cookies()
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
        request = httpx2.Request(method, _url(BASE_URL + url), headers=headers, **sent)
        if self.cookies and "cookie" not in request.headers:
            self.cookies.set_cookie_header(request)
        answer = await self._deliver(request, client or CALLER, scope or {})
        if self.keeps_cookies and "set-cookie" in answer.headers:
            self.cookies.extract_cookies(answer)
        return answer

    async def _deliver(
        self, request: httpx2.Request, caller: tuple[str, int], more: dict[str, Any]
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
            "headers": _with_defaults(request.headers.raw),
            "scheme": "http",
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
        return Answer(status, headers=headers, content=body, request=request)


def _with_defaults(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the raw headers as a server gives them, and those that httpx adds."""
    sent = [(name.lower(), value) for name, value in headers]
    names = {name for name, _ in sent}
    return sent + [pair for pair in DEFAULT_HEADERS.items() if pair[0] not in names]
