"""Looks, claims and looks again, until both agree."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

from authlib.oidc.core import CodeIDToken
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import APIRouter, Depends, Response, status
from fastapi.responses import RedirectResponse

from solutions import hashing, oauth2, refresh, sessions
from solutions.hashing import hash_password
from solutions.sessions import Found, begin_session, get_session, refuse_forgery
from solutions.stores.flows import Flow, FlowStore, Purpose
from solutions.stores.identities import IdentityStore
from solutions.stores.sessions import Session
from solutions.stores.users import User, UserStore
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.support.identity_routes import identity_routes, link
from solutions.support.people_at_providers import Person, add_account, identity_of, owner_of
from solutions.support.providers import NamedProvider, Provider, userinfo_of
from solutions.support.session_forms import local_path
from solutions.support.session_requests import Browser
from solutions.support.social_requests import Answer, ProviderAnswer, Refused, SocialRoute
from solutions.support.social_stores import Stores, flow_of, keep_for_a_flow
from solutions.support.threads import run_hashing


async def _identify(provider: Provider, flow: Flow, code: str) -> Person:
    call = {"code": code, "code_verifier": flow.verifier, "redirect_uri": provider.redirect_uri}
    token = await provider.client.fetch_access_token(**call)
    if provider.name == "github":
        said = await provider.client.userinfo(token=token)
        if type(said.get("id")) is int and said["id"] > 0:
            return Person.of(provider.issuer, str(said["id"]), said)
        raise Refused
    options = {
        "iss": {"essential": True, "values": [provider.issuer]},
        "aud": {"essential": True, "values": [provider.client_id]},
    }
    claims = await provider.client.parse_id_token(
        token, flow.nonce, claims_options=options, claims_cls=CodeIDToken, leeway=0
    )
    if claims is None or not claims["sub"]:
        raise Refused
    return await ask_userinfo(provider, token, claims)


async def start_flow(
    provider: Provider, flows: FlowStore, session: Session, purpose: Purpose
) -> str:
    """Begin a login at a provider, and return the address to send the browser to.

    `state` ties the answer to this browser (CWE-352), `nonce` the ID token to this login, and the
    verifier the code to us: only its SHA-256 is sent (RFC 7636). All three are new each time.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    await flows.add(flow_of(provider, session, state, nonce, verifier, purpose))
    begun = await provider.client.create_authorization_url(
        provider.redirect_uri,
        state=state,
        nonce=nonce,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
    )
    return str(begun["url"])


async def check_answer(
    provider: Provider, flows: FlowStore, session: Session | None, answer: Answer
) -> Flow:
    """Return the login that an answer belongs to. It was begun in this browser, and ends here.

    Raises Refused for any other answer, and for one that somebody else gives (RFC 9207).
    """
    flow = await flows.take(session.digest, digest_of(answer.state)) if session else None
    if flow is None or flow.provider != provider.name or flow.expires_at <= datetime.now(UTC):
        raise Refused
    if answer.iss != provider.issuer and (provider.promises_iss or answer.iss is not None):
        raise Refused
    if not answer.code:  # somebody said no
        raise Refused
    return flow


async def identify(provider: Provider, flow: Flow, code: str) -> Person:
    """All in one try, and one way out."""
    try:
        async with asyncio.timeout(20):
            return await _identify(provider, flow, code)
    except Exception:
        raise Refused from None


async def ask_userinfo(provider: Provider, token: Any, claims: dict[str, Any]) -> Person:
    """Return the person of an ID token, with what the provider adds about the same one."""
    said = await userinfo_of(provider, token)
    if said and said["sub"] != claims["sub"]:  # OpenID Connect Core section 5.3.2
        raise Refused
    return Person.of(provider.issuer, claims["sub"], {**said, **claims})


async def find_account(person: Person, identities: IdentityStore, users: UserStore) -> User | None:
    """Try until what was seen is what is kept: at most a few times."""
    made: User | None = None
    for _ in range(5):
        known = await identities.find(person.issuer, person.subject)
        owner = await owner_of(known, users)
        if owner is not None:
            if made is not None and made.account_id != owner.account_id:
                await users.remove(made.username)
            return owner if not owner.disabled else None
        if made is None:
            nobodys = secrets.token_urlsafe(48)
            made = await add_account(users, person, await run_hashing(hash_password, nobodys))
        await identities.claim(identity_of(person, made), instead_of=known)
    return None


router = APIRouter(
    route_class=SocialRoute, dependencies=[Depends(refuse_forgery)], tags=["09 social"]
)


@router.get("/login/{provider}")
async def start_login(
    provider: NamedProvider,
    browser: Browser,
    response: Response,
    found: Found,
    stores: Stores,
    next: str = "",
) -> Response:
    """Send the browser to a provider, to log in there."""
    found = await keep_for_a_flow(stores.sessions, found)
    session = found or await begin_session(browser, response, stores.sessions, None)
    address = await start_flow(provider, stores.flows, session, Purpose(local_path(next)))
    there = RedirectResponse(address, status.HTTP_302_FOUND)
    there.headers.update(response.headers)  # the cookie
    return there


@router.get("/callback/{provider}")
async def finish_login(
    provider: NamedProvider, answer: ProviderAnswer, browser: Browser, found: Found, stores: Stores
) -> Response:
    """Take a provider's answer: begin a session, or link a way in to the account of this one."""
    flow = await check_answer(provider, stores.flows, found, answer)
    person = await identify(provider, flow, answer.code)
    there = RedirectResponse(flow.purpose.next, status.HTTP_303_SEE_OTHER)
    if flow.purpose.link_to:
        await link(person, flow.purpose, found, stores.identities, stores.users)
        return there
    user = await find_account(person, stores.identities, stores.users)
    if user is None:
        raise Refused
    await begin_session(browser, there, stores.sessions, user)
    return there


router.include_router(identity_routes(get_session, start_flow))

app = create_app(
    "Lesson 09: social", hashing.router, oauth2.router, refresh.router, sessions.router, router
)
