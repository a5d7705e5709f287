"""People who come by a provider: new, known, or where the account is gone. For `find_account`.

Each has stores of their own, so that a call costs a tenth of a login, and all ways can be tried.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import unwrap
from typing import Any

from lessons.harness.failing import Before, Failing
from lessons.harness.storm import full_queue, hashing_at_once

NEW, KNOWN, GONE = "new", "known", "whose account is gone"
RENAMED = "whose account is gone, and its name another's,"
UNKNOWN_HERE = (NEW, GONE, RENAMED)  # those who get a new account
PATIENCE = 5  # seconds for whoever has no room
# Subjects that are not one, however alike they look. Each is somebody of its own.
SUBJECTS = (
    *("\u00e9rin", "e\u0301rin", "\u00c9rin", "erin", "Erin", " erin", "erin ", "erin\n", "er in"),
    *("stra\u00dfe", "strasse", "\u212bke", "\u00e5ke", "\ufb01n", "fin", "erin\0x", "e\u200brin"),
    *("7", "07", "7.0", "+7", "\u0667", "\uff17", "a" * 255, "a" * 254, f"{'a' * 254}b", "none"),
    *("7@erin.example", "auth0|7"),
)


class Coveted(Before):
    """An identity store in which johndoe has every issuer and subject but the person's own.

    So whatever else somebody is looked up by is somebody else's.
    """

    def __init__(self, store: Any, person: Any, johndoe: Any) -> None:
        super().__init__(store)
        self.person, self.johndoe = person, johndoe
        self.asked, self.claimed = "", ""  # what is not the person's own

    async def find(self, issuer: str, subject: str) -> Any:
        """Return the identity that is kept there, or johndoe's."""
        from solutions.support.people_at_providers import Person, identity_of

        kept = await self._store.find(issuer, subject)
        if kept or self._is_own(issuer, subject):
            return kept
        self.asked = f"{subject!a:.60} of {issuer}"
        return identity_of(Person(issuer, subject), self.johndoe)

    async def claim(self, identity: Any, instead_of: Any = None) -> Any:
        """Keep an identity, and note whether it is another one than the person's."""
        if not self._is_own(identity.issuer, identity.subject):
            self.claimed = f"{identity.subject!a:.60} of {identity.issuer}"
        return await self._store.claim(identity, instead_of)

    def _is_own(self, issuer: str, subject: str) -> bool:
        return (issuer, subject) == (self.person.issuer, self.person.subject)


class Arrivals:
    """A person, and the stores in which that person's account is, or is not."""

    def __init__(
        self, candidate: Any, client: Any, person: Any, kind: str = NEW, others: Sequence[Any] = ()
    ) -> None:
        from solutions.stores.identities import MemoryIdentityStore
        from solutions.stores.users import MemoryUserStore, UserInDB
        from solutions.support.people_at_providers import Person, identity_of

        self.client, self.person = client, person
        self.users, identities = MemoryUserStore(), MemoryIdentityStore()
        self._find = candidate.find_account

        def account(name: str) -> Any:
            return UserInDB(username=name, email=f"{name}@example.com", hashed_password="*")

        self.own = account("erin-2")
        self.known = [(each, account(f"other-{number}")) for number, each in enumerate(others)]
        johndoe = account("johndoe")
        his = Person(person.issuer, "johndoe's", "johndoe", "johndoe", "johndoe@example.com")
        self.identities = Coveted(identities, person, johndoe)
        there = [johndoe, account("alice"), *(user for _, user in self.known)]
        there += {KNOWN: [self.own], RENAMED: [account("erin-2")]}.get(kind, [])

        async def fill() -> None:
            for user in there:
                await self.users.add(user)
            tied = [(his, johndoe), *self.known, *([(person, self.own)] if kind != NEW else [])]
            for each, user in tied:
                await identities.claim(identity_of(each, user))

        client.run(fill())
        self._before = len(there)

    def arrive(self, person: Any = None) -> Any:
        """Let the person come, or another one, and return the account."""
        person = person or self.person
        there = self.identities
        there.person, there.asked = person, ""
        with hashing_at_once():
            account = self._find(person, there, self.users)
        who = f"The subject {person.subject!a:.40} of {person.issuer}"
        if account and account.account_id == there.johndoe.account_id:
            assert not there.asked, f"{who} is johndoe: find_account looked up {there.asked}."
        assert not there.claimed, f"{who}: find_account ties the account to {there.claimed}, too."
        return account

    def forget(self, number: int, with_account: bool) -> Any:
        """Let one of the others be new, or one whose account is gone. Return that person."""
        person, user = self.known[number]
        if with_account:
            self.client.run(self.users.remove(user.username))
        else:
            del self.identities._identities[person.issuer, person.subject]
        return person

    @property
    def added(self) -> int:
        """How many accounts there are more than before."""
        return len(self.client.run(self.users.everyone())) - self._before

    def overtaken(self, step: int, then: Callable[["Arrivals", Any], Any] | None = None) -> Any:
        """Let the person come in two tabs, the second one wholly before a step of the first.

        Return the accounts of both; None if the first one takes fewer steps. `then` may change what
        the second one has left.
        """
        come, second = unwrap(self._find), []
        steps = 0

        class Stepped(Before):
            async def _before(tab, name: str, args: Any, kwargs: Any) -> None:  # noqa: N805
                nonlocal steps
                steps += 1
                if steps == step:
                    second.append(await come(self.person, self.identities, self.users))
                    if then and second[0]:
                        await then(self, second[0])

        with hashing_at_once():
            first = self._find(self.person, Stepped(self.identities), Stepped(self.users))
        return (first, second[0]) if second else None

    def come_to_a_full_queue(self) -> Any:
        """Let the person come while no hash finds room; return the account, or what was raised."""

        async def come() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await unwrap(self._find)(self.person, self.identities, self.users)

        with full_queue():
            try:
                return self.client.run(come())
            except Exception as error:
                return error

    def come_in_a_failure(self, store: str, method: str) -> Any:
        """Let the person come while a store fails, and return the account, if there is one."""
        failing = Failing(getattr(self, store), method)
        identities, users = (
            failing if store == name else getattr(self, name) for name in ("identities", "users")
        )
        with suppress(Exception):
            account = self._find(self.person, identities, users)
            return account if failing.failed else None
        return None
