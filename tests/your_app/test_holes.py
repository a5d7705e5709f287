"""Each attack succeeds somewhere: in the table, or on an app with one hole cut into it.

Beside a hole stands, where there is one, what looks like it and is none.
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from itertools import count
from pathlib import Path

import pytest

from lessons.harness.your_app.attacks import all_attacks
from lessons.harness.your_app.description import read
from lessons.harness.your_app.document import fetch
from lessons.harness.your_app.findings import Finding
from lessons.harness.your_app.run import run
from lessons.harness.your_app.site import Hooks, Site
from lessons.harness.your_app.target import Here, Importing, load
from tests.your_app.table import FOLDER, expected

Edits = tuple[tuple[str, str], ...]
Try = Callable[..., Finding]

HOLES: dict[str, tuple[str, Edits]] = {
    "forged-token": (
        "by_email",
        (
            (
                'jwt.decode(token, KEY, algorithms=["HS256"], options={"require": ["exp", "sub"]})',
                'jwt.decode(token, options={"verify_signature": False})',
            ),
        ),
    ),
    "requested-scope": (
        "cookies",
        (
            (
                "log_in(username: Text, password: Text)",
                "log_in(username: Text, password: Text, scope: Annotated[str, Form()] = '')",
            ),
            ('{"sub": username, "exp"', '{"sub": username, "scope": scope, "exp"'),
        ),
    ),
    "reset-tells-names": (
        "sound",
        (
            (
                '@app.get("/v1/account")',
                '@app.post("/v1/forgotten", status_code=202)\n'
                "def forget(body: dict[str, str]) -> None:\n"
                '    if body["email"] not in store.members:\n'
                "        raise HTTPException(404)\n\n\n"
                '@app.get("/v1/account")',
            ),
        ),
    ),
    "token-in-address": (
        "sound",
        (
            (
                'sid: Annotated[str, Cookie()] = "") -> Session:',
                'sid: Annotated[str, Cookie()] = "", token: str = "") -> Session:',
            ),
            (
                "now, wanted = time.time(), digest(sid)",
                "now, wanted = time.time(), digest(sid or token)",
            ),
        ),
    ),
    "stolen-session-goes-on": (
        "sound",
        (("        store.sessions.pop(family, None)  # one of two has stolen it\n", ""),),
    ),
    "promotion-by-patch": (
        "by_email",
        (
            ("class NewName(BaseModel):", 'class NewName(BaseModel, extra="allow"):'),
            ('person["name"] = body.name', "person.update(body.model_dump())"),
        ),
    ),
    "fixation": (
        "sound",
        (
            (
                "sign_in(body: Credentials, response: Response)",
                'sign_in(body: Credentials, response: Response, sid: str = Cookie(""))',
            ),
            ("secrets.token_hex(8), now + LONG)", "secrets.token_hex(8), now + LONG, sid)"),
            (
                "family: str, long_end: float) -> None:",
                'family: str, long_end: float, old: str = "") -> None:',
            ),
            ("    end = min(", "    short = old or short\n    end = min("),
        ),
    ),
    "foreign-origin": (
        "sound",
        (
            (
                "            await send(message)\n",
                '            origin = dict(scope["headers"]).get(b"origin", b"*")\n'
                '            if message["type"] == "http.response.start":\n'
                '                message["headers"] += [\n'
                '                    (b"access-control-allow-origin", origin),\n'
                '                    (b"access-control-allow-credentials", b"true"),\n'
                "                ]\n"
                "            await send(message)\n",
            ),
        ),
    ),
    "secrets-in-log": (
        "sound",
        (
            (
                "    member = store.members.get(body.email)\n    right",
                "    print(body)\n    member = store.members.get(body.email)\n    right",
            ),
        ),
    ),
    "spoofed-address": (
        "sound",
        (
            (
                "sign_in(body: Credentials, response: Response)",
                "sign_in(body: Credentials, response: Response, request: Request)",
            ),
            (
                "    now = time.time()\n    recent",
                '    now, who = time.time(), request.headers.get("x-forwarded-for", body.email)\n'
                "    recent",
            ),
            ("store.failures[body.email]", "store.failures[who]"),
        ),
    ),
    "refresh-race": (
        "sound",
        (
            ("import secrets\n", "import asyncio\nimport secrets\n"),
            ("def renew(", "async def renew("),
            (
                "    store.spent[wanted]",
                "    await asyncio.sleep(0.01)  # a slow store\n    store.spent[wanted]",
            ),
        ),
    ),
}
CHEAP = (  # no hash is counted here
    ("PasswordHash.recommended()", "PasswordHash((Argon2Hasher(1, 8, 1),))"),
    (
        "from pwdlib import PasswordHash\n",
        "from pwdlib import PasswordHash\nfrom pwdlib.hashers.argon2 import Argon2Hasher\n",
    ),
    ('CryptContext(schemes=["bcrypt"])', 'CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)'),
)
FORGOT = '\n[forgot]\nroute = "POST /v1/forgotten"\njson = { email = "{email}" }\n'
ELSEWHERE = {"public-key-as-secret"}  # tests/test_your_app.py
_numbers = count()


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    """Cut a hole into an app, and try an attack on it."""

    def try_it(
        name: str, folder: str, *edits: tuple[str, str], about: tuple[str, str] = ("", "")
    ) -> Finding:
        text = (FOLDER / folder / "app.py").read_text()
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        for old, new in CHEAP:
            text = text.replace(old, new)
        module = f"holed_{next(_numbers)}"
        (tmp_path / f"{module}.py").write_text(text)
        written = (FOLDER / folder / "your_app.toml").read_text().replace(*about)
        forgot = FORGOT if "/v1/forgotten" in text else ""
        (tmp_path / "your_app.toml").write_text(written + forgot)
        description = read(tmp_path / "your_app.toml")
        app = "walled" if folder == "sound" else "app"
        here = Here(
            Importing(lambda: load(f"{module}:{app}", tmp_path)),
            "localhost:8000",
            description.https,
        )
        try:
            here.start()
            hooks = Hooks(__import__(module))
            site = Site(here, description, hooks, None, fetch(here, here.app))
            with redirect_stdout(StringIO()) as printed:
                site.logged = printed.getvalue
                return run(site, next(each for each in all_attacks() if each.name == name))
        finally:
            here.close()

    return try_it


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_found(name: str, attempt: Try) -> None:
    folder, edits = HOLES[name]
    whole = attempt(name, folder)
    assert whole.status in ("refused", "not tried")
    finding = attempt(name, folder, *edits)
    assert finding.status == "open", finding.why


def test_each_attack_succeeds_somewhere() -> None:
    in_the_table = {
        attack
        for cells in expected().values()
        for attack, status in cells.items()
        if status in ("open", "accepted")
    }
    assert {each.name for each in all_attacks()} == in_the_table | HOLES.keys() | ELSEWHERE


SIGN_OUT = '@app.delete("/v1/session", status_code=204'
NO_WALL = (f"{SIGN_OUT}, dependencies=OWN_PAGE", SIGN_OUT)


def test_a_foreign_page_cannot_send_what_browsers_ask_about_first(attempt: Try) -> None:
    """DELETE, PUT and PATCH need a preflight, which this app does not answer."""
    assert attempt("csrf", "sound", NO_WALL).status == "refused"


def test_a_foreign_page_can_end_a_session_by_a_form(attempt: Try) -> None:
    """The session is over then, for the app's own page too."""
    by_post = '@app.post("/v1/session/end", status_code=204'
    about = ("DELETE /v1/session", "POST /v1/session/end")
    finding = attempt("csrf", "sound", NO_WALL, (SIGN_OUT, by_post), about=about)
    assert (finding.status, finding.level) == ("open", "hardening")
    assert "POST /v1/session/end" in finding.why


def test_an_action_that_fails_hides_no_other(attempt: Try) -> None:
    """A note that its owner cannot write says nothing of the logout."""
    by_post = '@app.post("/v1/session/end", status_code=204'
    about = ("DELETE /v1/session", "POST /v1/session/end")
    no_notes = ('"note": key', '"note": str(1 // 0)')
    finding = attempt("csrf", "sound", no_notes, NO_WALL, (SIGN_OUT, by_post), about=about)
    assert finding.status == "open"


def test_what_a_limiter_refuses_is_not_tried(attempt: Try) -> None:
    """The app was not asked, so nothing is proved."""
    limited = (
        '        body, more = b"", True\n',
        '        body, more = b"", True\n'
        '        if b"eyJ" in repr(scope["headers"]).encode():\n'
        '            await JSONResponse({}, 429, {"Retry-After": "60"})(scope, receive, send)\n'
        "            return\n",
    )
    finding = attempt("crooked-token", "sound", limited)
    assert finding.status == "not tried"
    assert "a limiter answered in the app's place: 429 to GET /v1/account" in finding.why
