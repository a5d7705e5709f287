"""Logins at a provider without a browser: lesson 09's functions, called as its routes call them.

A call costs a third of a request. It also tells what a function gives back: a route makes the same
page of a refusal and of a wrong value.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lessons.harness.abroad import ERIN, Abroad
from lessons.harness.provider import HONEST, Lie
from lessons.harness.transcript import show
from lessons.harness.verdicts import check_type, only_raises, twin


@dataclass
class LoginCalls:
    """One browser's session, and the functions that a login in it comes through."""

    candidate: Any
    client: Any
    there: Abroad
    session: Any
    flows: Any  # a store of its own: a test may begin logins at any time
    _begun: dict[str, tuple[str, Any]] = field(default_factory=dict)  # address and flow

    def provider(self, name: str) -> Any:
        """Return a provider as the routes get it."""
        from solutions.support.providers import open_providers

        ready = open_providers()._ready.get(name)  # to save a turn of the loop
        return ready[1] if ready else self.client.run(open_providers().get(name))

    def start(self, name: str) -> str:
        """Begin a login, and return where it leads."""
        from solutions.stores.flows import Purpose

        begun = self.provider(name), self.flows, self.session, Purpose("/account")
        address = self.candidate.start_flow(*begun)
        check_type("start_flow", address, str)
        return str(address)

    def check(self, name: str, answer: Any) -> Any:
        """Return the flow that an answer belongs to."""
        return self.candidate.check_answer(self.provider(name), self.flows, self.session, answer)

    def identify(self, name: str, person: Mapping[str, Any] = ERIN, lie: Lie = HONEST) -> Any:
        """Return who a provider says that this is. One login goes on from where it was."""
        with twin():
            if name not in self._begun:
                address = self.start(name)
                self._begun[name] = address, self.check(name, self.answer(name, address, person))
        address, flow = self._begun[name]
        code = self.answer(name, address, person, lie).code
        return self.candidate.identify(self.provider(name), flow, code)

    def account(self, name: str, person: Mapping[str, Any]) -> str:
        """Return the name of the account that somebody comes into."""
        from solutions.stores.identities import open_identity_store
        from solutions.stores.users import open_user_store

        with twin():
            found = self.identify(name, person)
            user = self.candidate.find_account(found, open_identity_store(), open_user_store())
            assert user is not None, f"{person} comes by {name}, and gets no account."
        return str(user.username)

    def answer(
        self, name: str, address: str, person: Mapping[str, Any] = ERIN, lie: Lie = HONEST
    ) -> Any:
        """Let somebody log in at an address; return the answer as the routes read it."""
        from solutions.support.social_requests import Answer

        query = urlsplit(self.there[name].answer(address, person, lie)).query
        said = dict(parse_qsl(query, keep_blank_values=True))
        return Answer(said.get("code", ""), said.get("state", ""), said.get("iss"))


def login_calls(candidate: Any, client: Any, there: Abroad) -> LoginCalls:
    """Return the functions with a pre-session and a store of their own."""
    from solutions.stores.flows import MemoryFlowStore
    from solutions.stores.sessions import Session

    now = datetime.now(UTC)
    ends = now + timedelta(minutes=10)
    session = Session("0" * 64, "id", "token", "", "", "Firefox", now, now, ends)
    return LoginCalls(candidate, client, there, session, MemoryFlowStore())


@contextmanager
def refused_by(name: str, what: str, *others: type[Exception]) -> Iterator[list[Any]]:
    """Assert that the block raises Refused, or one of `others`.

    Put what the function `name` returned in the list, so that a failure can show it.
    """
    from solutions.support.social_requests import Refused

    got: list[Any] = []
    try:
        with only_raises(name, Refused, *others):
            yield got
    except (Refused, *others):
        return
    returned = "the class Refused" if got[-1] is Refused else show(got[-1])
    raise AssertionError(f"{what}: {name} does not raise Refused. It returns {returned}.")
