"""Who somebody is at a provider, and the account that is made for somebody new."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from ..stores.identities import Identity, IdentityStore
from ..stores.users import GIVEN_NAME, User, UserInDB, UserStore, fold_username
from .providers import Provider
from .social_requests import Refused

MAX_SUBJECT = 255  # characters; OpenID Connect Core section 2
MAX_TEXT = 100  # characters of a name
EMAIL = re.compile(r"[!-?A-~]{1,64}@[!-?A-~]{1,189}")  # as /register takes them, in ASCII
NOT_IN_A_NAME = re.compile(r"[^a-z0-9_.-]+")


@dataclass(frozen=True)
class Person:
    """Somebody at a provider. Only `issuer` and `subject` say who; the rest is for show."""

    issuer: str
    subject: str
    name: str = ""
    nickname: str = ""
    email: str = ""

    @classmethod
    def of(cls, issuer: str, subject: object, said: dict[str, Any]) -> Self:
        """Return the person of a subject. Raises ValueError for one that is none.

        What else was said is used where it is fit, and left out where it is not.
        """
        if not (isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT):
            raise ValueError("no subject")
        email = _text(said.get("email")) if said.get("email_verified") is True else ""
        return cls(
            issuer=issuer,
            subject=subject,
            name=_text(said.get("name")),
            nickname=_text(said.get("preferred_username") or said.get("login")),
            email=email if EMAIL.fullmatch(email) else "",
        )


def _text(value: object) -> str:
    fits = isinstance(value, str) and len(value) <= 254 and value.isprintable()
    return value[:MAX_TEXT] if isinstance(value, str) and fits else ""


async def ask_github(provider: Provider, token: Any) -> Person:
    """Return whose an access token of GitHub's is: it speaks OAuth 2.0, and has no ID tokens.

    The subject is the numeric id. Names change their owners there. Raises Refused for another kind
    of id, and lets through what Authlib, HTTP and JSON raise.
    """
    said = await provider.client.userinfo(token=token)
    if type(said["id"]) is not int:  # True is an int, too
        raise Refused
    return Person.of(provider.issuer, str(said["id"]), said)


def identity_of(person: Person, user: User) -> Identity:
    """Return what ties a person at a provider to an account."""
    return Identity(
        issuer=person.issuer,
        subject=person.subject,
        username=user.username,
        account_id=user.account_id,
        label=person.email or person.nickname or person.name,
        linked_at=datetime.now(UTC),
    )


async def owner_of(identity: Identity | None, users: UserStore) -> User | None:
    """Return the account that an identity opens; None without one, or when it is gone.

    The name may be somebody else's by now. The account's id tells.
    """
    user = await users.get(identity.username) if identity else None
    return user if user and identity and user.account_id == identity.account_id else None


async def add_account(users: UserStore, person: Person, hashed_password: str) -> User:
    """Make an account for somebody new, under a free name that reads like theirs."""
    wanted = _name_for(person)
    while True:
        account = UserInDB(
            username=GIVEN_NAME.format(wanted),
            full_name=person.name or None,
            email=person.email or None,
            hashed_password=hashed_password,
            has_password=False,
        )
        if await users.add(account):
            return account
        wanted = f"{_name_for(person)[:20]}-{secrets.token_hex(4)}"


async def claim(
    user: User, person: Person, known: Identity | None, identities: IdentityStore, users: UserStore
) -> User | None:
    """Tie a person to a new account, and return the account that they have from now on.

    `known` is the identity as it was looked up. Where another tab of the same person was quicker,
    that one's account counts, and the new one goes (CWE-367).
    """
    kept = await identities.claim(identity_of(person, user), instead_of=known)
    if kept.account_id == user.account_id:
        return user
    await users.remove(user.username)
    return await owner_of(kept, users)


def _name_for(person: Person) -> str:
    given = person.nickname or person.email.partition("@")[0] or person.name
    name = NOT_IN_A_NAME.sub("-", given.casefold()).strip("-.")[:32]
    fits = fold_username(GIVEN_NAME.format(name))
    return name if fits else f"user-{secrets.token_hex(4)}"
