"""A forgotten `return`, `await` or `raise` is asked about; what is there is not."""

import builtins
import importlib
import re
import textwrap
from typing import Any

import pytest

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.composite import Module
from lessons.harness.slips import slips

LESSONS = find_lessons()
FORGOTTEN = {
    "01 return": ("hashing", "encode_password", "    return secret\n", ""),
    "02 return": ("tokens", "decode_token", "    return claims\n", ""),
    "02 raise": (
        "tokens",
        "decode_token",
        "        raise InvalidToken\n",
        "        InvalidToken\n",
    ),
    "03 await": ("login", "authenticate_user", "await users.get(", "users.get("),
    "03 await of a hash": ("login", "authenticate_user", "await run_hashing(", "run_hashing("),
    "03 await of a statement": (
        "login",
        "authenticate_user",
        "await users.replace_hash(",
        "users.replace_hash(",
    ),
    "03 return": ("login", "authenticate_user", "\n    return user\n", "\n"),
    "04 raise": (
        "oauth2",
        "get_current_user",
        'raise unauthorized("Not authenticated")',
        'unauthorized("Not authenticated")',
    ),
    "04 return": ("oauth2", "get_current_active_user", "    return user\n", ""),
    "05 await": ("refresh", "issue_refresh_token", "await store.add(", "store.add("),
    "05 await in a condition": (
        "refresh",
        "replace_password",
        "if await authenticate_user(",
        "if authenticate_user(",
    ),
    "05 return": ("refresh", "spend_refresh_token", "    return spent.family\n", ""),
    "05 return True": ("refresh", "replace_password", "    return True\n", ""),
    "06 await": ("rbac", "change_account", "await is_last_superadmin(", "is_last_superadmin("),
    "06 return inside": ("rbac", "check_role", "        return user\n", ""),
    "06 raise": ("rbac", "require_scopes", "raise insufficient_scope(", "insufficient_scope("),
    "07 raise": (
        "api_keys",
        "get_api_key",
        "raise HTTPException(\n            status.HTTP_401",
        "HTTPException(\n            status.HTTP_401",
    ),
    "07 return": ("api_keys", "get_api_key", "    return key\n", ""),
    "07 await": ("api_keys", "create_api_key", "await keys.add(", "keys.add("),
}


def names_of(slug: str) -> dict[str, Any]:
    return vars(builtins) | vars(importlib.import_module(f"solutions.{slug}"))


@pytest.mark.parametrize(("slug", "part", "old", "new"), FORGOTTEN.values(), ids=FORGOTTEN)
def test_what_is_forgotten_is_asked_about(slug: str, part: str, old: str, new: str) -> None:
    lesson = next(each for each in LESSONS if each.slug == slug)
    text = lesson.reference.read_text("utf-8")
    assert old in text
    cut = text.index(f"def {part}(")
    text = text[:cut] + text[cut:].replace(old, new, 1)
    (asked,) = slips(Module(text.encode(), "x").parts[part], names_of(slug))
    word = re.search(r"return|await|raise", f"{old} {part}" if not new else old)
    assert word and f"`{word[0]}` missing" in asked, asked


def test_a_return_under_a_last_if_may_be_meant_so() -> None:
    text = (
        "async def replace_password(users, new) -> bool:\n"
        "    async with users.transaction():\n"
        "        if await users.change(new):\n"
        "            return True\n"
    )
    assert slips(Module(text.encode(), "x").parts["replace_password"], {}) == []


def test_an_error_that_is_returned_is_asked_about() -> None:
    text = "def get_key(key: str) -> str:\n    if not key:\n        return HTTPException(401)\n"
    text += "    return key\n"
    (asked,) = slips(Module(text.encode(), "x").parts["get_key"], names_of("api_keys"))
    assert asked == "Line 3: HTTPException is returned. Is `raise` meant?"


COUNTED = {
    "gathered at once": """
        await asyncio.gather(*(counters.hit(limit_of(kind), "x") for kind in KINDS))
    """,
    "gathered out of a list": """
        hits = [counters.hit(limit_of(kind), "x") for kind in KINDS]
        await asyncio.gather(*hits)
    """,
    "a list, one after the other": """
        hits = [counters.hit(limit_of("login"), "x"), counters.hit(limit_of("name"), "x")]
        for hit in hits:
            if seconds := await hit:
                break
    """,
    "a generator of them": """
        for hit in (counters.hit(limit_of(kind), "x") for kind in KINDS):
            await hit
    """,
    "a dict of them": """
        hits = {kind: counters.hit(limit_of(kind), "x") for kind in KINDS}
        for kind, hit in hits.items():
            waits[kind] = await hit
    """,
    "put into a list": """
        hits = []
        hits.append(counters.hit(limit_of("login"), "x"))
        return await hits[0]
    """,
    "zipped": """
        for kind, hit in zip(KINDS, [counters.hit(limit_of("login"), "x")]):
            await hit
    """,
    "awaited in a comprehension": """
        hits = (counters.hit(limit_of(kind), "x") for kind in KINDS)
        return [await hit for hit in hits]
    """,
    "one of two": """
        hit = counters.hit(limit_of("a"), "x") if name else counters.hit(limit_of("b"), "x")
        return await hit
    """,
    "named on the way": """
        return await asyncio.wait_for(hit := counters.hit(limit_of("login"), "x"), 3)
    """,
    "tasks of a group": """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(counters.hit(limit_of("login"), "x"))]
        return tasks[0].result()
    """,
    "a function of its own": """
        def hit(kind):
            return counters.hit(limit_of(kind), "x")
        hit_again = lambda kind: counters.hit(limit_of(kind), "x")
        return await hit("login") or await hit_again("name")
    """,
    "a function that awaits what it is given": """
        async def in_time(hit):
            async with asyncio.timeout(3):
                return await hit
        return await in_time(counters.hit(limit_of("login"), "x"))
    """,
}
DROPPED = {
    "bare": 'counters.hit(limit_of("login"), "x")',
    "a name that nobody awaits": 'seconds = counters.hit(limit_of("login"), "x")',
    "a name whose truth is asked": 'if seconds := counters.hit(limit_of("login"), "x"): pass',
    "a list that nobody awaits": 'hits = [counters.hit(limit_of(kind), "x") for kind in KINDS]',
    "any of them": 'any(counters.hit(limit_of(kind), "x") for kind in KINDS)',
    "one or the other": 'await (counters.hit(limit_of("a"), "x") or 0)',
    "in a loop that awaits something else": (
        'for key in [counters.hit(limit_of("a"), "x")]: await asyncio.sleep(0)'
    ),
    "a key of it": 'await counters.clear(limit_of("a"), str(counters.hit(limit_of("a"), "x")))',
}


def _asked_of_counts(body: str) -> list[str]:
    body = textwrap.indent(textwrap.dedent(body), "    ")
    text = f"async def begin_attempt(counters: Counters, name: str):\n{body}"
    return slips(Module(text.encode(), "x").parts["begin_attempt"], names_of("hardening"))


@pytest.mark.parametrize("body", COUNTED.values(), ids=COUNTED)
def test_a_coroutine_may_be_awaited_elsewhere(body: str) -> None:
    assert _asked_of_counts(body) == []


@pytest.mark.parametrize("body", DROPPED.values(), ids=DROPPED)
def test_a_coroutine_that_nobody_awaits_is_asked_about(body: str) -> None:
    assert _asked_of_counts(body) == ["Line 2: is an `await` missing before counters.hit(...)?"]


RIGHT = {
    "awaited on the next line": "    lookup = users.get(name)\n    return await lookup\n",
    "gathered": "    [user] = await asyncio.gather(users.get(name))\n    return user\n",
    "a loop that ends in else": (
        "    for user in []:\n        if user:\n            raise ValueError\n"
        "    else:\n        return await users.get(name)\n"
    ),
    "a nested function makes an error": (
        "    def refused() -> ValueError:\n        return ValueError()\n    raise refused()\n"
    ),
}


@pytest.mark.parametrize("body", RIGHT.values(), ids=RIGHT)
def test_of_what_is_right_nothing_is_asked(body: str) -> None:
    text = f"async def find(users: UserStore, name: str) -> User:\n{body}"
    assert slips(Module(text.encode(), "x").parts["find"], names_of("login")) == []


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)
def test_of_the_reference_nothing_is_asked(lesson: Lesson) -> None:
    module = Module(lesson.reference.read_bytes(), "the reference")
    names = names_of(lesson.slug)
    assert {
        name: asked for name in module.parts if (asked := slips(module.parts[name], names))
    } == {}
