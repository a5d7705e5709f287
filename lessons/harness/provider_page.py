"""The demo provider of a class: a page to choose who logs in, and what the provider lies about.

    uvicorn lessons.harness.provider:app --port 9400

Everybody knows its client's secret and may be anybody, so it listens on this machine alone, and
sends people back to this machine alone.
"""

import html
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lessons.harness.provider import HONEST, Lie, Provider, new_key

CLIENT_ID, CLIENT_SECRET = "workbook", "known-to-the-whole-class"
PEOPLE = {
    "erin": {"name": "Erin Example", "email": "erin@example.com"},
    "alice": {"name": "Alice Admin", "email": "alice@example.com"},
    "mallory": {"name": "Mallory, who says she is alice", "email": "alice@example.com"},
}
LIES = {
    "nothing: it tells the truth": HONEST,
    "the nonce: of another login": Lie(claims={"nonce": "of-another-login"}),
    "the audience: for another shop": Lie(claims={"aud": "another-shop"}),
    "the issuer": Lie(claims={"iss": "https://mallory.example"}),
    "the signature: by mallory's key": Lie(signed="another key"),
    "the signature: there is none": Lie(signed="nothing"),
    "the end: it was yesterday": Lie(claims={"exp": lambda exp: exp - 86_400}),
    "the ID token: there is none": Lie(token={"id_token": None}),
    "userinfo: of somebody else": Lie(userinfo={"sub": "somebody-else"}),
    "the state": Lie(answer={"state": "another-state"}),
    "who answers": Lie(answer={"iss": "https://mallory.example"}),
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Demo provider</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 1.1rem/1.5 system-ui; margin: 2rem auto;
max-width: 40rem }} select, button {{ font: inherit }} label {{ display: block; margin: 1rem 0 }}
</style><h1>Demo provider</h1>{}</html>"""
FORM = """<form method="post"><label>Log in as <select name="person">{}</select></label>
<label>and lie about <select name="lie">{}</select></label><button>Log in</button></form>"""


class Page:
    """The provider as an ASGI app."""

    def __init__(self) -> None:
        self._provider: Provider | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request. The issuer is this machine with the port that the server listens on."""
        if scope["type"] != "http":
            return
        if self._provider is None:
            issuer = f"http://127.0.0.1:{scope['server'][1]}"
            self._provider = Provider(issuer, CLIENT_ID, CLIENT_SECRET, key=new_key())
        answer = await self._answer(self._provider, Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, provider: Provider, request: Request) -> Response:
        address = f"{provider.issuer}{request.url.path}"
        if address == provider.addresses["authorization_endpoint"]:
            return await _log_in(provider, f"{address}?{request.url.query}", request)
        reply = provider.reply(request.method, address, request.headers, await request.body())
        return Response(reply.body, reply.status, dict(reply.headers))


async def _log_in(provider: Provider, address: str, request: Request) -> Response:
    """Show the page, or send the browser back."""
    try:
        asked = provider.check(address)
    except ValueError as error:
        return HTMLResponse(PAGE.format(f"<p>{html.escape(str(error))}</p>"), 400)
    if urlsplit(asked.get("redirect_uri", "")).hostname not in ("localhost", "127.0.0.1"):
        return HTMLResponse(PAGE.format("<p>It leads back to another machine.</p>"), 400)
    if request.method != "POST":
        return HTMLResponse(PAGE.format(FORM.format(_options(PEOPLE), _options(LIES))))
    form = await request.form()
    name, lie = str(form.get("person")), LIES.get(str(form.get("lie")), HONEST)
    person = {"sub": f"demo-{name}", "email_verified": True, "preferred_username": name}
    person |= PEOPLE.get(name, {})
    return RedirectResponse(provider.answer(address, person, lie), 303)


def _options(names: Any) -> str:
    return "".join(f"<option>{html.escape(name)}</option>" for name in names)
