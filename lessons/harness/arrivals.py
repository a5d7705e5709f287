"""People who come by a provider: new, known, or where the account is gone. For `find_account`.

Each has stores of their own, so that a call costs a tenth of a login, and all ways can be tried.
"""

from collections.abc import Callable
from contextlib import suppress
from inspect import unwrap
from typing import Any

from lessons.harness.failing import Before, Failing

NEW, KNOWN, GONE, RENAMED = "new", "known", "gone", "gone, and the name is another's"
UNKNOWN_HERE = (NEW, GONE, RENAMED)  # those who get a new account
OTHERS = 2  # accounts that are there, whoever comes


class Arrivals:
    """One person, and the stores in which that person's account is, or is not."""

    def __init__(self, candidate: Any, client: Any, person: Any, kind: str = NEW) -> None:
        from solutions.stores.identities import MemoryIdentityStore
        from solutions.stores.users import MemoryUserStore, UserInDB
        from solutions.support.people_at_providers import identity_of

        self.client, self.person = client, person
        self.users, self.identities = MemoryUserStore(), MemoryIdentityStore()
        self._find = candidate.find_account
        self.own = UserInDB(username="erin-2", hashed_password="*", has_password=False)
        names = ["johndoe", "alice", *(["erin-2"] if kind == RENAMED else [])]
        others = [UserInDB(username=name, hashed_password="*") for name in names]
        there = [self.own, *others] if kind == KNOWN else others

        async def fill() -> None:
            for each in there:
                await self.users.add(each)
            if kind != NEW:
                await self.identities.claim(identity_of(person, self.own))

        client.run(fill())
        self._before = len(there)

    def arrive(self, person: Any = None) -> Any:
        """Let the person come, or another one, and return the account."""
        return self._find(person or self.person, self.identities, self.users)

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

        first = self._find(self.person, Stepped(self.identities), Stepped(self.users))
        return (first, second[0]) if second else None

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
