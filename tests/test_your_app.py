"""The attacks on an app of the reader's own: what they say, to whom, and in which file.

What they find is tried on eight apps, in `tests/your_app/`.
"""

import json
import re
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lessons.harness.catalogue import ROOT, find_lessons
from lessons.harness.your_app import description, reports, screen, target
from lessons.harness.your_app.attacks import all_attacks
from lessons.harness.your_app.findings import Finding
from lessons.harness.your_app.target import BadTarget, Here, NoAnswer, There, load
from tests.judge import run_pytest
from tests.processes import serve
from tests.test_texts import blocks

Done = subprocess.CompletedProcess[str]
README = ROOT / "lessons" / "your_app" / "README.md"
LEAST = """
[login]
route = "POST /login"
json = { username = "{username}", password = "{password}" }
[me]
route = "GET /me"
[register]
route = "POST /register"
json = { username = "{username}", password = "{password}" }
"""

# Not to be copied: it keeps tokens in memory, so that little of it can be wrong.
SHOP = """
import secrets, time
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBearer
from passlib.hash import bcrypt
from pydantic import BaseModel, Field

app = FastAPI()
people, tokens = {}, {}
nobody = bcrypt.hash(secrets.token_urlsafe())


class Both(BaseModel):
    username: str = Field(pattern="^[a-z0-9]{3,30}$")
    password: str = Field(min_length=8, max_length=70, pattern="^[ -~]+$")


@app.post("/register", status_code=201)
def register(both: Both):
    if both.username in people:
        raise HTTPException(409, "That name is taken")
    people[both.username] = bcrypt.hash(both.password)
    return {"username": both.username}


@app.post("/login")
def login(both: Both):
    if not bcrypt.verify(both.password, people.get(both.username, nobody)):
        raise HTTPException(401, "Wrong name or password")
    token = secrets.token_urlsafe()
    tokens[token] = both.username, time.time() + 900
    return {"access_token": token}


def caller(credentials=Depends(HTTPBearer())):
    name, end = tokens.get(credentials.credentials, ("", 0))
    if end < time.time():
        raise HTTPException(401, "Log in first")
    return name


@app.get("/me")
def me(name: str = Depends(caller)):
    return {"username": name}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Path]:
    """Write the app, with changes, and its description if one is given."""

    def write(*changes: tuple[str, str], about: str | None = None, name: str = "shop.py") -> Path:
        text = SHOP
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
        if about is not None:
            (tmp_path / description.FILE).write_text(about)
        return tmp_path

    return write


def attack(folder: Path, *arguments: str, app: str = "shop:app") -> Done:
    """Type the command in the app's folder."""
    where = str(ROOT / "lessons" / "your_app")
    done = run_pytest(where, *([f"--app={app}"] if app else []), *arguments, folder=folder)
    for line in done.stdout.splitlines():
        assert line.isascii(), line
        assert len(line) <= screen.WIDTH or line.startswith("pytest "), line
    assert "Traceback" not in done.stdout + done.stderr
    return done


def words(done: Done) -> str:
    return " ".join((done.stdout + done.stderr).split())


# --- the description ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[login", "is no TOML: "),
        (LEAST.replace("POST /login", "/login"), "login.route: give a method and a path, as in"),
        (LEAST.replace("POST /login", ""), "login.route: give a method and a path, as in"),
        (
            LEAST.replace("{password}", "{pasword}"),
            "login.json: nothing fills {pasword}; there are {username}",
        ),
        (LEAST.replace(', password = "{password}"', ""), "login: say where the password goes"),
        (LEAST.replace("[me]", "[mee]"), "there is no key mee; there are host, https,"),
        (LEAST + "bodi = 3", "there is no key register.bodi; there are route, form, json,"),
        (LEAST.replace("[register]", "[refresh]"), "give [register], two [[accounts]], or"),
        (LEAST + 'form = { a = "b" }', "register: a request has one body: form or json."),
        (LEAST + '[use]\nheader = "X"', 'use.header: give a header with {token}, as in "Auth'),
        (LEAST + '[use]\nheader = "A: {token}"\ncookie = "b"', "use: give header or cookie."),
        (LEAST + '[[accounts]]\nusername = "a"', "accounts[1].password is missing."),
        (
            LEAST + '[[accounts]]\nusername = ""\npassword = ""',
            "accounts[1].username is still to be filled in.",
        ),
        (LEAST + '[policy]\naccept = ["csrf"]', "policy.accept[1]: give an attack's name, a colon"),
        (LEAST + '[policy]\naccept = ["no: x"]', "policy.accept: there is no attack no;"),
        (LEAST + "[env]\nPORT = 80", 'env.PORT: give a text, as in "80".'),
        (
            LEAST + '[[thing]]\nmake = "POST /things"\ntouch = []',
            "thing[1].touch is still to",
        ),
        ('host = "http://a/"\n' + LEAST, "host: give a name, and a port if any, as in"),
    ],
)
def test_a_bad_description_is_one_sentence(shop: Callable[..., Path], text: str, says: str) -> None:
    done = attack(shop(about=text))
    assert done.returncode == 2
    assert f"your_app.toml: {says}" in words(done) or f"your_app.toml {says}" in words(done)
    assert len(done.stdout.splitlines()) <= 4


def test_the_descriptions_in_the_texts_are_good(tmp_path: Path) -> None:
    (shown,) = blocks(README, "toml")
    file = tmp_path / "shown.toml"
    file.write_text(shown)
    about = description.read(file)
    assert set(tomllib.loads(shown)) >= {"host", "https", "secret_env", "env", "hooks"}
    assert about.policy.accepted == {"no-attempt-limit": "our proxy counts"}
    for name in description.HOOKS:
        assert f"`{name}(" in README.read_text("utf-8"), name


# --- the app --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "text", "says"),
    [
        ("shop", "", "--app=shop: give a module and the app in it, as in --app=shop.main:app"),
        ("shopp:app", "", "There is no module shopp in "),
        ("shop:app", "import nosuch", "shop needs nosuch, which is not installed here"),
        ("shop:app", "x = (", "shop cannot be imported: SyntaxError: '(' was never closed"),
        ("shop:app", "\n1 / 0", "ZeroDivisionError: division by zero (shop.py, line 2)"),
        ("shop:app", "raise SystemExit('no key')", "shop cannot be imported: SystemExit: no key"),
        (
            "shop:app",
            "async def main(scope, receive, send): ...",
            "shop has no app. There is main.",
        ),
        ("shop:app", "import os\nos.environ['NO_SUCH']", "'NO_SUCH' (shop.py, line 2). A setting"),
        ("shop:app", "app = 7", "--app=shop:app is int, no app and no function."),
        ("shop:app()", "def app(): return 7", "shop:app() returns int, no app."),
        ("shop:app", "def app(): 1 / 0", "shop:app makes no app: ZeroDivisionError: division by"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_one_sentence(
    tmp_path: Path, app: str, text: str, says: str
) -> None:
    (tmp_path / "shop.py").write_text(text)
    done = attack(tmp_path, app=app)
    assert done.returncode == 2
    assert says in words(done)
    assert not (tmp_path / description.FILE).exists()


def test_an_app_may_be_an_object_a_function_or_made_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "several.py").write_text(
        textwrap.dedent("""
        from fastapi import FastAPI
        app = FastAPI(title="app")
        async def bare(scope, receive, send): ...
        def make(debug=False): return FastAPI(title="made")
        class Holder: app = FastAPI(title="held")
        """)
    )
    assert load("several:app", tmp_path).title == "app"
    assert load("several:bare", tmp_path).__name__ == "bare"
    assert load("several:make", tmp_path).title == "made"
    assert load("several:make()", tmp_path).title == "made"
    assert load("several:Holder.app", tmp_path).title == "held"


@pytest.fixture
def here() -> Iterator[Callable[..., Here]]:
    """Start apps in this process, and end them."""
    started: list[Here] = []

    def start(app: object) -> Here:
        started.append(Here(app, "shop.example", https=False))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_an_app_lives_between_its_start_up_and_its_end() -> None:
    from contextlib import asynccontextmanager

    from fastapi import FastAPI, Request

    seen = []

    @asynccontextmanager
    async def lifespan(app: FastAPI):  # type: ignore[no-untyped-def]
        seen.append("start")
        yield {"greeting": "hello"}
        seen.append("end")

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def greet(request: Request) -> str:
        return f"{request.state.greeting} {request.url} {request.client and request.client.host}"

    running = Here(app, "shop.example", https=True)
    running.start()
    assert running.send("GET", "/", caller=7).json() == "hello https://shop.example/ 127.0.0.7"
    running.close()
    assert seen == ["start", "end"]


def test_a_failed_start_up_is_one_sentence(here: Callable[..., Here]) -> None:
    from contextlib import asynccontextmanager

    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app: FastAPI):  # type: ignore[no-untyped-def]
        raise RuntimeError("no database")
        yield

    with pytest.raises(BadTarget, match="start-up failed: RuntimeError: no database"):
        here(FastAPI(lifespan=lifespan))


def test_an_app_without_a_lifespan_starts_and_its_crash_is_a_500(
    here: Callable[..., Here],
) -> None:
    async def bare(scope, receive, send):  # type: ignore[no-untyped-def]
        assert scope["type"] == "http"
        raise ValueError("mallory")

    running = here(bare)
    assert running.send("GET", "/").status_code == 500
    assert running.crash == "ValueError: mallory"


def test_an_app_may_print_as_it_likes(shop: Callable[..., Path]) -> None:
    loud = (
        "import faulthandler, sys\nfaulthandler.enable()\n"
        "sys.stdout.reconfigure(errors='replace')\n"
        "sys.stdout.buffer.write(b'noise')\nprint('more noise')\n"
    )
    folder = shop(("app = FastAPI()", f"{loud}app = FastAPI()"), about=LEAST)
    leak = ("    token = secrets", "    print('welcome', both.password)\n    token = secrets")
    done = attack(folder, "-k", "secrets-in-log")
    assert "secrets-in-log              refused" in done.stdout
    assert "noise" not in done.stdout
    done = attack(shop(leak, about=LEAST), "-k", "secrets-in-log")
    assert "the password: welcome ***" in done.stdout


def test_an_app_may_keep_what_only_its_own_thread_may_use(shop: Callable[..., Path]) -> None:
    """As a server does, the attacks import an app in the thread that runs it."""
    folder = shop(
        (
            "people, tokens = {}, {}",
            'people, tokens = {}, {}\nimport sqlite3\nstore = sqlite3.connect(":memory:")',
        ),
        (
            "def login(both: Both):\n",
            "async def login(both: Both):\n    store.execute('SELECT 1')\n",
        ),
        about=LEAST,
    )
    done = attack(folder, "-k", "blocked-loop")
    assert "blocked-loop                OPEN      leak" in done.stdout


def test_what_hangs_is_left_behind(
    here: Callable[..., Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "PATIENCE", 0.2)

    async def stuck(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] == "http":
            time.sleep(3)  # noqa: ASYNC251

    running = here(stuck)
    with pytest.raises(NoAnswer, match=r"no answer within 0.2 seconds"):
        running.send("GET", "/")
    with pytest.raises(NoAnswer, match="hangs since an earlier request"):
        running.send("GET", "/")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://shop.example", "attacks go to this machine alone"),
        ("http://192.168.0.7:8000", "attacks go to this machine alone"),
        ("http://127.0.0.1.shop.example", "attacks go to this machine alone"),
        ("127.0.0.1:8000", "attacks go to this machine alone"),
        ("http://127.0.0.1:9", "Nobody answers at http://127.0.0.1:9"),
    ],
)
def test_only_this_machine_is_attacked(url: str, says: str) -> None:
    with pytest.raises(BadTarget, match=re.escape(says)):
        There(url, None, https=False).start()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Say which app: pytest lessons/your_app --app=shop.main:app"),
        (["--app=a:b", "--url=http://127.0.0.1:1"], "Say which app"),
        (["--url=http://127.0.0.1:1", "--app-dir=."], "--app-dir goes with --app."),
        (["--app=a:b", "--app-dir=nowhere"], "--app-dir: there is no folder "),
        (["--app=a:b", "--report=x.pdf"], "--report=x.pdf: the name ends in .md, .json, .xml"),
        (["--app=a:b", "--report=nowhere/x.md"], "--report: there is no folder "),
        (["--app=a:b", "-k", "nosuch"], "-k nosuch: no attack has that in its name."),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = attack(tmp_path, *arguments, app="")
    assert done.returncode in (2, 4)
    assert says in words(done)


def test_the_options_are_for_your_app_alone() -> None:
    done = run_pytest("lessons/01", "--app=shop:app")
    assert done.returncode == 4
    assert "--app and --url are for pytest lessons/your_app." in done.stderr


# --- the first run, and the second ----------------------------------------------------------


def test_the_first_run_describes_and_the_second_attacks(shop: Callable[..., Path]) -> None:
    folder = shop()
    first = attack(folder)
    assert first.returncode == 2
    assert "your_app.toml is written. No attack yet." in first.stdout
    assert "POST /register makes an account, POST /login lets it in, and GET /me" in words(first)
    text = (folder / description.FILE).read_text()
    about = description.read(folder / description.FILE)
    assert about.login.route == "POST /login"
    assert about.me.route == "GET /me"
    assert about.register_ is not None
    second = attack(folder)
    assert second.returncode == 0, second.stdout
    assert "OPEN      hardening" in second.stdout
    assert "Nobody gets in." in words(second)
    assert (folder / description.FILE).read_text() == text


def test_the_screen_in_the_page_is_real(tmp_path: Path) -> None:
    (shown,) = blocks(README, "text")
    settings = {"ENVIRONMENT": "development", "BCRYPT_ROUNDS": "4"}
    where = str(ROOT / "lessons" / "your_app")
    done = run_pytest(where, "--app=solutions.refresh:app", folder=tmp_path, env=settings)
    names = re.compile("mallory[0-9a-f]{8}")
    assert names.sub("NAME", shown.strip()) in names.sub("NAME", done.stdout)


def test_what_an_app_needs_to_start_may_be_written_before(shop: Callable[..., Path]) -> None:
    settings = '[env]\nSHOP = "open"\n\n[hooks]\nmodule = "attack_hooks"\n'
    folder = shop(
        ("app = FastAPI()", "import os\nos.environ['SHOP']\napp = FastAPI()"),
        ('@app.post("/register", status_code=201)\n', ""),
        about=settings,
    )
    (folder / "attack_hooks.py").write_text(
        "from shop import bcrypt, people\n\n\n"
        "def add(name, email, password):\n    people[name] = bcrypt.hash(password)\n"
    )
    first = attack(folder)
    assert "your_app.toml is written." in first.stdout
    text = (folder / description.FILE).read_text()
    assert text.startswith(settings)
    assert "the hook add makes an account, POST /login lets it in, and GET /me" in words(first)
    assert "fill in" not in first.stdout
    assert attack(folder).returncode == 0


def test_what_is_open_ends_red_and_shows_how(shop: Callable[..., Path]) -> None:
    change = ("people.get(both.username, nobody)", "people[both.username]")
    done = attack(shop(change, about=LEAST), "-k", "account-list")
    assert done.returncode == 1
    assert "account-list                OPEN      leak" in done.stdout
    assert "500 for nobody" in words(done)
    assert "read lessons/03_login/README.md" in done.stdout


def test_what_is_meant_is_accepted(shop: Callable[..., Path]) -> None:
    change = ("people.get(both.username, nobody)", "people[both.username]")
    policy = '[policy]\naccept = ["account-list: names are public", "huge-password: x"]'
    done = attack(shop(change, about=LEAST + policy), "-k", "account-list")
    assert "account-list                accepted" in done.stdout
    assert "names are public (401 for who has an account, 500 for nobody)" in words(done)
    done = attack(shop(about=LEAST + policy), "-k", "huge-password")
    assert "policy accepts what is refused now: huge-password" in done.stdout


def test_a_login_that_lets_nobody_in_is_told(shop: Callable[..., Path]) -> None:
    about = LEAST.replace("POST /login", "POST /log-in")
    done = attack(shop(about=about))
    assert done.returncode == 2
    assert "Nothing can be attacked yet: POST /log-in does not let mallory" in words(done)
    assert '404 {"detail":"Not Found"}. Correct your_app.toml.' in words(done)


def test_where_nobody_can_register_accounts_are_asked_for(shop: Callable[..., Path]) -> None:
    folder = shop(('@app.post("/register", status_code=201)\n', ""))
    done = attack(folder)
    assert "Nobody can register. Give two people under [[accounts]]." in done.stdout
    again = attack(folder)
    assert again.returncode == 2
    assert "your_app.toml: accounts[1].username is still to be filled in." in words(again)


def test_without_a_document_the_routes_are_asked_for(shop: Callable[..., Path]) -> None:
    folder = shop(("FastAPI()", "FastAPI(openapi_url=None)"))
    done = attack(folder)
    assert done.returncode == 2
    assert "There is no OpenAPI document, so the routes are yours to fill in." in words(done)
    assert "Something answers to POST /login." in words(done)
    again = attack(folder)
    assert "your_app.toml: login.route: give a method and a path" in words(again)


def test_a_limiter_is_waited_for_under_the_clock(shop: Callable[..., Path]) -> None:
    limited = textwrap.dedent("""
        tries = []

        @app.post("/login")
        def login(both: Both):
            recent = [each for each in tries if each > time.time() - 600]
            tries[:] = [*recent, time.time()]
            if len(recent) > 2:
                raise HTTPException(429, "Later", {"Retry-After": "600"})
    """)
    folder = shop(('@app.post("/login")\ndef login(both: Both):\n', limited), about=LEAST)
    done = attack(folder, "-k", "account-list", "--report=out.json")
    assert done.returncode == 0
    found = json.loads((folder / "out.json").read_text())["attacks"]
    assert [each["status"] for each in found] == ["refused", "refused"]
    for _ in range(2):
        done = attack(folder, "-k", "no-attempt-limit", "--report=out.json")
        assert "no-attempt-limit            refused" in done.stdout


def test_hooks_do_what_no_request_can(shop: Callable[..., Path]) -> None:
    folder = shop(about=LEAST + '[hooks]\nmodule = "attack_hooks"')
    hooks = folder / "attack_hooks.py"
    hooks.write_text("import shop\nasync def remove(name): del shop.people[name]\n")
    done = attack(folder, "-k", "deleted-user")
    assert done.returncode == 1
    assert "GET /me still lets the old token in" in words(done)
    hooks.write_text("def remove(name): 1 / 0\n")
    done = attack(folder, "-k", "deleted-user")
    assert "the hook remove fails: ZeroDivisionError: division by zero" in words(done)
    hooks.write_text("def prepare(app): 1 / 0\n")
    assert "The hook prepare fails: ZeroDivisionError" in words(attack(folder))
    hooks.write_text("")
    assert "hooks.module: attack_hooks has none of prepare, add," in words(attack(folder))
    hooks.unlink()
    assert "hooks.module: attack_hooks cannot be imported" in words(attack(folder))


def test_a_server_is_attacked_as_far_as_that_goes(
    shop: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shop(("bcrypt.hash", "bcrypt.using(rounds=4).hash"), about=LEAST)
    with serve("shop:app", tmp_path / "log", folder) as client:
        done = attack(folder, f"--url={client.base_url}", "--report=out.json", app="")
        assert done.returncode == 0, done.stdout
    found = {
        each["name"]: each for each in json.loads((folder / "out.json").read_text())["attacks"]
    }
    assert found["account-list-by-time"]["why"] == "only with --app the meter sees the hashes"
    assert found["eternal-token"]["status"] == "not tried"
    for name in ("account-list", "crooked-token", "no-guard", "nul-in-password"):
        assert found[name]["status"] == "refused", found[name]
    assert found["no-attempt-limit"]["status"] == "open"


def test_the_passwords_of_the_description_stay_out_of_what_is_shown(
    shop: Callable[..., Path],
) -> None:
    secret = "Alice's own: 7 plums"
    people = "".join(
        f'[[accounts]]\nusername = "{name}"\npassword = "{secret}"\n' for name in ("alice", "bob")
    )
    known = (
        f'people = {{name: bcrypt.hash("{secret}") for name in ("alice", "bob")}}\ntokens = {{}}'
    )
    change = ("people.get(both.username, nobody)", "people[both.username]")
    about = LEAST.partition("[register]")[0] + people
    folder = shop(("people, tokens = {}, {}", known), change, about=about)
    done = attack(folder, "--report=out.md")
    assert "account-list                OPEN" in done.stdout
    assert "alice" in done.stdout and "***" in done.stdout
    assert secret not in done.stdout + (folder / "out.md").read_text()


CONFUSED = """
import base64, hashlib, hmac, json, time
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI, Header, HTTPException
from jwt.algorithms import RSAAlgorithm
from pydantic import BaseModel

key = rsa.generate_private_key(65537, 2048)
public = key.public_key()
pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
people = {}
app = FastAPI()


class Both(BaseModel):
    username: str
    password: str


@app.post("/register")
def register(both: Both):
    people.setdefault(both.username, both.password)


@app.post("/login")
def login(both: Both):
    if people.get(both.username) != both.password:
        raise HTTPException(401)
    claims = {"sub": both.username, "exp": time.time() + 600}
    return {"access_token": jwt.encode(claims, key, "RS256")}


@app.get("/.well-known/jwks.json")
def keys():
    return {"keys": [json.loads(RSAAlgorithm.to_jwk(public))]}


@app.get("/me")
def me(authorization: str = Header("")):
    try:
        token = authorization.removeprefix("Bearer ")
        signed, _, signature = token.rpartition(".")
        if jwt.get_unverified_header(token)["alg"] == "HS256":
            made = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
            if base64.urlsafe_b64encode(made).rstrip(b"=") == signature.encode():
                return {"username": "anybody"}
        return jwt.decode(token, pem, ["RS256"])
    except (jwt.PyJWTError, ValueError):
        raise HTTPException(401) from None
"""


def test_a_public_key_may_be_taken_for_a_secret(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CONFUSED)
    (tmp_path / description.FILE).write_text(LEAST)
    done = attack(tmp_path, "-k", "public-key-as-secret")
    assert "public-key-as-secret        OPEN      break-in" in done.stdout
    right = CONFUSED.replace('"HS256":', '"HS999":')
    (tmp_path / "shop.py").write_text(right)
    done = attack(tmp_path, "-k", "public-key-as-secret")
    assert "public-key-as-secret        refused" in done.stdout


# --- reports --------------------------------------------------------------------------------

FINDINGS = [
    Finding(
        "csrf", "a page acts", "08", "ASVS 3.5.1", "open", "break-in", "a|b <c>", ["GET /\x07"]
    ),
    Finding("cheap-hash", "cheap", "01", "ASVS 11.4.2", "open", "hardening", "bcrypt cost=4"),
    Finding("odd-input", "odd", "10", "CWE-755", "accepted", "leak", "we know (500)"),
    Finding("no-guard", "open", "04", "CWE-306", "not tried", "break-in", "nothing there"),
    Finding("fixation", "planted", "08", "ASVS 7.2.4", "refused", "break-in"),
]


def _report(tmp_path: Path, name: str) -> str:
    path = tmp_path / name
    reports.check(path)
    reports.write(path, "shop:app", FINDINGS, "your_app.toml")
    return path.read_text("utf-8")


def test_the_page_has_a_row_for_each_and_what_is_open_in_full(tmp_path: Path) -> None:
    page = _report(tmp_path, "out.md")
    rows = [line for line in page.splitlines() if line.startswith("| 0") or line.startswith("| 1")]
    assert len(rows) == len(FINDINGS)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)
    assert "## csrf" in page and "lessons/08_sessions/README.md" in page
    assert "## odd-input" not in page


def test_the_json_has_all(tmp_path: Path) -> None:
    found = json.loads(_report(tmp_path, "out.json"))
    assert found["app"] == "shop:app"
    assert [each["status"] for each in found["attacks"]] == [each.status for each in FINDINGS]
    assert found["attacks"][0]["transcript"] == ["GET /\x07"]


def test_junit_fails_for_break_ins_and_leaks_alone(tmp_path: Path) -> None:
    (suite,) = ElementTree.fromstring(_report(tmp_path, "out.xml"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "1", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "a page acts: a|b <c>"
    assert failure.text is not None and "GET /?" in failure.text
    assert [case.get("name") for case in suite if case.find("skipped") is not None] == ["no-guard"]


def test_sarif_says_what_a_code_host_asks_for(tmp_path: Path) -> None:
    sarif = json.loads(_report(tmp_path, "out.sarif"))
    assert sarif["version"] == "2.1.0" and "sarif-2.1.0" in sarif["$schema"]
    (run,) = sarif["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [each.name for each in all_attacks()]
    for rule in rules:
        assert all(rule[text]["text"] for text in ("shortDescription", "fullDescription", "help"))
    assert [each["ruleId"] for each in run["results"]] == ["csrf", "cheap-hash", "odd-input"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "your_app.toml"
    assert [each["level"] for each in run["results"]] == ["error", "note", "error"]
    assert run["results"][2]["suppressions"][0]["justification"] == "we know (500)"


def test_a_run_writes_what_was_asked_for(shop: Callable[..., Path]) -> None:
    folder = shop(about=LEAST)
    names = ["a.md", "a.json", "a.xml", "a.sarif"]
    done = attack(folder, "-k", "header", *(f"--report={name}" for name in names))
    assert done.returncode == 0
    for name in names:
        assert f"written: {name}" in done.stdout
        assert "missing-headers" in (folder / name).read_text()


# --- the list, and the texts ----------------------------------------------------------------


def test_each_attack_has_a_lesson_an_authority_and_a_name_of_its_own() -> None:
    numbers = {each.number for each in find_lessons()}
    attacks = all_attacks()
    assert len({each.name for each in attacks}) == len(attacks) >= 45
    for each in attacks:
        assert re.fullmatch(r"[a-z0-9-]+", each.name)
        assert each.lesson in numbers
        assert re.fullmatch(r"CWE-\d+|ASVS \d+\.\d+\.\d+|RFC \d{4} \d[\d.]*", each.authority)
        assert screen.lesson_path(each.lesson)
    storms = [each.storms for each in attacks]
    assert storms == sorted(storms)


def test_the_list_is_printed() -> None:
    done = run_pytest("lessons/your_app", "--collect-only")
    assert done.returncode == 0
    for each in all_attacks():
        assert f"{each.name} " in done.stdout


def test_the_page_is_short() -> None:
    assert len(README.read_text("utf-8").split()) <= 1400


def test_the_action_in_the_readme_is_clean(tmp_path: Path) -> None:
    (action,) = blocks(ROOT / "README.md", "yaml")
    file = tmp_path / "attacks.yml"
    file.write_text(action)
    lint = [str(Path(sys.executable).with_name("actionlint")), "-no-color", str(file)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
