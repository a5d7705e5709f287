"""Without Authlib's client: an address put together, a form posted, an ID token verified."""

import base64
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx2
from fastapi import APIRouter, Depends, Response, status
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.jwk import KeySet

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


def verified(provider: Provider, flow: Flow, id_token: str, keys: Any) -> dict[str, Any]:
    """Return the claims of an ID token that is for us, for now and for this login."""
    claims = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    now = datetime.now(UTC).timestamp()
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims["iss"] != provider.issuer or provider.client_id not in audience:
        raise ValueError("not for us")
    if claims.get("azp", provider.client_id) != provider.client_id:
        raise ValueError("asked for by somebody else")
    if claims["exp"] <= now - 30 or claims["iat"] > now + 30:
        raise ValueError("not for now")
    if claims["nonce"] != flow.nonce:
        raise ValueError("not for this login")
    return dict(claims)


async def start_flow(
    provider: Provider, flows: FlowStore, session: Session, purpose: Purpose
) -> str:
    """Begin a login, and return where to send the browser."""
    texts = {name: secrets.token_urlsafe(48) for name in ("state", "nonce", "verifier")}
    digest = hashlib.sha256(texts["verifier"].encode("ascii")).digest()
    challenge = base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": provider.redirect_uri,
        "scope": "openid profile email" if provider.has_id_tokens else "read:user",
        "state": texts["state"],
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if provider.has_id_tokens:
        query["nonce"] = texts["nonce"]
    await flows.add(
        flow_of(provider, session, texts["state"], texts["nonce"], texts["verifier"], purpose)
    )
    there = provider.client.server_metadata.get("authorization_endpoint", "")
    joined = "&" if "?" in there else "?"
    return f"{there}{joined}{urlencode(query)}"


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
    """Ask for the tokens, and verify what comes, with no client library."""
    metadata = provider.client.server_metadata
    settings = get_settings()
    secret = getattr(settings, f"{provider.name}_client_secret").get_secret_value()
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": provider.redirect_uri,
        "code_verifier": flow.verifier,
        "client_id": provider.client_id,
        "client_secret": secret,
    }
    try:
        async with httpx2.AsyncClient(transport=Bounded(), trust_env=False) as client:
            answer = await client.post(
                metadata["token_endpoint"], data=form, headers={"Accept": "application/json"}
            )
            token = answer.raise_for_status().json()
            bearer = {"Authorization": f"Bearer {token['access_token']}"}
            answer = await client.get(metadata["userinfo_endpoint"], headers=bearer)
            said = answer.raise_for_status().json()
            if provider.name == "github":
                number = said["id"]
                if isinstance(number, bool) or not isinstance(number, int):
                    raise ValueError("no id")
                return Person.of(provider.issuer, str(number), said)
            keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
        claims = verified(provider, flow, token["id_token"], keys)
        if said["sub"] != claims["sub"]:
            raise ValueError("somebody else")
        return Person.of(provider.issuer, claims["sub"], {**said, **claims})
    except Exception as error:
        raise Refused from error


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
