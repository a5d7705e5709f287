"""The short ways to speak as somebody, for the lessons after the login."""

from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Any

from lessons.harness.client import Client
from lessons.harness.hostile import HOSTILE_PASSWORDS, hostile_tokens, sign, take_apart
from lessons.harness.verdicts import twin

Headers = dict[str, Any]
PASSWORDS = {  # of the demo people
    "johndoe": "secret",
    "alice": "secretalice",
    "carol": "secretcarol",
    "bob": "secretbob",
}
HUGE = 60_000  # characters; servers take no more in a header
NOT_FOR_A_FORM = ("1 MB", "a lone surrogate", "empty")  # slow, or a form cannot hold them


def bearer(token: str) -> Headers:
    """Return the header that presents a token, also one that no header should hold."""
    value = f"Bearer {token}"
    return {"Authorization": value if value.isascii() else value.encode("utf-8", "surrogatepass")}


def token_for(users: Any, username: str, **claims: Any) -> str:
    """Make the access token of a login, with further claims, and without the work of one."""
    from solutions.tokens import create_access_token

    stamp = users.get(username).security_stamp
    return create_access_token({"sub": username, "stamp": stamp, **claims})


def speak_as(users: Any, username: str, scope: str = "me items") -> Headers:
    """Return the header of somebody who is logged in."""
    return bearer(token_for(users, username, scope=scope))


def new_session(person: Any) -> tuple[str, Any]:
    """Return a new session's id, and the session of somebody, as after a login."""
    from solutions.stores.sessions import Session
    from solutions.support.digests import digest_of

    session_id, now = token_urlsafe(32), datetime.now(UTC)
    return session_id, Session(
        digest=digest_of(session_id),
        id=token_urlsafe(16),
        csrf_token=token_urlsafe(32),
        username=person.username,
        stamp=person.security_stamp,
        user_agent="",
        created_at=now,
        last_seen=now,
        expires_at=now + timedelta(hours=1),
    )


def log_in(client: Client, username: str, password: str, **form: str) -> Any:
    """Post a login to the token endpoint."""
    return client.post("/token", data={"username": username, "password": password, **form})


def refuse_hostile_passwords(client: Client) -> None:
    """Assert that a login refuses each hostile password as it refuses a wrong one."""
    wrong = log_in(client, "johndoe", "wrong")
    for name, password in HOSTILE_PASSWORDS.items():
        if name not in NOT_FOR_A_FORM:
            answer = log_in(client, "johndoe", password)
            assert answer.content == wrong.content, f"{name}: {answer.text}, not {wrong.text}."


def refuse_hostile_tokens(client: Client, url: str, good: str) -> dict[str, str]:
    """Assert that a GET accepts a good token, and none of what mallory makes of it.

    `good` is what the twin shows to be accepted, as it is and signed anew by hand. All refusals
    are a 401 of the same words, except that an empty token counts as none. Returns the hostile
    tokens.
    """
    from solutions.support.settings import get_settings

    key = get_settings().signing_key
    with twin():
        for token in (good, sign(take_apart(good)[1], key)):
            answer = client.get(url, headers=bearer(token))
            assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    seen = set()
    hostile = hostile_tokens(good, key, HUGE)
    for name, token in hostile.items():
        answer = client.get(url, headers=bearer(token))
        assert answer.status_code == 401, f"{name}: {answer.status_code}, not 401."
        if token:
            seen.add((answer.text, answer.headers.get("www-authenticate")))
            assert len(seen) == 1, f"{name}: {answer.text}, unlike the refusals before it."
    return hostile
