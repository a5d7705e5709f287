"""Many different people at once: each must get what is theirs.

Whoever keeps something in a place that all share, and not with the request, gives it to the next.
With one caller at a time nobody sees it.
"""

from collections.abc import Callable
from typing import Any

from lessons.harness.client import Client, Send
from lessons.harness.race import Crowd

Request = tuple[str, str, Send]  # method, address, and what is sent
SIZE = 8  # requests at once, at least


def each_gets_theirs(
    client: Client,
    requests: dict[str, Request],
    shown: Callable[[Any], Any],
    theirs: dict[str, Any] | None = None,
    in_threads: bool = True,
) -> None:
    """Assert that each person is answered in a crowd as alone.

    `requests` go by person. `shown` returns of an answer what is the person's own, such as the name
    in it. What is `theirs` is found out with one request each, unless it is given.
    """
    if theirs is None:
        theirs = {
            who: shown(client.request(*_first(each), **each[2])) for who, each in requests.items()
        }
    values = list(theirs.values())
    assert all(values.count(value) == 1 for value in values), f"Alone, some get the same: {theirs}"
    people = list(requests) * max(1, -(-SIZE // len(requests)))
    for who, answer in _together(client, requests, people):
        _compare(who, shown(answer), theirs, f"among {len(people)} at once")
    if in_threads:
        answers = client.in_threads(Crowd(len(people)), [requests[who] for who in people])
        for who, answer in zip(people, answers, strict=True):
            _compare(who, shown(answer), theirs, f"among {len(people)} threads")


def _first(request: Request) -> tuple[str, str]:
    return request[0], request[1]


def _together(
    client: Client, requests: dict[str, Request], people: list[str]
) -> list[tuple[str, Any]]:
    """Send all on one event loop, as many at once as ask for the same address."""
    answered = []
    for method, url in dict.fromkeys(_first(requests[who]) for who in people):
        group = [who for who in people if _first(requests[who]) == (method, url)]
        answers = client.together(method, url, [requests[who][2] for who in group])
        answered += list(zip(group, answers, strict=True))
    return answered


def _compare(who: str, got: Any, theirs: dict[str, Any], where: str) -> None:
    if got == theirs[who]:
        return
    whose = next((other for other, value in theirs.items() if value == got), None)
    what = f"what is {whose}'s" if whose else f"{got!a:.60}, not {theirs[who]!a:.60}"
    raise AssertionError(f"{where.capitalize()}, {who} got {what}.")
