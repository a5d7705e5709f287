"""What to send beside a refused request, to ask whether it opens a side door."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lessons.harness.literals import texts_in_all_steps
from lessons.harness.reads import ALL, Reads

Send = dict[str, Any]

ADDRESSES = ("127.0.0.1", "::1", "localhost", "testclient", "10.0.0.1", "192.168.0.1")
NAME = re.compile(r"[A-Za-z][\w-]{0,40}", re.ASCII)
HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
UNEXPECTED = "unexpected"
HOSTS = ("localhost", "127.0.0.1", "testserver", "admin.workbook.test", "internal")
WAYS: dict[str, tuple[Any, ...]] = {  # how a request may come, by what the server's scope calls it
    "http_version": ("1.0", "1.1", "2", "3"),
    "scheme": ("http", "https"),
    "root_path": ("/docs", "/internal", "/admin"),
    "extensions": ({"tls": {"client_cert_name": "CN=admin"}}, {"http.response.debug": {}}),
}
# Where somebody reads all names, these are asked about.
USUAL_HEADERS = """
x-user x-user-id x-username x-forwarded-user x-remote-user remote-user x-auth-user x-role
x-roles x-admin x-is-admin x-debug x-internal x-token x-access-token x-auth-token x-api-key
x-session x-forwarded-for x-real-ip forwarded x-original-url x-http-method-override x-scopes
x-scope
""".split()  # noqa: SIM905 - a column of forty would hide them
USUAL_NAMES = """
user user_id username name sub owner as login role roles admin is_admin scope scopes token
access_token refresh_token api_key apikey key session sessionid auth authorization jwt t debug
test force target id email
""".split()  # noqa: SIM905 - a column of forty would hide them


@dataclass(frozen=True)
class Contract:
    """What a lesson's routes are meant to read; header names in small letters."""

    headers: Iterable[str] = ()
    query: Iterable[str] = ()
    cookies: Iterable[str] = ()
    form: Iterable[str] = ()
    client: bool = False
    host: bool = False
    scope: Iterable[str] = ()


# A server or the framework reads these of every request.
ALWAYS = {"content-type", "content-length", "transfer-encoding", "expect", "cookie", "host"}


def side_doors(
    reads: Reads, contract: Contract, values: Iterable[str]
) -> Iterator[tuple[str, Send]]:
    """Return what to send with each name that is read and not in the contract, by a name for it.

    Each is a set of arguments for the client, also `client`, the caller's address and port, and
    `scope`, what the server says of how the request came. The
    `values` are what might open: names of people, roles, hosts, tokens, "1", "true". What stands in
    the graded files is tried too, and a value that nobody expects: a door may open unless a header
    is as usual. Where somebody reads all names, those that look like one are sent as one, too.
    """
    kinds = [
        (kind, read, set(meant), usual)
        for kind, read, meant, usual in (
            ("header", reads.headers, (*contract.headers, *ALWAYS), USUAL_HEADERS),
            ("query", reads.query, contract.query, USUAL_NAMES),
            ("cookie", reads.cookies, contract.cookies, USUAL_NAMES),
            ("form field", reads.form, contract.form, USUAL_NAMES),
        )
        if read - set(meant)
    ]
    ways = sorted(reads.scope - set(contract.scope))
    if not (kinds or reads.host or reads.client or ways):
        return  # the usual case, in which no file need be read
    values = list(dict.fromkeys((*values, *texts_in_all_steps(), UNEXPECTED)))
    for kind, read, meant, usual in kinds:
        groups = [[name] for name in sorted(read - meant - {ALL})]
        if ALL in read:
            names = dict.fromkeys((*usual, *(each for each in values if NAME.fullmatch(each))))
            groups.append([name for name in names if name.lower() not in meant])
        for group in groups:
            called = group[0] if len(group) == 1 else "<any>"
            yield from (
                (f"the {kind} {called}={each:.12}", _send(kind, group, each)) for each in values
            )
    if reads.host and not contract.host:
        hosts = [*HOSTS, *(each for each in values if HOST.fullmatch(each))]
        yield from ((f"the host {host}", {"headers": {"Host": host}}) for host in hosts)
    for way in ways:
        yield from ((f"{way} {each}", {"scope": {way: each}}) for each in WAYS[way])
    if reads.client and not contract.client:
        yield from ((f"the address {each}", {"client": (each, 50000)}) for each in ADDRESSES)


def _send(kind: str, names: list[str], value: str) -> Send:
    pairs = dict.fromkeys(names, value)
    if kind == "header":
        return {"headers": pairs}
    if kind == "cookie":
        return {"headers": {"Cookie": "; ".join(f"{name}={value}" for name in names)}}
    return {"params" if kind == "query" else "data": pairs}


def with_door(send: Send, door: Send) -> Send:
    """Return a request's arguments with those of a side door added; what is there stays."""
    both = dict(send)
    for kind, added in door.items():
        there = both.get(kind)
        both[kind] = {**added, **there} if isinstance(there, dict) else there or added
    if "json" in both or "content" in both:
        both.pop("data", None)  # a body of another kind has no fields
    return both
