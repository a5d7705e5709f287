"""Requests and answers of all kinds, each kind with each other, as chance has them."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from lessons.harness.bare import OWN, START, Turn, answer_of, scope_of

Pairs = list[tuple[bytes, bytes]]
PLACEHOLDER = re.compile(r"\{[^}]*\}")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
USUAL = (200, 303, 401, 403, 404, 429, 500)
OTHERS = (201, 204, 302, 304, 400, 405, 422, 503)  # an operation has half of them, in turn
STATUSES = (*USUAL, *OTHERS)
TYPES = ("text/html; charset=utf-8", "application/json", "text/event-stream", "image/png")
TYPES += ("text/css", "application/problem+json", "application/octet-stream", "text/plain", "")
ASKED: Pairs = [  # what a request may have
    *((b"cookie", b"__Host-session=x; a=1"), (b"authorization", b"Bearer x")),
    *((b"accept", b"application/json"), (b"accept", b"text/html"), (b"user-agent", b"curl/8.5.0")),
    *((b"origin", b"https://workbook.test"), (b"origin", b"null"), (b"dnt", b"1")),
    *((b"sec-fetch-site", b"same-origin"), (b"sec-fetch-mode", b"navigate"), (b"sec-gpc", b"1")),
    *((b"referer", b"https://mallory.example/"), (b"upgrade-insecure-requests", b"1")),
    *((b"x-api-key", b"faw_x"), (b"accept-encoding", b"gzip, br"), (b"range", b"bytes=0-9")),
    *(
        (b"if-none-match", b'"a"'),
        (b"content-type", b"application/json"),
        (b"content-length", b"9"),
    ),
]
SAID: Pairs = [  # what an answer may have
    *(*OWN, (b"set-cookie", b"__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly")),
    *((b"vary", b"cookie"), (b"cache-control", b"private, max-age=9"), (b"pragma", b"no-cache")),
    *((b"etag", b'"a"'), (b"last-modified", b"Wed, 21 Oct 2015 07:28:00 GMT"), (b"age", b"9")),
    *((b"content-disposition", b"attachment"), (b"cross-origin-opener-policy", b"unsafe-none")),
    *((b"x-content-type-options", b"odd"), (b"referrer-policy", b"no"), (b"referrer-policy", b"")),
    *((b"content-security-policy", b"a"), (b"x-request-id", b"mine"), (b"clear-site-data", b"*")),
    *((b"access-control-allow-origin", b"https://workbook.test"), (b"x-frame-options", b"DENY")),
    *((b"content-length", b"0"), (b"server", b"odd"), (b"date", b"odd"), (b"expires", b"0")),
    *((b"referrer-policy", b"no-referrer"), (b"x-content-type-options", b"nosniff")),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains; preload"),
]
OF_STATUS: dict[int, Pairs] = {  # what such an answer has, but one to HEAD or OPTIONS
    401: [(b"www-authenticate", b"Bearer")],
    405: [(b"allow", b"GET")],
    429: [(b"retry-after", b"9")],
    503: [(b"retry-after", b"9")],
    **{status: [(b"location", b"/login")] for status in (201, 302, 303)},
}
SIZES = (0, 0, 1, 2, 4)


def turns_for(operations: Iterable[tuple[str, str]]) -> Iterator[Turn]:
    """Return a request for each operation with most statuses, and some with other methods."""
    chance = Random(10)  # noqa: S311
    for number, (method, path) in enumerate(operations):
        path = PLACEHOLDER.sub("alice", path)
        for status in (*USUAL, *OTHERS[number % 2 :: 2]):
            yield _turn(chance, method, path, status)
        for other in ("HEAD", "OPTIONS", chance.choice(METHODS)):
            yield _turn(chance, other, path, chance.choice(STATUSES))


def _turn(chance: Random, method: str, path: str, status: int) -> Turn:
    scheme = chance.choice(("https", "https", "http"))
    kind, usual = chance.choice(TYPES).encode(), OF_STATUS.get(status, [])
    headers = [(b"content-type", kind)] if kind else []
    headers += [*(usual if method in METHODS else []), *_some(chance, SAID)]
    answer = answer_of(status)
    answer[0]["headers"] = headers
    sent = [(b"host", b"workbook.test"), *_some(chance, ASKED)]
    query = chance.choice((b"", b"", b"next=/account"))
    version = chance.choice(("1.1", "1.0", "2"))
    own: dict[str, Any] = {"method": method, "path": path, "raw_path": path.encode()}
    own |= {"scheme": scheme, "headers": sent, "query_string": query, "http_version": version}
    return Turn(scope_of(**own), answer)


def _some(chance: Random, pairs: Pairs) -> Pairs:
    return chance.sample(pairs, chance.choice(SIZES))


@contextmanager
def noting_what_comes_out() -> Iterator[dict[str, Pairs]]:
    """Note in the block, by the id of a request, which headers its answer has at the doors."""
    import pytest

    from solutions.support.audit import current_request_id
    from solutions.support.doors import Doors

    found: dict[str, Pairs] = {}
    answer = Doors.__call__

    async def note(self: Doors, scope: Any, receive: Any, send: Any) -> None:
        request_id = current_request_id.get()

        async def noted(message: Any) -> None:
            if message["type"] == START:
                found[request_id] = list(message["headers"])
            await send(message)

        await answer(self, scope, receive, noted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Doors, "__call__", note)
        yield found
