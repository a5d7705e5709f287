"""Logins under way in a table of its own, not in the given store."""

import secrets
from datetime import UTC, datetime
from functools import lru_cache
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
from solutions.support.people_at_providers import Person, add_account, identity_of, owner_of
from solutions.support.providers import NamedProvider, Provider, userinfo_of
from solutions.support.session_forms import local_path
from solutions.support.session_requests import Browser
from solutions.support.social_requests import Answer, ProviderAnswer, Refused, SocialRoute
from solutions.support.social_stores import Stores, flow_of, keep_for_a_flow
from solutions.support.threads import run_hashing


class OwnFlows:
    """Logins under way, in a table of this module."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Flow] = {}

    async def add(self, flow: Flow) -> None:
        """Keep a login; of one browser the last ten, of all the last ten thousand."""
        mine = [key for key in self._rows if key[0] == flow.session]
        for key in mine[:-9]:
            del self._rows[key]
        while len(self._rows) >= 10_000:
            del self._rows[next(iter(self._rows))]
        self._rows[flow.session, flow.state] = flow

    async def take(self, session: str, state: str) -> Flow | None:
        """Hand a login out, once."""
        return self._rows.pop((session, state), None)


@lru_cache
def open_own_flows() -> OwnFlows:
    """The one table."""
    return OwnFlows()


async def start_flow(
    provider: Provider, flows: FlowStore, session: Session, purpose: Purpose
) -> str:
    """Keep the login in a table of this file."""
    state = secrets.token_hex(32)
    nonce = secrets.token_hex(16)
    verifier = secrets.token_urlsafe(64)
    where = await provider.client.create_authorization_url(
        redirect_uri=provider.redirect_uri,
        code_challenge_method="S256",
        code_challenge=create_s256_code_challenge(verifier),
        state=state,
        nonce=nonce,
        prompt="select_account",
    )
    await open_own_flows().add(flow_of(provider, session, state, nonce, verifier, purpose))
    url: str = where["url"]
    return url


async def check_answer(
    provider: Provider, flows: FlowStore, session: Session | None, answer: Answer
) -> Flow:
    """Take the login from this file's table, and ask what is wrong with it."""
    wrong = [session is None, not answer.code, not answer.state]
    if any(wrong) or session is None:
        raise Refused
    flow = await open_own_flows().take(session.digest, digest_of(answer.state))
    if flow is None:
        raise Refused
    expected = {provider.issuer} if provider.promises_iss else {provider.issuer, None}
    in_time = datetime.now(UTC) < flow.expires_at
    if not in_time or flow.provider != provider.name or answer.iss not in expected:
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
        if provider.has_id_tokens:
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
        said = await client.userinfo(token=token)
        if type(said["id"]) is not int:  # True is an int, too
            raise Refused
        return Person.of(provider.issuer, str(said["id"]), said)
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
        kept = await identities.claim(identity_of(person, user), instead_of=known)
        if kept.account_id != user.account_id:  # another tab of the same person was quicker
            await users.remove(user.username)
            user = await owner_of(kept, users)
    return None if user is None or user.disabled else user


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
