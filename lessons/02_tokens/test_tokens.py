"""Lesson 02: tokens. Four tests of what you build, then mallory.

For maintainers
Goal: a token is believed only if this service signed it, for this use, and it still lives.
Teach: registered claims, a fixed algorithm, requiring claims, one exception, one answer.
Do not teach: asymmetric keys and rotation (lesson 11), refresh tokens (05), how HMAC works.
"""

import base64
import json
import secrets
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lessons.harness.answers import differs, surplus_headers
from lessons.harness.brought_keys import with_brought_keys
from lessons.harness.clock import FAR_EAST, FAR_WEST, SUMMER, at, later, zone
from lessons.harness.crowd import each_gets_theirs
from lessons.harness.hostile import (
    TOO_LATE,
    hostile_tokens,
    sign,
    spliced,
    take_apart,
    untimely,
)
from lessons.harness.literals import texts_in
from lessons.harness.mac_keys import decoded_sizes, mac_keys, odd_headers
from lessons.harness.memory import remembered
from lessons.harness.near_misses import flips
from lessons.harness.outside import outside
from lessons.harness.randomness import bytes_that_count
from lessons.harness.reads import reading
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.trap import listening
from lessons.harness.verdicts import check_type, only_raises, twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

STANDARD_CLAIMS = {"exp", "iat", "iss", "aud", "jti", "type"}
AFTER_ALL = timedelta(seconds=TOO_LATE)  # when no leeway helps any more


@pytest.fixture
def key(settings: Any) -> str:
    """The key that the candidate signs with."""
    return settings.jwt_secret.get_secret_value()


def create(candidate: Any, data: dict[str, Any], lifetime: timedelta | None = None) -> str:
    """Call create_access_token and check that a text comes back."""
    try:
        with only_raises("create_access_token", ValueError):
            token = candidate.create_access_token(data, *[lifetime] if lifetime is not None else [])
    except ValueError as error:
        raise AssertionError(
            f"create_access_token refused {data} by a ValueError: {error}. That is for a `sub` "
            "that is None or missing."
        ) from None
    check_type("create_access_token", token, str)
    return token


def is_accepted(candidate: Any, token: str, *expected_type: str) -> bool:
    """Tell whether decode_token believes a token. Only InvalidToken may say no."""
    try:
        with only_raises("decode_token", candidate.InvalidToken):
            claims = candidate.decode_token(token, *expected_type)
    except candidate.InvalidToken:
        return False
    check_type("decode_token", claims, dict)
    return True


def _settings() -> list[tuple[str, str]]:
    """Return each setting by its name, as text. All but one are known or can be guessed."""
    from solutions.support.settings import get_settings

    settings = get_settings()
    known = {name: str(getattr(settings, name)) for name in type(settings).model_fields}
    return list((known | {"jwt_secret": settings.signing_key}).items())


def accept(candidate: Any, token: str) -> None:
    with twin():
        assert is_accepted(candidate, token), "A good token was refused."


# --- build ----------------------------------------------------------------------------------


@todo(1, "create_access_token")
def test_a_token_says_who_and_for_what(candidate: Any) -> None:
    """A token carries what you put in and the standard claims; anyone can read it (RFC 7519)."""
    data = {"sub": "johndoe", "stamp": "abc", "scope": "", "number": 0}
    _, claims = take_apart(create(candidate, data))
    assert data == {"sub": "johndoe", "stamp": "abc", "scope": "", "number": 0}, (
        "Your function changed the caller's `data`."
    )
    assert {name: claims.get(name) for name in data} == data, "What was in `data` got lost."
    missing = STANDARD_CLAIMS - set(claims)
    assert not missing, f"Claims are missing: {', '.join(sorted(missing))}."
    assert abs(claims["iat"] - time.time()) <= 5, "`iat` is not the present time."
    extra = set(claims) - STANDARD_CLAIMS - set(data) - {"nbf"}
    assert not extra, f"Nobody asked for {', '.join(sorted(extra))}, and anyone can read it."
    assert claims["type"] == "access", f"`type` is {claims['type']!r}, not 'access'."
    _, other = take_apart(create(candidate, data))
    assert claims["jti"] != other["jti"], "Two tokens have one `jti`."
    _, third = take_apart(create(candidate, {"sub": "alice"}))
    assert set(third) <= {*STANDARD_CLAIMS, "sub", "nbf"}, "A token has what was in another's data."
    for number in (1, 0):  # PyJWT refuses a number since its version 2.10
        subject = take_apart(create(candidate, {"sub": number}))[1].get("sub")
        assert subject == str(number), f"`sub` {number} must become a text, not {subject!r}."


# Each is somebody else than johndoe, and than all others here.
NAMES = [
    "alice",
    "JohnDoe",
    "johndoe ",
    " johndoe",
    "johndoe\u200b",
    "\uff4aohndoe",
    "fin",
    "\ufb01n",
]
NAMES += ["caf\u00e9", "cafe\u0301", "stra\u00dfe", "STRASSE", "a" * 200, "a" * 201]


@todo(2, "decode_token")
def test_a_good_token_is_believed(candidate: Any) -> None:
    """decode_token gives back the claims of what create_access_token made."""
    token = create(candidate, {"sub": "johndoe", "stamp": "abc"})
    assert is_accepted(candidate, token), "A good token was refused."
    claims = candidate.decode_token(token)
    assert claims == take_apart(token)[1], "These are not its claims."
    claims["sub"] = "carol"  # a caller may do so; the next one must not see it
    assert candidate.decode_token(token)["sub"] == "johndoe", "The claims are shared by callers."
    for name in NAMES:
        other = create(candidate, {"sub": name})
        claims = candidate.decode_token(other)
        assert claims == take_apart(other)[1], "These are another token's claims."
        assert claims["sub"] == name, f"The token of {name!a} is one of {claims['sub']!a}."


@todo(2, "decode_token")
@asvs("9.1.1")
def test_an_edited_token_is_not(candidate: Any) -> None:
    """Anything else raises InvalidToken: another claim, another key, no token (CWE-347)."""
    good = create(candidate, {"sub": "johndoe"})
    assert is_accepted(candidate, good), "A good token was refused."
    head, body, signature = good.split(".")
    other = create(candidate, {"sub": "carol"}).split(".")[1]
    forged = sign(take_apart(good)[1], "mallory" * 8)
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.", forged, "not.a.token", ""):
        assert not is_accepted(candidate, token), "A token that we never signed was believed."
    for name, near in flips(signature).items():
        if _bytes(near) != _bytes(signature):
            assert not is_accepted(candidate, f"{head}.{body}.{near}"), f"The signature: {name}."
    for place in range(0, len(body), 9):
        near = body[:place] + ("A" if body[place] != "A" else "B") + body[place + 1 :]
        assert not is_accepted(candidate, f"{head}.{near}.{signature}"), "Edited claims got in."


def _bytes(text: str) -> bytes:
    """Return what a decoder that is not strict reads in base64."""
    try:
        return base64.urlsafe_b64decode(text.encode("ascii", "ignore") + b"==")
    except ValueError:
        return b""


@todo(2, "decode_token")
def test_inspect_shows_the_claims(candidate: Any, client: Any) -> None:
    """POST /inspect takes a token apart for you: 200 for a good one, 401 for any other."""
    token = create(candidate, {"sub": "johndoe"})
    answer = client.post("/inspect", json={"token": token})
    assert answer.status_code == 200, f"Expected 200, got {answer.status_code}."
    assert answer.json() == take_apart(token)[1], "These are not its claims."
    answer = client.post("/inspect", json={"token": "not.a.token"})
    assert answer.status_code == 401, f"Expected 401, got {answer.status_code}."
    assert answer.headers.get("www-authenticate", "").startswith("Bearer"), (
        "The header WWW-Authenticate: Bearer is missing."
    )


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "decode_token")
@pytest.mark.parametrize("alg", ["HS512", "HS384", "none", "None", "NONE", "nOnE"])
@asvs("9.1.2")
def test_mallory_does_not_choose_the_algorithm(candidate: Any, key: str, alg: str) -> None:
    """The header is mallory's text: if it picks the algorithm, it is none (RFC 8725 section 3.1).

    One service, one algorithm: what it does not sign with, it does not accept.
    """
    _, claims = take_apart(create(candidate, {"sub": "johndoe"}))
    accept(candidate, sign(claims, key))
    assert not is_accepted(candidate, sign(claims, key, alg)), f"A token with alg {alg} got in."


@attack
@todo(1, "create_access_token")
@asvs("9.2.1")
def test_every_token_dies(candidate: Any, configure: Callable[..., None]) -> None:
    """A stolen token without an end is an account for ever (CWE-613).

    `exp` is its end (RFC 7519 section 4.1.4), by default after ACCESS_TOKEN_EXPIRE_MINUTES.
    """
    from solutions import tokens

    for minutes in ("1440", "7"):
        configure(ACCESS_TOKEN_EXPIRE_MINUTES=minutes)
        lifetime = _lifetime(create(candidate, {"sub": "johndoe"}))
        assert abs(lifetime - 60 * int(minutes)) <= 5, (
            f"With ACCESS_TOKEN_EXPIRE_MINUTES={minutes} a token lives {_about(lifetime)}."
        )
    for asked in (timedelta(days=3, hours=2), *(timedelta(seconds=each) for each in SECONDS)):
        due = asked.total_seconds()
        least = time.time() + due
        end = take_apart(create(candidate, {"sub": "johndoe"}, asked))[1].get("exp", float("inf"))
        most = time.time() + due
        assert least - 1.5 <= end <= most + 1.5, (  # claims may have no fractions
            f"expires_delta is {due:.0f} seconds, and the token lives {end - most + due:.0f}."
        )
    short = timedelta(minutes=5)
    with twin():
        young = create(candidate, {"sub": "johndoe"}, short)
        assert is_accepted(candidate, young), "A token with five minutes to live was refused."
    dead = create(candidate, {"sub": "johndoe"}, -AFTER_ALL)
    assert not is_accepted(candidate, dead), f"A token that died {AFTER_ALL} ago was believed."
    words = set(texts_in(tokens)) - STANDARD_CLAIMS - {"nbf"}
    for said in (True, int(time.time()) + 1_000_000):
        more = dict.fromkeys(filter(str.isidentifier, words), said)
        dead = create(candidate, more | {"sub": "johndoe"}, -AFTER_ALL)
        assert not is_accepted(candidate, dead), "What else a dead token says made it live again."
    with later(short + AFTER_ALL):
        assert not is_accepted(candidate, young), "A token that was believed once never dies."
        new = create(candidate, {"sub": "johndoe"}, short)
        assert abs(_lifetime(new) - 300) <= 5, "Its life began when the program was started."
        assert is_accepted(candidate, new), "A new token was refused, after some minutes."


SECONDS = (0, -5, 1, 5, 59, 61, 90, 3601)  # lifetimes; who rounds to whole minutes gives more


def _about(seconds: float) -> str:
    return "for ever" if seconds > 10**9 else f"about {round(seconds / 5) * 5} seconds"


def _lifetime(token: str) -> float:
    return take_apart(token)[1].get("exp", float("inf")) - time.time()


@attack
@todo(1, "create_access_token")
@pytest.mark.parametrize("where", [FAR_EAST, FAR_WEST, SUMMER, "UTC0"])
@asvs("9.2.1")
def test_a_token_dies_on_time_in_every_zone(
    candidate: Any, settings: Any, key: str, where: str
) -> None:
    """`datetime.now()` without a zone gives hours of extra life in Tokyo, and none in New York.

    `exp` counts seconds since 1970 in UTC (RFC 7519 section 2), also when summer time ends.
    """
    summer_ends = datetime(2026, 10, 25, 1, tzinfo=UTC)
    with zone(where), at(summer_ends - timedelta(minutes=5)):
        token = create(candidate, {"sub": "johndoe"})
        lifetime = _lifetime(token)
        accepted = is_accepted(candidate, token)
        dead = sign(take_apart(token)[1] | {"exp": int(time.time()) - TOO_LATE}, key)
        immortal = is_accepted(candidate, dead)
    due = settings.access_token_expire_minutes * 60
    assert abs(lifetime - due) <= 5, f"In {where} a token lives {_about(lifetime)}, not {due}."
    assert accepted, f"In {where} a new token was refused."
    assert not immortal, f"In {where} a dead token was believed."


@attack
@todo(2, "decode_token")
@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "iss", "aud", "type"])
@asvs("9.2.3")
def test_no_claim_is_optional(candidate: Any, key: str, claim: str) -> None:
    """A claim that is checked only where it stands is skipped by leaving it out.

    Other programs that hold your key make such tokens, or a mistake of yours does. RFC 9068
    section 2.2 requires them all but `type`.
    """
    _, claims = take_apart(create(candidate, {"sub": "johndoe"}))
    accept(candidate, sign(claims, key))
    assert not is_accepted(candidate, sign(claims | {claim: None}, key)), (
        f"A token without `{claim}` was believed."
    )
    null = json.dumps(claims | {claim: None})
    assert not is_accepted(candidate, sign(null, key)), f"`{claim}` is null, and it was believed."


@attack
@todo(2, "decode_token")
@pytest.mark.parametrize("claim", ["iss", "aud"])
@asvs("9.2.3", "10.3.1")
def test_another_service_s_token_is_refused(
    candidate: Any, settings: Any, key: str, claim: str
) -> None:
    """Two services, one key: the newsletter's token opens the bank (RFC 8725, 3.8 and 3.9)."""
    _, claims = take_apart(create(candidate, {"sub": "johndoe"}))
    accept(candidate, sign(claims, key))
    names = (settings.jwt_issuer, settings.jwt_audience)
    ours, theirs = names if claim == "iss" else names[::-1]
    assert claims[claim] in (ours, [ours]), (
        f"`{claim}` is {claims[claim]!r}, not the settings' own."
    )
    near = [ours + "/", ours[:-1], "evil-" + ours, ours.upper(), ours + " ", " " + ours]
    near += [ours.replace(".", "x"), ours.replace("https", "http"), ours[1:], ours[4:-4]]
    for value in ("newsletter", theirs, *sorted({*near} - {ours}), [], "", {ours: 1}):
        for each in (value, [value]):
            assert not is_accepted(candidate, sign(claims | {claim: each}, key)), (
                f"A token with `{claim}` {each!r} was believed."
            )


@attack
@todo(2, "decode_token")
@asvs("9.2.2")
def test_a_token_serves_one_use(candidate: Any, key: str) -> None:
    """The link in a password-reset mail holds a token. It must not work as a login.

    The claim `type` keeps them apart (RFC 8725 section 3.12).
    """
    _, claims = take_apart(create(candidate, {"sub": "johndoe"}))
    kinds = ("access", "refresh", "reset", f"kind-{secrets.token_hex(4)}")
    tokens = {kind: sign(claims | {"type": kind}, key) for kind in kinds}
    for kind in kinds:
        with twin():
            assert is_accepted(candidate, tokens[kind], kind), f"A {kind} token was refused."
        for other in [each for each in kinds if each != kind]:
            assert not is_accepted(candidate, tokens[other], kind), (
                f"A {other} token was taken for {kind}."
            )
    for kind in kinds[1:]:  # what defends access tokens defends all others
        for name, token in hostile_tokens(tokens[kind], key).items():
            if len(token) < 10_000 and name != "refresh token":
                assert not is_accepted(candidate, token, kind), f"A {kind} token got in: {name}."
    near = ["Access", "access ", "a", "acc", "", "accessory", "pre-access", "refresh access"]
    parts = [f"access{mark}access" for mark in (*string.punctuation, *" \t\n\u00a0")]
    for other in (*near, *parts, ["access"], {"access": 1}, True, 0):
        assert not is_accepted(candidate, sign(claims | {"type": other}, key)), (
            f"A token of type {other!r} was taken for access."
        )
    for expected in (*near, *parts):
        assert not is_accepted(candidate, tokens["access"], expected), (
            f"An access token was taken for {expected!r}."
        )


@attack
@todo(1, "create_access_token")
@asvs("7.2.2", "9.2.4")
def test_data_does_not_replace_the_standard_claims(candidate: Any) -> None:
    """If a caller's data can set `exp` or `type`, one careless route mints eternal tokens.

    A `jti` that can be guessed or comes twice calls back another's token (RFC 7519, 4.1.7).
    """
    with twin():
        normal = take_apart(create(candidate, {"sub": "johndoe"}))[1]
        assert set(normal) >= STANDARD_CLAIMS, "Claims are missing."
    data = {"sub": "johndoe", "exp": 4102444800, "iat": 1, "iss": "m", "aud": "m", "type": "m"}
    _, claims = take_apart(create(candidate, data | {"jti": "m"}))
    for name in ("iss", "aud", "type"):
        assert claims[name] == normal[name], f"The caller's `{name}` replaced ours."
    assert claims["jti"] != "m", "The caller's `jti` replaced ours."
    for name in ("exp", "iat"):
        assert abs(claims[name] - normal[name]) <= 5, f"The caller's `{name}` replaced ours."
    drawn = bytes_that_count(lambda: take_apart(create(candidate, data))[1]["jti"])
    assert drawn >= 16, f"`jti` depends on {drawn} drawn bytes, not on 16: it can be guessed."


@attack
@todo(1, "create_access_token")
def test_a_token_for_nobody_opens_nothing(candidate: Any) -> None:
    """A missing user becomes the text "None", and mallory registers that name.

    `sub` is a text, but not of what is not there (RFC 7519 section 4.1.2).
    """
    with twin():
        assert is_accepted(candidate, create(candidate, {"sub": "none"})), "none is a good name."
    for data in ({"sub": None}, {}):
        try:
            with only_raises("create_access_token", ValueError):
                nobody = candidate.create_access_token(data)
        except ValueError:  # to refuse is right too
            continue
        check_type("create_access_token", nobody, str)
        assert not is_accepted(candidate, nobody), f"A token made from {data} was believed."


@attack
@todo(2, "decode_token")
@asvs("9.1.1", "9.1.2", "9.1.3", "9.2.1")
def test_hostile_tokens_are_refused_without_a_crash(
    configure: Callable[..., None], candidate: Any, key: str
) -> None:
    """A token that ends in a 500 fills your pager, and tells mallory what you run (CWE-755).

    Its header may name a file or an address to fetch a key from. She owns both (RFC 8725, 3.10).
    """
    configure(ENVIRONMENT="development")  # in production they come in the next test
    good = create(candidate, {"sub": "johndoe"})
    accept(candidate, good)
    for name, token in hostile_tokens(good, key).items():
        assert not is_accepted(candidate, token), f"It got in: {name}."
    signed, _, signature = good.rpartition(".")
    whole = base64.urlsafe_b64decode(signature + "=")
    for length in range(1, len(whole)):  # who compares only as far as it goes can be guessed
        cut = base64.urlsafe_b64encode(whole[:length]).rstrip(b"=").decode()
        assert not is_accepted(candidate, f"{signed}.{cut}"), (
            f"A signature cut to {length} of its {len(whole)} bytes was enough."
        )
    _, claims = take_apart(good)
    mark = f"mallory-{secrets.token_hex(4)}"
    address = f"http://127.0.0.1:9/{mark}.json"
    with outside(mark) as reached:
        for name in ("kid", "jku", "x5u", "iss"):
            header = {name: address if name != "kid" else f"/tmp/{mark}"}
            body = claims | {"iss": address} if name == "iss" else claims
            for signing_key in ("", "m" * 32):
                token = sign(body, signing_key, header=header)
                assert not is_accepted(candidate, token), f"Its `{name}` chose the key."
    assert not reached, f"A token made your code reach for {reached[0]}."
    public = {name: value for name, value in _settings() if value != key}
    for name, value in (public | dict.fromkeys(("None", "null", "secret"))).items():
        for header in ({}, {"kid": name}, {"kid": name.upper()}):
            token = sign(claims | {"sub": "carol"}, value or name, header=header)
            assert not is_accepted(candidate, token), f"{value or name!r} was taken for the key."
    refuse_other_keys(candidate, claims | {"sub": "carol"}, key)
    refuse_long_parts_without_work(candidate, good)
    forged = sign(claims | {"sub": "carol"}, "m" * 32)
    for token in spliced(good, forged):
        assert not is_accepted(candidate, token), (
            f"{token.count('.') + 1} parts of a good and a forged token were believed."
        )
    for name, others in untimely(claims).items():
        assert not is_accepted(candidate, sign(others, key)), f"It got in: {name}."
    early = sign(claims | {"nbf": int(time.time()) + 300}, key)
    assert not is_accepted(candidate, early), "A token that is not valid yet was believed."
    with later(timedelta(minutes=6)):
        assert is_accepted(candidate, early), "A token that came too early is refused for ever."
    assert is_accepted(candidate, good), "After so many bad tokens a good one was refused."
    long = create(candidate, {"sub": "johndoe", "x": "a" * 5_000})
    assert is_accepted(candidate, long), f"{len(long):,} characters were refused, not over 8,192."


def refuse_other_keys(candidate: Any, claims: dict[str, Any], key: str) -> None:
    """Assert that no header makes decode_token believe another key than the signing key."""
    from solutions import tokens

    for name, token in with_brought_keys(claims, claims["iss"]).items():
        assert not is_accepted(candidate, token), f"It got in: {name}."
    for header in ({}, *odd_headers(texts_in(tokens))):
        forged = sign(claims, "m" * 32, header=header)
        with mac_keys(tokens) as used:
            assert not is_accepted(candidate, forged), f"It got in, with the header {header}."
        for other in used - {key.encode()}:
            assert not is_accepted(candidate, sign(claims, other, header=header)), (
                f"With the header {header} another key than the signing key decides."
            )


def refuse_long_parts_without_work(candidate: Any, good: str) -> None:
    """Assert that of a token with one huge part nothing is decoded or signed."""
    from solutions import tokens

    parts = good.split(".")
    for place, name in enumerate(("header", "claims", "signature")):
        for huge in ("A" * 12_000, parts[place] + "A" * 12_000):
            token = ".".join([*parts[:place], huge, *parts[place + 1 :]])
            with mac_keys(tokens) as used, decoded_sizes(tokens) as sizes:
                assert not is_accepted(candidate, token), f"It got in: its {name} is huge."
            assert not sizes and not used, (
                f"Of a token of {len(token):,} characters, most of them in its {name}, "
                f"{max(sizes, default=len(token)):,} were decoded or signed before it was refused."
            )


@attack
@todo(2, "decode_token")
def test_every_refusal_reads_the_same(candidate: Any, client: Any, key: str) -> None:
    """The word "expired" tells mallory that her signature was right. One answer for all causes.

    Status, body and all headers; and what else she sends beside the token changes nothing.
    """
    good = create(candidate, {"sub": "johndoe"})
    with twin():
        answer = client.post("/inspect", json={"token": good})
        assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    assert not (said := surplus_headers(answer)), said[0]
    expired = create(candidate, {"sub": "johndoe"}, -AFTER_ALL)
    first, messages = None, set()
    hostile = {"expired": expired, **hostile_tokens(good, key)}
    for number, (name, token) in enumerate(hostile.items()):
        try:
            with only_raises("decode_token", candidate.InvalidToken):
                candidate.decode_token(token)
        except candidate.InvalidToken as error:
            messages.add(str(error))
        if len(token) > 60_000 or number % 3:  # the front door refuses a megabyte
            continue
        body = ('{"token": "' + token.replace("\ud800", "\\ud800") + '"}').encode()
        answer = client.post("/inspect", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 401, f"{name}: {answer.status_code}, not 401."
        first = first or answer
        how = differs(first, answer)
        assert not how, f"Expired and {name} are told apart: {how}"
    assert len(messages) == 1, f"InvalidToken has several messages: {sorted(messages)[:3]}."
    assert not (said := surplus_headers(first)), said[0]
    padded = client.post("/inspect", json={"token": good + "="})  # some libraries believe it
    assert padded.status_code in (200, 401), f"A token with = behind it: {padded.status_code}."
    with reading() as reads:
        client.post("/inspect", json={"token": expired})
    for what, door in side_doors(reads, Contract(), [good, "true", "1"]):
        send = with_door({"json": {"token": expired}}, door)
        how = differs(first, client.post("/inspect", **send))
        assert not how, f"With {what} the refusal differs: {how}"
    requests = {
        name: ("POST", "/inspect", {"json": {"token": create(candidate, {"sub": name})}})
        for name in ("johndoe", "alice", "carol")
    }
    each_gets_theirs(client, requests, lambda answer: answer.json()["sub"], in_threads=False)


@attack
@todo(1, "create_access_token")
def test_no_token_and_no_key_is_written_down(candidate: Any, key: str, capfd: Any) -> None:
    """Whoever reads a token in the log is that user. Whoever reads the key is anyone (CWE-532).

    Whoever reads there which signature a forgery should have had puts that on. Tokens that the
    module remembers outlive their end, and fill the memory (CWE-770).
    """
    from solutions import tokens

    good = create(candidate, {"sub": "johndoe"})
    accept(candidate, good)
    expired = create(candidate, {"sub": "johndoe"}, -AFTER_ALL)
    with listening(capfd) as trap, outside() as reached:
        created = create(candidate, {"sub": "johndoe"})
        other = {kind: sign(take_apart(good)[1] | {"type": kind}, key) for kind in ("reset", "x")}
        shown = [created, expired, *other.values()]
        forged = [take_apart(good)[1] | {"sub": name} for name in ("carol", "mallory")]
        lies = [sign(each, "m" * 32) for each in forged]
        for token in (*shown, *lies, *list(hostile_tokens(good, key).values())[::3]):
            is_accepted(candidate, token)
    refused = {f"token of the type {kind}": other[kind] for kind in other}
    trap.refuse({"new token": created, "expired token": expired, "key": key, **refused})
    needed = {f"signature that a token for {each['sub']} needs": sign(each, key) for each in forged}
    trap.refuse({name: token.rpartition(".")[2] for name, token in needed.items()})
    assert not reached, f"Your code reached for {reached[0]}. A token needs nothing outside."
    claims = take_apart(good)[1]
    for made_by in (key, "m" * 32):
        several = [sign(claims | {"jti": f"{secrets.token_hex(16)}"}, made_by) for _ in range(6)]
        kept = remembered(tokens, lambda token: is_accepted(candidate, token), several)
        assert kept is None, f"Your module remembers tokens: {kept}."
    several = [secrets.token_hex(8) for _ in range(6)]
    kept = remembered(tokens, lambda name: create(candidate, {"sub": name}), several)
    assert kept is None, f"Your module remembers for whom it made tokens: {kept}."
