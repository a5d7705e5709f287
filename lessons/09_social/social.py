"""Lesson 09. Social login: another service says who somebody is, and we check each word."""

import secrets
from datetime import UTC, datetime
from typing import Any

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
from solutions.support.people_at_providers import Person, add_account, ask_github, claim, owner_of
from solutions.support.providers import NamedProvider, Provider, userinfo_of
from solutions.support.session_forms import local_path
from solutions.support.session_requests import Browser
from solutions.support.social_requests import Answer, ProviderAnswer, Refused, SocialRoute
from solutions.support.social_stores import Stores, flow_of, keep_for_a_flow
from solutions.support.threads import run_hashing


async def start_flow(
    provider: Provider, flows: FlowStore, session: Session, purpose: Purpose
) -> str:
    """Begin a login at a provider, and return the address to send the browser to.

    `state` ties the answer to this browser (CWE-352), `nonce` the ID token to this login, and the
    verifier the code to us: only its SHA-256 is sent (RFC 7636). All three are new each time.
    """
    raise NotImplementedError("TODO 1: begin a login at a provider")


async def check_answer(
    provider: Provider, flows: FlowStore, session: Session | None, answer: Answer
) -> Flow:
    """Return the login that an answer belongs to. It was begun in this browser, and ends here.

    Raises Refused for any other answer, and for one that somebody else gives (RFC 9207).
    """
    raise NotImplementedError("TODO 2: find the login that an answer belongs to")


async def identify(provider: Provider, flow: Flow, code: str) -> Person:
    """Return who the provider says that this is (OpenID Connect Core section 3.1.3.7).

    Raises Refused for a code, a token or an answer with which anything is wrong.
    """
    raise NotImplementedError("TODO 3: find out who the provider says that this is")


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
    raise NotImplementedError("TODO 4: find the account of a person at a provider")


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
