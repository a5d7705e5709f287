"""The store: one name a person, and every change in one step.

What holds for the store in memory holds for another one too: these tests are the protocol's.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lessons.harness.candidate import clear_caches
from lessons.harness.stores import Waiting
from lessons.harness.transcript import Transcript
from solutions.stores.users import (
    UserInDB,
    demo_people,
    fold_username,
    open_user_store,
)
from tests.contract import Kind

Make = Callable[..., Any]


def waiting(store: Any) -> Any:
    """Return a store whose methods are called without `await`, each on a loop of its own."""
    return Waiting(store, asyncio.run, Transcript())


@pytest.fixture
def new_store(new_stores: Kind) -> Make:
    """Make a store of each kind with some people in it."""

    def make(*people: UserInDB) -> Any:
        store = waiting(new_stores().users)
        for each in people:
            store.add(each)
        return store

    return make


def person(name: str = "erin", **fields: Any) -> UserInDB:
    return UserInDB(username=name, **{"hashed_password": "hash of erin", **fields})


def at_once(action: Callable[[int], Any], times: int = 8) -> list[Any]:
    """Call `action` in many threads that start together."""
    barrier, results = threading.Barrier(times), []

    def run(number: int) -> None:
        barrier.wait(5)
        results.append(action(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    return results


def test_one_person_has_one_name(new_store: Make) -> None:
    store = new_store()
    assert store.add(person("Erin"))
    found = store.get("erin")
    assert found is not None
    assert found.username == "erin"
    assert store.get("ERIN") == store.get("erin")
    for spelling in ("erin", "ERIN", "eRiN"):
        assert not store.add(person(spelling)), spelling
    # Letters that casefold to ASCII collide with it, so nobody can be impersonated with them.
    assert fold_username("\u212aelvin") == "kelvin"
    assert fold_username("\ufb01ona") == "fiona"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 33,
        "a" * 1000,
        "erin ",
        " erin",
        "erin\n",
        "er in",
        "erin\0",
        "\u0430dmin",
        "\uff45\uff52\uff49\uff4e",
        "e\u0301rin",
        "erin\u200b",
        "\u202eerin",
        "a/b",
        "<b>",
        "\ud800abc",
        "\u0661\u0662\u0663",
    ],
    ids=ascii,
)
def test_impossible_names(new_store: Make, name: str) -> None:
    assert fold_username(name) is None
    store = new_store(person())
    assert store.get(name) is None
    with pytest.raises(ValueError, match="not a username"):
        store.add(person(name))


def test_one_name_registered_by_eight_at_once_has_one_winner(new_store: Make) -> None:
    """Check-then-add loses by luck only; here every check is made before any add."""
    store = new_store()
    look, barrier = store.store.get, threading.Barrier(8)

    async def look_and_wait(username: str) -> UserInDB | None:
        found: UserInDB | None = await look(username)
        barrier.wait(1)
        return found

    store.store.get = look_and_wait
    results = at_once(lambda number: store.add(person(email=f"{number}@example.com")))
    assert sorted(results) == [False] * 7 + [True]


def test_the_store_hands_out_copies(new_store: Make) -> None:
    store = new_store(person())
    store.get("erin").scopes.append("admin")
    found = store.get("erin")
    found.role = "superadmin"
    assert store.get("erin").role == "user"
    assert store.get("erin").scopes == ["me", "items"]


def test_replace_hash_compares_first(new_store: Make) -> None:
    store = new_store(person(hashed_password="old"))
    stamp = store.get("erin").security_stamp
    assert not store.replace_hash("erin", "another", "new")
    assert store.get("erin").hashed_password == "old"
    assert store.replace_hash("Erin", "old", "new")
    assert store.get("erin").hashed_password == "new"
    assert store.get("erin").security_stamp == stamp, "the password is the same"
    assert not store.replace_hash("nobody", "old", "new")
    assert sum(at_once(lambda number: store.replace_hash("erin", "new", str(number)))) == 1


def test_a_new_password_draws_a_new_stamp(new_store: Make) -> None:
    store = new_store(person())
    stamp = store.get("erin").security_stamp
    assert store.change("erin", disabled=True).disabled
    assert store.get("erin").security_stamp == stamp
    enabled = store.change("erin", disabled=False).security_stamp
    assert enabled != stamp, "old tokens must not come back to life"
    assert store.change("erin", disabled=False).security_stamp == enabled
    assert store.change("erin", hashed_password="new").security_stamp != enabled
    assert store.get("erin").hashed_password == "new"
    assert person().security_stamp != person().security_stamp, "a name registered anew"


@pytest.mark.parametrize("field", ["rolle", "hash", "__class__"])
def test_only_fields_that_exist_can_be_changed(new_store: Make, field: str) -> None:
    with pytest.raises(ValueError, match="cannot change"):
        new_store(person()).change("erin", **{field: "x"})


def test_everyone_is_listed_in_copies(new_store: Make) -> None:
    store = new_store(person(), person("frank"))
    assert [each.username for each in store.everyone()] == ["erin", "frank"]
    store.everyone()[0].role = "superadmin"
    assert store.get("erin").role == "user"


def test_who_is_removed_is_gone(new_store: Make) -> None:
    store = new_store(person())
    assert store.remove("Erin")
    assert store.get("erin") is None
    assert not store.remove("erin")
    assert store.add(person()), "the name is free again"
    assert sum(at_once(lambda _: store.remove("erin"))) == 1


async def count_one_up(store: Any) -> None:
    async with store.transaction():
        role = int((await store.get("erin")).role)
        await asyncio.sleep(0)  # time in which others could come
        await store.change("erin", role=str(role + 1))


def test_nobody_else_writes_during_a_transaction_on_one_loop(new_store: Make) -> None:
    store = new_store(person(role="0"))

    async def crowd() -> None:
        others = (store.store.change("erin", email=f"{each}@example.com") for each in range(8))
        await asyncio.gather(*(count_one_up(store.store) for _ in range(8)), *others)

    asyncio.run(crowd())
    assert store.get("erin").role == "8"


def test_nobody_else_writes_during_a_transaction_of_another_loop(new_store: Make) -> None:
    store = new_store(person(role="0"))
    at_once(lambda _: asyncio.run(count_one_up(store.store)))
    assert store.get("erin").role == "8"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
def test_an_exception_undoes_the_transaction(new_store: Make, error: type[BaseException]) -> None:
    store = new_store(person())

    async def fail() -> None:
        async with store.store.transaction():
            await store.store.change("erin", role="admin")
            await store.store.add(person("frank"))
            raise error

    with pytest.raises(error):
        asyncio.run(fail())
    assert [(each.username, each.role) for each in store.everyone()] == [("erin", "user")]
    assert store.change("erin", role="admin"), "The lock was left closed."


def test_nobody_cannot_be_changed(new_store: Make) -> None:
    assert new_store().change("nobody", disabled=True) is None


def test_a_person_s_repr_and_dump_hold_no_hash() -> None:
    erin = person(hashed_password="$2b$12$secret")
    for text in (repr(erin), str(erin), str(erin.model_dump()), erin.model_dump_json()):
        assert "$2b$12$secret" not in text
    assert erin.security_stamp not in repr(erin)


@pytest.mark.asvs("6.3.2")
def test_the_demo_people_live_in_development_only(development: pytest.MonkeyPatch) -> None:
    assert {each.username for each in demo_people()} == {"johndoe", "alice", "carol", "bob"}
    assert waiting(open_user_store()).get("johndoe").full_name == "John Doe"
    assert waiting(open_user_store()).get("bob").disabled
    development.setenv("ENVIRONMENT", "production")
    development.setenv("BCRYPT_ROUNDS", "12")
    development.setenv("JWT_ISSUER", "shop")
    development.setenv("JWT_AUDIENCE", "shop")
    clear_caches()
    assert waiting(open_user_store()).get("johndoe") is None
