"""Compares answers whole, and knows which headers an answer has no reason to carry."""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

# A lesson's answers carry these, or may carry them.
USUAL = {
    *("content-type", "content-length", "cache-control", "pragma", "expires"),
    *("www-authenticate", "allow", "retry-after", "vary", "date", "server"),
}
# These harm nobody: a careful app has them in every answer.
CAREFUL = {
    *("x-content-type-options", "x-frame-options", "content-security-policy", "referrer-policy"),
    *("strict-transport-security", "permissions-policy", "cross-origin-opener-policy"),
    "cross-origin-resource-policy",
}
CHANGING = ("date",)  # of each answer, by the clock
KEPT = re.compile(r"\b(public|immutable|(s-maxage|max-age)\s*=\s*\"?0*[1-9])", re.IGNORECASE)


class Whole(NamedTuple):
    """All of an answer that its caller can see."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


def whole(answer: Any) -> Whole:
    """Return an answer's status, body and headers, sorted, without the date."""
    headers = ((name.lower(), value) for name, value in answer.headers.multi_items())
    kept = sorted(pair for pair in headers if pair[0] not in CHANGING)
    return Whole(answer.status_code, answer.content, tuple(kept))


def differs(first: Any, other: Any) -> str | None:
    """Say in what two answers differ, or None. Only names and short texts are shown."""
    one, two = whole(first), whole(other)
    if one.status != two.status:
        return f"the status is {two.status}, not {one.status}."
    if one.body != two.body:
        return f"the body is {_short(two.body)}, not {_short(one.body)}."
    if names := sorted({name for name, _ in set(one.headers) ^ set(two.headers)}):
        return f"the header {names[0]} is not the same."
    if one.headers != two.headers:
        return "a header comes another number of times."
    return None


def _short(body: bytes) -> str:
    text = ascii(body.decode("utf-8", "replace"))[1:-1]
    return f"{text:.60}..." if len(text) > 63 else text or "empty"


def says(answer: Any, expected: Any, what: str) -> None:
    """Assert that an answer's JSON is what it should be."""
    try:
        told = answer.json()
    except ValueError:
        told = None  # no JSON at all
    assert told == expected, f"{what}: {answer.text}, not {json.dumps(expected)}."


def surplus_headers(answer: Any, allowed: Iterable[str] = (), personal: bool = True) -> list[str]:
    """Say what the headers of an answer should not have, a sentence each.

    `allowed` names what this route may send beside the usual: "location". A `personal` answer is
    for its caller alone, as every one to a token, a key or a password is.
    """
    allowed = {*USUAL, *CAREFUL, *(name.lower() for name in allowed)}
    sentences = []
    for name, value in answer.headers.multi_items():
        name = name.lower()
        if name not in allowed:
            sentences.append(
                REASONS.get(name, f"The answer has a header {name!a}, and no need of it.")
            )
        elif personal and _lets_keep(name, value):
            sentences.append(f"{name}: {value!a} lets others keep what is for one.")
    return list(dict.fromkeys(sentences))


def _lets_keep(name: str, value: str) -> bool:
    if name == "expires":
        return value.strip() not in ("0", "-1")
    return name == "cache-control" and KEPT.search(value) is not None


REASONS = {
    "set-cookie": "The answer sets a cookie.",
    "clear-site-data": "The answer clears what the browser keeps for the whole site.",
    "location": "The answer sends the caller elsewhere.",
    "refresh": "The answer sends the caller elsewhere.",
}
