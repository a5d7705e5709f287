"""Lesson 02: tokens. Four tests of what you build, then mallory.

For maintainers
Goal: a token is believed only if this service signed it, for this use, and it still lives.
Teach: registered claims, a fixed algorithm, requiring claims, one exception, one answer.
Do not teach: asymmetric keys and rotation (lesson 10), refresh tokens (05), how HMAC works.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from lessons.harness.hostile import hostile_tokens, sign, take_apart
from lessons.harness.verdicts import check_type, only_raises, twin

attack = pytest.mark.attack
todo = pytest.mark.todo

STANDARD_CLAIMS = {"exp", "iat", "iss", "aud", "jti", "type"}


@pytest.fixture
def key() -> str:
    """The key that the candidate signs with."""
    from solutions.settings import get_settings

    return get_settings().jwt_secret.get_secret_value()


def create(candidate: Any, data: dict[str, Any], lifetime: timedelta | None = None) -> str:
    """Call create_access_token and check that a text comes back."""
    with only_raises("create_access_token"):
        token = candidate.create_access_token(data, *[lifetime] if lifetime is not None else [])
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


def accept(candidate: Any, token: str) -> None:
    with twin():
        assert is_accepted(candidate, token), "A good token was refused."


# --- build ----------------------------------------------------------------------------------


@todo(1, "create_access_token")
def test_a_token_says_who_and_for_what(candidate: Any) -> None:
    """A token carries what you put in and the standard claims; anyone can read it (RFC 7519)."""
    data = {"sub": "johndoe", "stamp": "abc", "scope": "me items"}
    _, claims = take_apart(create(candidate, data))
    assert data == {"sub": "johndoe", "stamp": "abc", "scope": "me items"}, (
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
    for number in (1, 0):  # PyJWT refuses a number since its version 2.10
        subject = take_apart(create(candidate, {"sub": number}))[1].get("sub")
        assert subject == str(number), f"`sub` {number} must become a text, not {subject!r}."


@todo(2, "decode_token")
def test_a_good_token_is_believed(candidate: Any) -> None:
    """decode_token gives back the claims of what create_access_token made."""
    token = create(candidate, {"sub": "johndoe", "stamp": "abc"})
    assert is_accepted(candidate, token), "A good token was refused."
    claims = candidate.decode_token(token)
    assert claims == take_apart(token)[1], "These are not its claims."
    claims["sub"] = "carol"  # a caller may do so; the next one must not see it
    assert candidate.decode_token(token)["sub"] == "johndoe", "The claims are shared by callers."


@todo(2, "decode_token")
def test_an_edited_token_is_not(candidate: Any) -> None:
    """Anything else raises InvalidToken: another claim, another key, no token (CWE-347)."""
    good = create(candidate, {"sub": "johndoe"})
    assert is_accepted(candidate, good), "A good token was refused."
    head, body, signature = good.split(".")
    other = create(candidate, {"sub": "carol"}).split(".")[1]
    forged = sign(take_apart(good)[1], "mallory" * 8)
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.", forged, "not.a.token", ""):
        assert not is_accepted(candidate, token), "A token that we never signed was believed."


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
def test_mallory_does_not_choose_the_algorithm(candidate: Any, key: str, alg: str) -> None:
    """The header is mallory's text: if it picks the algorithm, it is none (RFC 8725 section 3.1).

    One service, one algorithm: what it does not sign with, it does not accept.
    """
    _, claims = take_apart(create(candidate, {"sub": "johndoe"}))
    accept(candidate, sign(claims, key))
    assert not is_accepted(candidate, sign(claims, key, alg)), f"A token with alg {alg} got in."


@attack
@todo(1, "create_access_token")
def test_every_token_dies(candidate: Any, configure: Callable[..., None]) -> None:
    """A stolen token without an end is an account for ever (CWE-613).

    `exp` is its end (RFC 7519 section 4.1.4), by default after ACCESS_TOKEN_EXPIRE_MINUTES.
    """
    for minutes in ("30", "7"):
        configure(ACCESS_TOKEN_EXPIRE_MINUTES=minutes)
        lifetime = _lifetime(create(candidate, {"sub": "johndoe"}))
        assert abs(lifetime - 60 * int(minutes)) <= 5, (
            f"With ACCESS_TOKEN_EXPIRE_MINUTES={minutes} a token lives {_about(lifetime)}."
        )
    for asked in (timedelta(hours=2), timedelta(0), timedelta(seconds=-5)):
        token = create(candidate, {"sub": "johndoe"}, asked)
        assert abs(_lifetime(token) - asked.total_seconds()) <= 5, (
            f"expires_delta is {asked.total_seconds():.0f} seconds, and the token lives "
            f"{_about(_lifetime(token))}."
        )
    with twin():
        young = create(candidate, {"sub": "johndoe"}, timedelta(seconds=65))
        assert is_accepted(candidate, young), "A token with 65 seconds to live was refused."
    dead = create(candidate, {"sub": "johndoe"}, timedelta(seconds=-5))
    assert not is_accepted(candidate, dead), "A token that expired 5 seconds ago was believed."


def _about(seconds: float) -> str:
    return "for ever" if seconds > 10**9 else f"about {round(seconds / 5) * 5} seconds"


def _lifetime(token: str) -> float:
    return take_apart(token)[1].get("exp", float("inf")) - time.time()


@attack
@todo(1, "create_access_token")
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "Australia/Sydney", "UTC"])
def test_a_token_dies_on_time_in_every_zone(
    candidate: Any, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """`datetime.now()` without a zone gives hours of extra life in Tokyo, and none in New York.

    `exp` counts seconds since 1970 in UTC (RFC 7519 section 2, NumericDate).
    """
    if not hasattr(time, "tzset"):  # Windows cannot change the zone of a running process
        zone = time.tzname[0]
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        getattr(time, "tzset", lambda: None)()
        try:
            lifetime = _lifetime(create(candidate, {"sub": "johndoe"}))
            accepted = is_accepted(candidate, create(candidate, {"sub": "johndoe"}))
        finally:
            patch.undo()
            getattr(time, "tzset", lambda: None)()
    assert abs(lifetime - 1800) <= 5, f"In {zone} a token lives {_about(lifetime)}, not 1800."
    assert accepted, f"In {zone} a new token was refused."


@attack
@todo(2, "decode_token")
@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "iss", "aud", "type"])
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


@attack
@todo(2, "decode_token")
@pytest.mark.parametrize("claim", ["iss", "aud"])
def test_another_service_s_token_is_refused(candidate: Any, key: str, claim: str) -> None:
    """Two services, one key: the newsletter's token opens the bank (RFC 8725, 3.8 and 3.9)."""
    from solutions.settings import get_settings

    _, claims = take_apart(create(candidate, {"sub": "johndoe"}))
    accept(candidate, sign(claims, key))
    ours = getattr(get_settings(), {"iss": "jwt_issuer", "aud": "jwt_audience"}[claim])
    near = [ours + "/", ours[:-1], "evil-" + ours, ours.upper()]
    for value in ("newsletter", *near, ["newsletter"], ""):
        assert not is_accepted(candidate, sign(claims | {claim: value}, key)), (
            f"A token with `{claim}` {value!r} was believed."
        )


@attack
@todo(2, "decode_token")
def test_a_token_serves_one_use(candidate: Any, key: str) -> None:
    """The link in a password-reset mail holds a token. It must not work as a login.

    The claim `type` keeps them apart (RFC 8725 section 3.12).
    """
    _, claims = take_apart(create(candidate, {"sub": "johndoe"}))
    kinds = ("access", "refresh", "reset")
    tokens = {kind: sign(claims | {"type": kind}, key) for kind in kinds}
    for kind in kinds:
        with twin():
            assert is_accepted(candidate, tokens[kind], kind), f"A {kind} token was refused."
        for other in set(kinds) - {kind}:
            assert not is_accepted(candidate, tokens[other], kind), (
                f"A {other} token was taken for {kind}."
            )
    for kind in ("refresh", "reset"):  # what defends access tokens defends all others
        for name, token in hostile_tokens(tokens[kind], key).items():
            if len(token) < 10_000 and name != "refresh token":
                assert not is_accepted(candidate, token, kind), f"A {kind} token got in: {name}."
    for other in ("refresh", "reset", "Access", "access ", ["access"], True):
        assert not is_accepted(candidate, sign(claims | {"type": other}, key)), (
            f"A token of type {other!r} was taken for access."
        )


@attack
@todo(1, "create_access_token")
def test_data_does_not_replace_the_standard_claims(candidate: Any) -> None:
    """If a caller's data can set `exp` or `type`, one careless route mints eternal tokens."""
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


@attack
@todo(1, "create_access_token")
def test_a_token_for_nobody_opens_nothing(candidate: Any) -> None:
    """A missing user becomes the text "None", and mallory registers that name.

    `sub` is a text, but not of what is not there (RFC 7519 section 4.1.2).
    """
    with twin():
        assert is_accepted(candidate, create(candidate, {"sub": "none"})), "none is a good name."
    for data in ({"sub": None}, {}):
        nobody = create(candidate, data)
        assert not is_accepted(candidate, nobody), f"A token made from {data} was believed."


@attack
@todo(2, "decode_token")
def test_hostile_tokens_are_refused_without_a_crash(candidate: Any, key: str) -> None:
    """A token that ends in a 500 fills your pager, and tells mallory what you run (CWE-755)."""
    good = create(candidate, {"sub": "johndoe"})
    accept(candidate, good)
    for name, token in hostile_tokens(good, key).items():
        assert not is_accepted(candidate, token), f"It got in: {name}."


@attack
@todo(2, "decode_token")
def test_every_refusal_reads_the_same(candidate: Any, client: Any, key: str) -> None:
    """The word "expired" tells mallory that her signature was right. One answer for all causes."""
    good = create(candidate, {"sub": "johndoe"})
    with twin():
        answer = client.post("/inspect", json={"token": good})
        assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    expired = create(candidate, {"sub": "johndoe"}, timedelta(seconds=-5))
    first = None
    for name, token in {"expired": expired, **hostile_tokens(good, key)}.items():
        body = ('{"token": "' + token.replace("\ud800", "\\ud800") + '"}').encode()
        answer = client.post("/inspect", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 401, f"{name}: {answer.status_code}, not 401."
        seen = answer.headers.get("www-authenticate"), answer.text
        first = first or seen
        assert seen == first, f"An expired token: {first[1]}. {name}: {seen[1]}."
    padded = client.post("/inspect", json={"token": good + "="})  # some libraries believe it
    assert padded.status_code in (200, 401), f"A token with = behind it: {padded.status_code}."
    messages = set()
    for token in hostile_tokens(good, key).values():
        try:
            candidate.decode_token(token)
        except candidate.InvalidToken as error:
            messages.add(str(error))
    assert len(messages) == 1, f"InvalidToken has several messages: {sorted(messages)[:3]}."


@attack
@todo(1, "create_access_token")
def test_no_token_and_no_key_is_written_down(
    candidate: Any, key: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads a token in the log is that user. Whoever reads the key is anyone (CWE-532)."""
    caplog.set_level(logging.DEBUG)
    good = create(candidate, {"sub": "johndoe"})
    accept(candidate, good)
    for token in hostile_tokens(good, key).values():
        is_accepted(candidate, token)
    printed = capsys.readouterr()
    log = caplog.text + printed.out + printed.err
    for name, secret in {"token": good, "key": key}.items():
        assert secret not in log, f"The log holds the {name}."
