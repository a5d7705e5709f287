"""Roles and what administrators see and change, which lesson 06 gives."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from solutions.stores.users import MemoryUserStore, UserInDB
from solutions.support.accounts import Account, AccountChange
from solutions.support.roles import Role, is_last_superadmin, rank, rank_of


def person(name: str, role: str = "superadmin", **fields: Any) -> UserInDB:
    return UserInDB(username=name, role=role, hashed_password="a hash", **fields)


def test_roles_rank_and_an_unknown_one_is_above_all() -> None:
    assert [rank(role) for role in ("user", "admin", "superadmin")] == [0, 1, 2]
    for unknown in ("root", "Admin", "", "admin "):
        assert rank(unknown) > rank(Role.SUPERADMIN), unknown


def test_the_rank_of_an_administrator_is_the_present_one() -> None:
    async def ranks() -> list[int]:
        alice, users = person("alice", "admin"), MemoryUserStore([person("alice", "admin")])
        seen = await users.get("alice")
        assert seen is not None
        found = [await rank_of(users, seen), await rank_of(users, alice)]
        await users.change("alice", role="superadmin")
        found.append(await rank_of(users, seen))
        for change in ({"role": "user"}, {"role": "root"}, {"role": "admin", "disabled": True}):
            await users.change("alice", **change)
            found.append(await rank_of(users, seen))
        await users.remove("alice")
        return [*found, await rank_of(users, seen)]

    # The second one has the name and not the stamp: another person, or an older password.
    assert asyncio.run(ranks()) == [1, -1, 2, -1, -1, -1, -1]


def test_the_last_superadmin_is_the_last_one_who_can_log_in() -> None:
    async def is_last(*people: UserInDB) -> bool:
        return await is_last_superadmin(MemoryUserStore(people), people[0])

    carol, dave = person("carol"), person("dave")
    assert asyncio.run(is_last(carol, person("alice", "admin"), person("bob", disabled=True)))
    assert not asyncio.run(is_last(carol, dave))
    assert not asyncio.run(is_last(person("alice", "admin"), carol))
    assert not asyncio.run(is_last(person("bob", disabled=True), carol))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"role": None},
        {"role": "king"},
        {"role": "Admin"},
        {"disabled": "yes"},
        {"disabled": 1},
        {"disabled": True, "scopes": ["admin"]},
        {"disabled": True, "hashed_password": "a hash"},
    ],
    ids=str,
)
def test_a_change_is_a_role_or_disabled_and_nothing_else(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AccountChange.model_validate(body)


def test_a_change_says_whether_a_superadmin_stays_one() -> None:
    for body, keeps in (
        ({"disabled": False}, True),
        ({"role": "superadmin"}, True),
        ({"role": "admin"}, False),
        ({"disabled": True}, False),
        ({"role": "superadmin", "disabled": True}, False),
    ):
        assert AccountChange.model_validate(body).keeps_superadmin() is keeps, body


def test_an_account_shows_five_fields() -> None:
    shown = Account(**person("alice").model_dump()).model_dump()
    assert set(shown) == {"username", "email", "full_name", "disabled", "role"}
