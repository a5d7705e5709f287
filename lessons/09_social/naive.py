"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/09 --naive` shows how mallory gets in.
"""

import hashlib
import logging
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx2
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from solutions import hashing, oauth2, refresh, sessions
from solutions.sessions import Found, begin_session, get_session
from solutions.stores.sessions import Session, Sessions
from solutions.stores.users import UserInDB, Users
from solutions.support.apps import create_app
from solutions.support.session_requests import Browser
from solutions.support.settings import get_settings

logger = logging.getLogger(__name__)
GITHUB = {
    "authorization_endpoint": "https://github.com/login/oauth/authorize",
    "token_endpoint": "https://github.com/login/oauth/access_token",
    "userinfo_endpoint": "https://api.github.com/user",
}
LINKS: dict[str, dict[str, str]] = {}  # who has linked which address where

router = APIRouter(tags=["09 social"])


async def addresses_of(provider: str) -> dict[str, Any]:
    if provider == "github":
        return GITHUB
    issuer = get_settings().oidc_issuer
    if provider == "google":
        issuer = "https://accounts.google.com"
    elif provider != "oidc":
        raise HTTPException(404, "No such provider")
    async with httpx2.AsyncClient(timeout=None, follow_redirects=True, verify=False) as client:
        answer = await client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    return dict(answer.json())


def client_of(provider: str) -> tuple[str, str]:
    settings = get_settings()
    secret = getattr(settings, f"{provider}_client_secret").get_secret_value()
    return getattr(settings, f"{provider}_client_id"), secret


def base_of(request: Request) -> str:
    host = request.headers.get("x-forwarded-host")  # of the proxy
    return f"https://{host}" if host else get_settings().public_url


@router.get("/login/{provider}")
async def start_login(provider: str, request: Request, next: str = "/account") -> Response:
    addresses = await addresses_of(provider)
    query = {
        "response_type": "code",
        "client_id": client_of(provider)[0],
        "redirect_uri": f"{base_of(request)}/callback/{provider}",
        "scope": "openid email profile",
        "state": next,
    }
    return RedirectResponse(f"{addresses['authorization_endpoint']}?{urlencode(query)}", 302)


async def userinfo_for(provider: str, code: str, back: str) -> dict[str, Any]:
    addresses, (client_id, client_secret) = await addresses_of(provider), client_of(provider)
    logger.debug("code %s of %s", code, provider)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": back,
        "client_id": client_id,
        "client_secret": client_secret,
    }
    async with httpx2.AsyncClient(timeout=None, follow_redirects=True, verify=False) as client:
        answer = await client.post(addresses["token_endpoint"], data=form)
        token = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.get(addresses["userinfo_endpoint"], headers=headers)
        return dict(answer.json())


@router.get("/callback/{provider}")
async def finish_login(
    provider: str,
    request: Request,
    browser: Browser,
    found: Found,
    sessions: Sessions,
    users: Users,
    code: str = "",
    state: str = "",
) -> Response:
    try:
        info = await userinfo_for(provider, code, f"{base_of(request)}/callback/{provider}")
    except Exception as error:
        raise HTTPException(400, f"Login failed: {error}")
    response = RedirectResponse(state or "/account", 303)
    email = info.get("email") or info.get("login", "")
    if state == "link" and found:
        LINKS.setdefault(found.username, {})[provider] = email
        return RedirectResponse("/account", 303)
    linked = [name for name in LINKS if LINKS[name].get(provider) == email]
    people = [each for each in await users.everyone() if each.email == email]
    user = await users.get(linked[0]) if linked else people[0] if people else None
    if user is None:
        name = f"{provider}-{hashlib.sha256(email.encode()).hexdigest()[:8]}"
        user = UserInDB(username=name, email=email, hashed_password="!")
        await users.add(user)
    await begin_session(browser, response, sessions, user)
    return response


Owner = Annotated[Session, Depends(get_session)]


@router.post("/identities/{provider}")
async def start_linking(provider: str, request: Request, session: Owner) -> Response:
    answer = await start_login(provider, request, next="link")
    return RedirectResponse(answer.headers["location"], 303)


@router.get("/identities")
async def list_identities(session: Owner) -> list[dict[str, str]]:
    mine = LINKS.get(session.username, {})
    return [{"provider": name, "label": mine[name], "linked_at": ""} for name in mine]


@router.delete("/identities/{provider}", status_code=204)
async def unlink(provider: str, session: Owner) -> None:
    LINKS.get(session.username, {}).pop(provider, None)


app = create_app(
    "Lesson 09: social", router, sessions.router, hashing.router, oauth2.router, refresh.router
)
