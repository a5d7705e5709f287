"""The ID token is verified by PyJWT, which lesson 02 knows."""

import secrets
from datetime import UTC, datetime
from typing import Any

import jwt
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


def github_person(provider: Provider, said: dict[str, Any]) -> Person:
    """Return GitHub's person by the number that never changes."""
    match said.get("id"):
        case True | False:
            raise Refused
        case int(number):
            return Person.of(provider.issuer, f"{number}", said)
    raise Refused


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
    """First who answers, then what."""
    if provider.promises_iss and answer.iss is None:
        raise Refused
    if answer.iss is not None and not secrets.compare_digest(
        answer.iss.encode("utf-8", "replace"), provider.issuer.encode()
    ):
        raise Refused
    if not answer.code or not answer.state or session is None:
        raise Refused
    flow = await flows.take(session.digest, digest_of(answer.state))
    if flow is None:
        raise Refused
    left = flow.expires_at - datetime.now(UTC)
    if left.total_seconds() <= 0 or provider.name != flow.provider:
        raise Refused
    return flow


async def identify(provider: Provider, flow: Flow, code: str) -> Person:
    """Authlib gets the tokens, PyJWT verifies the ID token."""
    try:
        token = await provider.client.fetch_access_token(
            redirect_uri=provider.redirect_uri, code=code, code_verifier=flow.verifier
        )
        if not provider.has_id_tokens:
            return github_person(provider, await provider.client.userinfo(token=token))
        keys = jwt.PyJWKSet.from_dict(await provider.client.fetch_jwk_set())
        header = jwt.get_unverified_header(token["id_token"])
        key = next(each for each in keys.keys if each.key_id == header.get("kid"))
        claims = jwt.decode(
            token["id_token"],
            key,
            algorithms=["RS256", "ES256"],
            audience=provider.client_id,
            issuer=provider.issuer,
            leeway=10,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "nonce"]},
        )
        if claims["nonce"] != flow.nonce or claims.get("azp", provider.client_id) != provider.client_id:
            raise Refused
        return await ask_userinfo(provider, token, claims)
    except Exception:
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
