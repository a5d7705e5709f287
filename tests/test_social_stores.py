"""The stores of logins under way and of people at providers: lesson 09 takes them for granted."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from solutions.stores.flows import (
    MAX_FLOWS_OF_A_SESSION,
    Flow,
    FlowStore,
    MemoryFlowStore,
    Purpose,
    get_flow_store,
    open_flow_store,
)
from solutions.stores.identities import (
    Identity,
    IdentityStore,
    MemoryIdentityStore,
    get_identity_store,
    open_identity_store,
)
from solutions.stores.users import MemoryUserStore, User, UserInDB
from solutions.support.people_at_providers import (
    Person,
    add_account,
    ask_github,
    claim,
    identity_of,
    owner_of,
)
from solutions.support.social_requests import Refused
from tests.contract import Kind

FLOWS: type[FlowStore] = MemoryFlowStore  # mypy sees here that they keep their protocols
IDENTITIES: type[IdentityStore] = MemoryIdentityStore
ERIN = Person("https://login.example", "1", name="Erin", nickname="erin")


def run(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an asynchronous test to its end."""
    asyncio.run(call())


def flow(state: str, session: str = "firefox") -> Flow:
    end = datetime.now(UTC) + timedelta(minutes=10)
    return Flow(session, state, "oidc", "nonce", "verifier", Purpose(), end)


def identity(subject: str, account: str = "erin", issuer: str = "https://one.example") -> Identity:
    return Identity(issuer, subject, account, f"id of {account}", "", datetime.now(UTC))


# --- flows ----------------------------------------------------------------------------------


def test_a_flow_is_taken_once_and_by_its_own_session(new_stores: Kind) -> None:
    async def test() -> None:
        store, begun = new_stores().flows, flow("a")
        await store.add(begun)
        assert await store.take("chromium", "a") is None
        assert await store.take("firefox", "b") is None
        assert await store.take("firefox", "a") == begun
        assert await store.take("firefox", "a") is None

    run(test)


def test_of_many_who_take_a_flow_one_gets_it(new_stores: Kind) -> None:
    async def test() -> None:
        store = new_stores().flows
        await store.add(flow("a"))
        got = await asyncio.gather(*(store.take("firefox", "a") for _ in range(20)))
        assert len([each for each in got if each]) == 1

    run(test)


def test_flows_have_a_bound(new_stores: Kind) -> None:
    async def test() -> None:
        store = new_stores(max_flows=50).flows
        for number in range(MAX_FLOWS_OF_A_SESSION + 5):
            await store.add(flow(str(number)))
        assert await store.take("firefox", "4") is None
        assert await store.take("firefox", "5")
        for number in range(100):
            await store.add(flow("a", f"browser {number}"))
        assert await store.take("browser 49", "a") is None
        assert await store.take("browser 50", "a")

    run(test)


def test_flows_that_are_over_are_forgotten() -> None:
    async def test() -> None:
        store = MemoryFlowStore()
        await store.add(flow("a"))
        with time_machine.travel(timedelta(minutes=11)):
            await store.add(flow("b"))
            assert await store.take("firefox", "a") is None
            assert await store.take("firefox", "b")

    run(test)


def test_nothing_secret_is_in_the_repr_of_a_flow() -> None:
    shown = repr(replace(flow("the state"), nonce="the nonce", verifier="the verifier"))
    assert not [each for each in ("the state", "the nonce", "the verifier") if each in shown]


# --- identities -----------------------------------------------------------------------------


def test_the_first_claim_of_a_person_wins(new_stores: Kind) -> None:
    async def test() -> None:
        store, erin = new_stores().identities, identity("1")
        assert await store.find(erin.issuer, "1") is None
        claims = [identity("1", f"account {number}") for number in range(20)]
        kept = await asyncio.gather(*map(store.claim, claims))
        assert len({each.account_id for each in kept}) == 1
        assert await store.find(erin.issuer, "1") == kept[0]
        assert await store.find("https://two.example", "1") is None

    run(test)


def test_a_row_is_replaced_if_it_is_the_one_that_was_seen(new_stores: Kind) -> None:
    async def test() -> None:
        store, old, new = new_stores().identities, identity("1", "old"), identity("1", "new")
        await store.claim(old)
        assert await store.claim(new, instead_of=identity("1", "another")) == old
        assert await store.claim(new, instead_of=old) == new
        assert await store.claim(old, instead_of=old) == new
        await store.release(new.account_id, new.issuer, may_be_last=True)
        assert await store.claim(old, instead_of=new) == old, "Gone since: the place is free."

    run(test)


def test_the_last_one_stays_unless_it_may_go(new_stores: Kind) -> None:
    async def test() -> None:
        store, one, two = new_stores().identities, "https://one.example", "https://two.example"
        owner = identity("1").account_id
        for each in (identity("1"), identity("2"), identity("3", issuer=two), identity("4", "al")):
            await store.claim(each)
        assert [each.subject for each in await store.owned_by(owner)] == ["1", "2", "3"]
        assert await store.release(owner, "https://three.example", may_be_last=False) == "none"
        assert await store.release(owner, one, may_be_last=False) == "gone"
        assert await store.release(owner, two, may_be_last=False) == "last"
        assert [each.subject for each in await store.owned_by(owner)] == ["3"]
        assert await store.release(owner, two, may_be_last=True) == "gone"
        assert await store.find(one, "4"), "Somebody else's stays."

    run(test)


def test_each_store_is_one_for_the_process() -> None:
    async def test() -> None:
        assert await get_flow_store() is open_flow_store()
        assert await get_identity_store() is open_identity_store()

    run(test)


# --- people ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nickname", "email", "name"),
    [
        ("erin", "", "erin"),
        ("Erin Example!", "", "erin-example"),
        ("", "erin.e+x@example.com", "erin.e-x"),
        ("johndoe", "", "johndoe-"),
        ("", "", "user-"),
        ("\u00fc\u00f6", "", "user-"),
        ("x" * 90, "", "x" * 32),
    ],
)
def test_a_new_account_has_a_free_name(nickname: str, email: str, name: str) -> None:
    async def test() -> None:
        users = MemoryUserStore([UserInDB(username="johndoe", hashed_password="x")])
        person = replace(ERIN, nickname=nickname, email=email, name="")
        account = await add_account(users, person, "hash")
        assert account.username.startswith(name)
        stored = await users.get(account.username)
        assert stored and stored.hashed_password == "hash" and not stored.has_password
        assert (await add_account(users, person, "hash")).username != account.username

    run(test)


def test_whoever_sets_a_password_has_one() -> None:
    async def test() -> None:
        users = MemoryUserStore()
        name = (await add_account(users, ERIN, "hash")).username
        changed = await users.change(name, hashed_password="another")
        assert changed and changed.has_password

    run(test)


def test_an_identity_opens_the_account_that_it_was_made_for() -> None:
    async def test() -> None:
        users = MemoryUserStore()
        erin = await add_account(users, ERIN, "hash")
        row = identity_of(ERIN, erin)
        found = await owner_of(row, users)
        assert isinstance(found, User) and found.username == "erin"
        await users.remove("erin")
        assert await owner_of(row, users) is None
        await users.add(UserInDB(username="erin", hashed_password="x"))
        assert await owner_of(row, users) is None, "The name has another owner."
        assert await owner_of(None, users) is None

    run(test)


@pytest.mark.parametrize("subject", [None, "", 5, True, ["x"], "x" * 256])
def test_a_person_has_a_subject(subject: object) -> None:
    with pytest.raises(ValueError, match="no subject"):
        Person.of("https://login.example", subject, {})


@pytest.mark.parametrize(
    "said",
    [
        {"email": "erin@example.com"},
        {"email": "erin@example.com", "email_verified": "true"},
        {"email": "erin@example.com\n", "email_verified": True},
        {"email": ["erin@example.com"], "email_verified": True},
        {"email": "erin", "email_verified": True},
    ],
)
def test_an_address_is_kept_if_it_is_verified_and_one(said: dict[str, Any]) -> None:
    assert Person.of("https://login.example", "1", said).email == ""
    good = said | {"email": "erin@example.com", "email_verified": True}
    assert Person.of("https://login.example", "1", good).email == "erin@example.com"


class GitHub:
    """A provider that says this of its user."""

    issuer = "https://github.com/login/oauth"

    def __init__(self, said: dict[str, Any]) -> None:
        self.client = self
        self._said = said

    async def userinfo(self, token: Any) -> dict[str, Any]:
        return self._said


def test_github_s_subject_is_its_number() -> None:
    async def test() -> None:
        provider: Any = GitHub({"id": 5, "login": "erin", "sub": "7"})
        person = await ask_github(provider, {})
        assert (person.issuer, person.subject) == (GitHub.issuer, "5")
        for wrong in (True, False, "5", " 5", 5.0, [5], {"id": 5}):
            other: Any = GitHub({"id": wrong, "login": "erin"})
            with pytest.raises(Refused):
                await ask_github(other, {})

    run(test)


def test_of_two_claims_the_second_gets_the_first_one_s_account() -> None:
    async def test() -> None:
        users, identities = MemoryUserStore(), MemoryIdentityStore()
        one, two = [await add_account(users, ERIN, "a hash") for _ in range(2)]
        assert await claim(one, ERIN, None, identities, users) == one
        assert await claim(two, ERIN, None, identities, users) == one
        assert await users.get(two.username) is None, "The account of the second one stays."
        known = await identities.find(ERIN.issuer, ERIN.subject)
        assert known is not None and known.account_id == one.account_id
        await users.remove(one.username)
        three = await add_account(users, ERIN, "a hash")
        assert await claim(three, ERIN, known, identities, users) == three, "A row of nobody's."

    run(test)
