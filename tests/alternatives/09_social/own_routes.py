"""The routes written otherwise, around the usual functions."""

import base64
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response, status

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
    request: Request,
    browser: Browser,
    found: Found,
    stores: Stores,
) -> Response:
    """Send the browser on. A cookie is set on the answer itself."""
    there = Response(status_code=302)
    session = await keep_for_a_flow(stores.sessions, found)
    if session is None:
        session = await begin_session(browser, there, stores.sessions, None)
    wanted = request.query_params.getlist("next")
    purpose = Purpose(next=local_path(wanted[0])) if len(wanted) == 1 else Purpose()
    there.headers["Location"] = await start_flow(provider, stores.flows, session, purpose)
    return there


@router.get("/callback/{provider}")
async def finish_login(
    provider: NamedProvider, answer: ProviderAnswer, browser: Browser, found: Found, stores: Stores
) -> Response:
    """One way in, whichever way it was meant."""
    flow = await check_answer(provider, stores.flows, found, answer)
    who = await identify(provider, flow, answer.code)
    back = Response(status_code=303, headers={"Location": local_path(flow.purpose.next)})
    match flow.purpose.link_to:
        case "":
            account = await find_account(who, stores.identities, stores.users)
            if account is None:
                raise Refused
            await begin_session(browser, back, stores.sessions, account)
        case _:
            await link(who, flow.purpose, found, stores.identities, stores.users)
    return back


router.include_router(identity_routes(get_session, start_flow))

app = create_app(
    "Lesson 09: social", hashing.router, oauth2.router, refresh.router, sessions.router, router
)
