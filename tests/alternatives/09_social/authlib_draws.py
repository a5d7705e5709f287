"""A client of its own; Authlib draws the verifier, without its own PKCE, which logs it."""

import secrets
from datetime import UTC, datetime
from typing import Any

from authlib.common.security import generate_token
from authlib.integrations.starlette_client import OAuth
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
from solutions.support.bounded_http import Bounded
from solutions.support.digests import digest_of
from solutions.support.identity_routes import identity_routes, link
from solutions.support.people_at_providers import Person, add_account, identity_of, owner_of
from solutions.support.providers import NamedProvider, Provider, userinfo_of
from solutions.support.session_forms import local_path
from solutions.support.session_requests import Browser
from solutions.support.settings import get_settings
from solutions.support.social_requests import Answer, ProviderAnswer, Refused, SocialRoute
from solutions.support.social_stores import Stores, flow_of, keep_for_a_flow
from solutions.support.threads import run_hashing


def client_for(provider: Provider) -> Any:
    """Authlib's client once more, built for each call."""
    settings, given = get_settings(), provider.client.server_metadata
    names = ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    scope = "openid profile email" if provider.has_id_tokens else "read:user"
    return OAuth().register(
        provider.name,
        client_id=provider.client_id,
        client_secret=getattr(settings, f"{provider.name}_client_secret").get_secret_value(),
        client_kwargs={
            "scope": scope,
            "transport": Bounded(),
            "trust_env": False,
        },
        id_token_signing_alg_values_supported=["RS256", "ES256"],
        **{name: given[name] for name in names if name in given},
    )


async def start_flow(
    provider: Provider, flows: FlowStore, session: Session, purpose: Purpose
) -> str:
    """Let Authlib draw the verifier; state, nonce and the challenge are ours."""
    state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    verifier = generate_token(48)
    begun = await client_for(provider).create_authorization_url(
        provider.redirect_uri,
        state=state,
        nonce=nonce,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
    )
    await flows.add(flow_of(provider, session, state, nonce, verifier, purpose))
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
    client = client_for(provider)
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
