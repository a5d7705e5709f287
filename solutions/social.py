"""Lesson 09. Social login: another service says who somebody is, and we check each word."""

import secrets
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import APIRouter, Depends, Response, status
from fastapi.responses import RedirectResponse

from . import hashing, oauth2, refresh, sessions
from .hashing import hash_password
from .sessions import Found, begin_session, get_session, refuse_forgery
from .stores.flows import Flow, FlowStore, Purpose
from .stores.identities import IdentityStore
from .stores.sessions import Session
from .stores.users import User, UserStore
from .support.apps import create_app
from .support.digests import digest_of
from .support.identity_routes import identity_routes, link
from .support.people_at_providers import Person, add_account, ask_github, claim, owner_of
from .support.providers import NamedProvider, Provider, userinfo_of
from .support.session_forms import local_path
from .support.session_requests import Browser
from .support.social_requests import Answer, ProviderAnswer, Refused, SocialRoute
from .support.social_stores import Stores, flow_of, keep_for_a_flow
from .support.threads import run_hashing


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
    """Return who the provider says that this is (OpenID Connect Core section 3.1.3.7).

    Raises Refused for a code, a token or an answer with which anything is wrong.
    """
    client = provider.client
    try:
        token = await client.fetch_access_token(
            provider.redirect_uri, code=code, code_verifier=flow.verifier
        )
        if not provider.has_id_tokens:
            return await ask_github(provider, token)
        claims = await client.parse_id_token(
            token,
            nonce=flow.nonce,
            claims_options={
                "iss": {"essential": True, "value": provider.issuer},
                "aud": {"essential": True, "value": provider.client_id},
            },
            leeway=60,
        )
        return await ask_userinfo(provider, token, claims)
    except Exception:  # of Authlib, joserfc, HTTP and JSON, which have no common base
        raise Refused from None


async def ask_userinfo(provider: Provider, token: Any, claims: dict[str, Any]) -> Person:
    """Return the person of an ID token, with what the provider adds about the same one."""
    said = await userinfo_of(provider, token)
    if said and said["sub"] != claims["sub"]:  # OpenID Connect Core section 5.3.2
        raise Refused
    return Person.of(provider.issuer, claims["sub"], {**said, **claims})


async def find_account(person: Person, identities: IdentityStore, users: UserStore) -> User | None:
    """Return the account of somebody at a provider, a new one for a new person; None if disabled.

    By issuer and subject alone: an address proves nothing about an account here (ASVS 6.8.1).
    """
    known = await identities.find(person.issuer, person.subject)
    user = await owner_of(known, users)
    if user is None:
        hashed = await run_hashing(hash_password, secrets.token_urlsafe(32))  # nobody's password
        user = await add_account(users, person, hashed)
        user = await claim(user, person, known, identities, users)
    return None if user is None or user.disabled else user


router = APIRouter(route_class=SocialRoute, tags=["09 social"])


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


changing = identity_routes(get_session, start_flow)  # what no other site's page may send
router.include_router(changing, dependencies=[Depends(refuse_forgery)])

app = create_app(
    "Lesson 09: social", router, sessions.router, hashing.router, oauth2.router, refresh.router
)
