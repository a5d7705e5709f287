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
PATIENCE = 2  # seconds for whoever has no room
# Subjects that are not one, however alike they look. Each is somebody of its own.
SUBJECTS = (
    *("\u00e9rin", "e\u0301rin", "\u00c9rin", "erin", "Erin", " erin", "erin ", "erin\n", "er in"),
    *("stra\u00dfe", "strasse", "\u212bke", "\u00e5ke", "\ufb01n", "fin", "erin\0x", "e\u200brin"),
    *("7", "07", "7.0", "+7", "\u0667", "\uff17", "a" * 255, "a" * 254, f"{'a' * 254}b", "none"),
)


class Arrivals:
    """A person, and the stores in which that person's account is, or is not."""

    def __init__(
        self, candidate: Any, client: Any, person: Any, kind: str = NEW, others: Sequence[Any] = ()
    ) -> None:
        from solutions.stores.identities import MemoryIdentityStore
        from solutions.stores.users import MemoryUserStore, UserInDB
        from solutions.support.people_at_providers import identity_of

        self.client, self.person = client, person
        self.users, self.identities = MemoryUserStore(), MemoryIdentityStore()
        self._find = candidate.find_account

        def account(name: str) -> Any:
            return UserInDB(username=name, email=f"{name}@example.com", hashed_password="*")

        self.own = account("erin-2")
        self.known = [(each, account(f"other-{number}")) for number, each in enumerate(others)]
        there = [account("johndoe"), account("alice"), *(user for _, user in self.known)]
        there += {KNOWN: [self.own], RENAMED: [account("erin-2")]}.get(kind, [])

        async def fill() -> None:
            for user in there:
                await self.users.add(user)
            for each, user in self.known if kind == NEW else [(person, self.own), *self.known]:
                await self.identities.claim(identity_of(each, user))

        client.run(fill())
        self._before = len(there)

    def arrive(self, person: Any = None) -> Any:
        """Let the person come, or another one, and return the account."""
        with hashing_at_once():
            return self._find(person or self.person, self.identities, self.users)

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
