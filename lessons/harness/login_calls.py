"""Logins at a provider without a browser: lesson 09's functions, called as its routes call them.

A call costs a third of a request. It also tells what a function gives back: a route makes the same
page of a refusal and of a wrong value.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lessons.harness.abroad import ERIN, Abroad, query_of
from lessons.harness.provider import HONEST, Lie
from lessons.harness.transcript import show
from lessons.harness.verdicts import check_type, only_raises, twin


@dataclass
class LoginCalls:
    """Two browsers' sessions, and the functions that a login or a link in them comes through."""

    candidate: Any
    client: Any
    there: Abroad
    outside: Any  # the pre-session of whoever logs in
    inside: Any  # the session of whoever links another provider
    flows: Any  # a store of its own: a test may begin logins at any time
    links: bool = False  # whether what begins now is a link
    _kept: dict[tuple[str, bool], tuple[str, Any]] = field(default_factory=dict)  # for `answered`

    @property
    def session(self) -> Any:
        """The session in which this begins, and is to end."""
        return self.inside if self.links else self.outside

    @property
    def way(self) -> str:
        """What is under way, for a sentence."""
        return "a link" if self.links else "a login"

    def ways(self, *names: str) -> Iterator[str]:
        """Go to each of these providers, to log in and then to link."""
        for name in names:
            for self.links in (False, True):
                yield name
        self.links = False

    def turns(self, number: int, *names: str) -> Iterator[str]:
        """Go to each of these providers once, to log in at one and to link at the next.

        With the next `number` it is the other way round: two cases meet all ways.
        """
        for place, name in enumerate(names):
            self.links = (number + place) % 2 == 1
            yield name
        self.links = False

    def provider(self, name: str) -> Any:
        """Return a provider as the routes get it."""
        from solutions.support.providers import open_providers

        ready = open_providers()._ready.get(name)  # to save a turn of the loop
        return ready[1] if ready else self.client.run(open_providers().get(name))

    def start(self, name: str, purpose: Any = None) -> str:
        """Begin a login or a link, and return where it leads."""
        from solutions.stores.flows import Purpose

        if purpose is None:
            purpose = Purpose("/account/identities", "an account") if self.links else Purpose()
        begun = self.provider(name), self.flows, self.session, purpose
        address = self.candidate.start_flow(*begun)
        check_type("start_flow", address, str)
        return str(address)

    def answered(self, name: str) -> Any:
        """Return the right answer to a login or a link that is under way.

        To save its beginning, it is the first one again, if the candidate keeps it where it should.
        """
        before, way = set(self.flows._flows), (name, self.links)
        address, flow = self._kept.get(way, ("", None))
        if flow is None:
            address = self.start(name)
            new = [self.flows._flows[key] for key in self.flows._flows if key not in before]
            self._kept[way] = address, new[0] if len(new) == 1 else None
        else:
            self.flows._flows[flow.session, flow.state] = flow
        return self.answer(name, address)

    def check(self, name: str, answer: Any) -> Any:
        """Return the flow that an answer belongs to."""
        return self.candidate.check_answer(self.provider(name), self.flows, self.session, answer)

    def refuse(self, what: str, at: Any, answer: Any, *session: Any) -> None:
        """Assert that an answer is refused, at a provider or the one of a name.

        The flow may be spent or kept, but as it was: what a refusal writes, mallory writes.
        """
        provider = self.provider(at) if isinstance(at, str) else at
        begun = session[0] if session else self.session
        before = dict(self.flows._flows)
        with refused_by("check_answer", what) as got:
            got.append(self.candidate.check_answer(provider, self.flows, begun, answer))
        for key, flow in self.flows._flows.items():
            old = before.get(key, flow)
            if flow is old and key in before:
                continue
            is_old = key in before and replace(flow, expires_at=old.expires_at) == old
            assert is_old and flow.expires_at <= old.expires_at, (
                f"{what}: it is refused, and then a flow is kept that is younger, or another one."
            )

    def identify(self, name: str, person: Mapping[str, Any] = ERIN, lie: Lie = HONEST) -> Any:
        """Return who a provider says that this is. One login goes on from where it was."""
        address, flow = self._under_way(name)
        code = self.answer(name, address, person, lie).code
        return self.candidate.identify(self.provider(name), flow, code)

    def nonce(self, name: str) -> str:
        """Return the nonce of the login that `identify` goes on with."""
        return query_of(self._under_way(name)[0]).get("nonce", "")

    def _under_way(self, name: str) -> tuple[str, Any]:
        """Return a login or a link that `identify` may go on with: one a test for each way."""
        way = name, self.links
        if way not in self.there.under_way:
            with twin():
                address = self.start(name)
                begun = address, self.check(name, self.answer(name, address))
            self.there.under_way[way] = begun
        return self.there.under_way[way]

    def account(self, name: str, person: Mapping[str, Any], what: str = "A login") -> str:
        """Let a provider say who somebody is, and return the name of the account they come into."""
        from solutions.support.social_requests import Refused

        with only_raises("identify", Refused):
            try:
                found = self.identify(name, person)
            except Refused:
                raise AssertionError(f"{what} with {name}: identify raises Refused.") from None
        return self._account_of(found, f"{what} with {name}")

    def account_of(self, name: str, person: Mapping[str, Any], what: str = "A login") -> str:
        """Return the name of the account that somebody comes into, as a provider knows them."""
        from solutions.support.people_at_providers import Person

        subject = str(person["id"]) if name == "github" else person["sub"]
        found = Person.of(self.there[name].issuer, subject, dict(person))
        return self._account_of(found, f"{what} with {name}")

    def _account_of(self, found: Any, what: str) -> str:
        """Return the name of somebody's account, in the app's own stores."""
        from solutions.stores.identities import open_identity_store
        from solutions.stores.users import open_user_store

        with only_raises("find_account"):
            user = self.candidate.find_account(found, open_identity_store(), open_user_store())
        assert user is not None, f"{what}: find_account returns no account."
        return str(user.username)

    def answer(
        self, name: str, address: str, person: Mapping[str, Any] = ERIN, lie: Lie = HONEST
    ) -> Any:
        """Let somebody log in at an address; return the answer as the routes read it."""
        from solutions.support.social_requests import Answer

        said, _ = self.there[name].said(address, person, lie)
        return Answer(said.get("code", ""), said.get("state", ""), said.get("iss"))


def login_calls(candidate: Any, client: Any, there: Abroad) -> LoginCalls:
    """Return the functions with sessions and a store of their own."""
    from solutions.stores.flows import MemoryFlowStore
    from solutions.stores.sessions import Session

    now = datetime.now(UTC)
    ends = now + timedelta(minutes=10)
    outside, inside = (
        Session(digit * 64, f"id {digit}", "token", name, "stamp", "Firefox", now, now, ends)
        for digit, name in (("0", ""), ("1", "johndoe"))
    )
    return LoginCalls(candidate, client, there, outside, inside, MemoryFlowStore())


@contextmanager
def refused_by(name: str, what: str, *others: type[Exception]) -> Iterator[list[Any]]:
    """Assert that the block raises Refused, without a sentence of its own, or one of `others`.

    Put what the function `name` returned in the list, so that a failure can show it.
    """
    from solutions.support.social_requests import Refused

    got: list[Any] = []
    try:
        with only_raises(name, Refused, *others):
            yield got
    except others:
        return
    except Refused as error:
        said = error.sentence
        assert said == Refused().sentence, (
            f"{what}: {name} raises Refused with a sentence of its own, {said!a:.60}."
        )
        return
    returned = "the class Refused" if got[-1] is Refused else show(got[-1])
    raise AssertionError(f"{what}: {name} does not raise Refused. It returns {returned}.")
