"""The people. Routes reach their store through `get_users` only."""

import re
import secrets
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Annotated, Any, Protocol

from fastapi import Depends
from pydantic import BaseModel, Field

from ..support.seams import note
from ..support.settings import get_settings
from .chosen import chosen_stores
from .one_at_a_time import OneAtATime

USERNAME = re.compile(r"[a-z0-9_.-]{3,32}")
GIVEN_NAME = "{}"  # what somebody from a provider is called


def fold_username(username: str) -> str | None:
    """Return the one spelling under which a name is kept, or None for an impossible name.

    `Alice` and `alice` are one person (CWE-178). What `casefold` turns into a to z is the same
    name; any other letter that looks like one is refused. So nobody can register a second name
    that reads the same.
    """
    folded = username.casefold()
    return folded if USERNAME.fullmatch(folded) else None


def new_security_stamp() -> str:
    """Draw the random mark that ties tokens to one state of the account (128 bits)."""
    return secrets.token_urlsafe(16)


def new_account_id() -> str:
    """Draw what tells an account from a later one of the same name."""
    return uuid.uuid4().hex


class User(BaseModel):
    """A person, without anything that verifies a password."""

    username: str
    email: str | None = None
    full_name: str | None = None
    disabled: bool = False
    role: str = "user"
    scopes: list[str] = Field(default_factory=lambda: ["me", "items"])
    security_stamp: str = Field(default_factory=new_security_stamp, repr=False)
    account_id: str = Field(default_factory=new_account_id)  # for as long as it exists
    has_password: bool = True  # False: the hash is of one that nobody knows


class UserInDB(User):
    """A person as stored. The hash stays out of `repr` and of every dump (CWE-532)."""

    hashed_password: str = Field(repr=False, exclude=True)


class UserStore(Protocol):
    """People by folded name. Hands out copies: only the methods change what is stored.

    Each method is one step, and one short transaction of its own in a database.
    """

    async def get(self, username: str) -> UserInDB | None:
        """Return the person of that name in any spelling, or None."""

    async def everyone(self) -> list[UserInDB]:
        """Return all people."""

    async def add(self, person: UserInDB) -> bool:
        """Store a new person; False when the name is taken. One step (CWE-362).

        Raises ValueError for a name that `fold_username` refuses.
        """

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        """Store the same password's new hash, if `old` is still the stored one.

        Compare and set, so that a rehash at login cannot undo a password change.
        """

    async def change(self, username: str, **changes: Any) -> UserInDB | None:
        """Change fields of a person and return the result; None when there is no such person.

        A new `hashed_password` draws a new security stamp, and so does enabling a disabled account:
        whoever was the reason to disable it must not come back with old tokens. The name itself
        never changes.
        Raises ValueError for a field that does not exist.
        """

    async def remove(self, username: str) -> bool:
        """Forget a person; False when there is none of that name."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Let nobody else write until the block ends: `async with users.transaction():`.

        What the block has looked up still holds when it writes. An exception undoes what it wrote.
        The block waits for nothing but the store: a hash in it would stop all others.
        """


def complete(changes: dict[str, Any]) -> dict[str, Any]:
    """Return changes of a person, with what a new password brings along.

    Raises ValueError for a field that does not exist, and for the name.
    """
    if unknown := set(changes) - (set(UserInDB.model_fields) - {"username"}):
        raise ValueError(f"cannot change {', '.join(sorted(unknown))}")
    if "hashed_password" in changes:
        changes = {"security_stamp": new_security_stamp(), "has_password": True, **changes}
    return changes


class MemoryUserStore:
    """A `UserStore` in memory. It loses everything at a restart."""

    def __init__(self, people: Iterable[UserInDB] = ()) -> None:
        self._one = OneAtATime()
        self._people: dict[str, UserInDB] = {}
        for person in people:
            self._add(person)

    async def get(self, username: str) -> UserInDB | None:
        """Return the person of that name in any spelling, or None."""
        async with self._one.enter():
            person = self._find(username)
            return _copy(person) if person else None

    async def everyone(self) -> list[UserInDB]:
        """Return all people."""
        async with self._one.enter():
            return [_copy(person) for person in self._people.values()]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Let nobody else in until the block ends; an exception undoes what it wrote."""
        async with self._one.enter():
            before = dict(self._people)
            try:
                yield
            except BaseException:
                self._people = before
                raise

    async def add(self, person: UserInDB) -> bool:
        """Store a new person; False when the name is taken."""
        note(whom=person.username)
        async with self._one.enter():
            return self._add(person)

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        """Store the same password's new hash, if `old` is still the stored one."""
        async with self._one.enter():
            person = self._find(username)
            if person is None or person.hashed_password != old:
                return False
            self._people[person.username] = person.model_copy(update={"hashed_password": new})
            return True

    async def change(self, username: str, **changes: Any) -> UserInDB | None:
        """Change fields of a person and return the result; None when there is no such person."""
        changes = complete(changes)
        async with self._one.enter():
            person = self._find(username)
            if person is None:
                return None
            if person.disabled and changes.get("disabled") is False:
                changes.setdefault("security_stamp", new_security_stamp())
            changed = person.model_copy(update=changes, deep=True)
            self._people[person.username] = changed
            return changed.model_copy(deep=True)

    async def remove(self, username: str) -> bool:
        """Forget a person; False when there is none of that name."""
        async with self._one.enter():
            person = self._find(username)
            return person is not None and self._people.pop(person.username, None) is not None

    def _add(self, person: UserInDB) -> bool:
        username = fold_username(person.username)
        if username is None:
            raise ValueError("not a username")
        if username in self._people:
            return False
        self._people[username] = person.model_copy(update={"username": username}, deep=True)
        return True

    def _find(self, username: str) -> UserInDB | None:
        return self._people.get(fold_username(username) or "")


def _copy(person: UserInDB) -> UserInDB:
    # Every request gets one, and a deep copy costs four times as much. Only the list can change.
    return person.model_copy(update={"scopes": [*person.scopes]})


def demo_people() -> list[UserInDB]:
    """Return the workbook's cast. Their passwords are printed in it, so: development only.

    Nobody, where names look otherwise.
    """
    cast = [
        UserInDB(
            username="johndoe",
            full_name="John Doe",
            email="johndoe@example.com",
            hashed_password="$2b$12$d/ZUFoIRx.oqLOk6hifPZu4oqOzARCwJy9x3Wg1I1KtTTxf9bkmy2",
        ),
        UserInDB(
            username="alice",
            full_name="Alice Admin",
            email="alice@example.com",
            role="admin",
            hashed_password="$2b$12$LF8ykY71Kzsj67I/4VXYde0a8HayIX6Pk/fKp.V220PNiNzsM1l3G",
        ),
        UserInDB(
            username="carol",
            full_name="Carol Root",
            email="carol@example.com",
            role="superadmin",
            hashed_password="$2b$12$gUcyI0PksJ/yXe6E.UijUuQHj7Rp3LK5mT22W.ZJa8zR13mLgJ1iS",
        ),
        UserInDB(
            username="bob",
            full_name="Bob Barred",
            email="bob@example.com",
            disabled=True,
            hashed_password="$2b$12$9b4TYN5at46mw.y/.1sXhOFRMd2fMu58cJubsZNTFuBSJRU76IVkm",
        ),
    ]
    return [person for person in cast if fold_username(person.username)]


@lru_cache
def open_user_store() -> MemoryUserStore:
    """Build the process's one store: the demo people in development, nobody in production."""
    return MemoryUserStore(demo_people() if get_settings().environment == "development" else [])


async def get_users() -> UserStore:
    """Hand the store to a route.

    `async`, because it waits for nothing: FastAPI then calls it without a worker thread, and
    two first requests cannot build two stores.
    """
    stores = chosen_stores.get()
    return stores.users if stores else open_user_store()


Users = Annotated[UserStore, Depends(get_users)]
