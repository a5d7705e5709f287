"""Every step is an app: the reference, the starter with its TODOs open, and a copy elsewhere."""

import re
import secrets
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from solutions.support.rotate_keys import rotate
from tests.everyday import IS_EVERYDAY
from tests.processes import refuse_to_start, serve, tables_for

LESSONS = pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
COPIED = pytest.mark.parametrize(
    "lesson",
    find_lessons()[:: -7 if IS_EVERYDAY else 1],
    ids=lambda lesson: lesson.slug,
)
ERIN = {"username": "erin", "password": "trombone + seven"}
REGISTER = ("POST", "/register", {"json": ERIN})
LOGIN = ("POST", "/token", {"data": ERIN})
BAD_TOKEN = {"headers": {"Authorization": "Bearer not.a.token"}}
BY_HTTPS = {"X-Forwarded-Proto": "https"}  # a proxy's word
BAD_KEY = {"headers": {"X-API-Key": "no-such-key"}}

# What comes first, then one request per lesson that reaches its code, the answer of the reference,
# and the TODO behind it.
FIRST_REQUEST = {
    "hashing": ((), REGISTER, 201, "TODO 2"),
    "tokens": ((), ("POST", "/inspect", {"json": {"token": "not.a.token"}}), 401, "TODO 2"),
    "login": ((REGISTER,), LOGIN, 200, "TODO 3"),
    "oauth2": ((), ("GET", "/users/me", BAD_TOKEN), 401, "TODO 1"),
    "refresh": ((REGISTER,), LOGIN, 200, "TODO 1"),
    "rbac": ((REGISTER, LOGIN), ("GET", "/admin/users", {}), 403, "TODO 1"),
    "api_keys": ((), ("GET", "/api/protected", BAD_KEY), 403, "TODO 3"),
    "sessions": ((), ("GET", "/login", {}), 200, "TODO 3"),
    "social": ((), ("GET", "/login/github", {}), 302, "TODO 1"),
    "hardening": ((), ("POST", "/token", {"data": ERIN, "headers": BY_HTTPS}), 400, "TODO 1"),
    "key_rotation": ((REGISTER,), LOGIN, 200, "TODO 1"),
    "database": ((), ("POST", "/register", {"json": ERIN, "headers": BY_HTTPS}), 201, "TODO 2"),
    "tenants": ((), ("GET", "/tenants/0", BAD_KEY), 404, "TODO 1"),
}
BY_THE_SECRET = {"tokens", "login", "oauth2", "refresh", "rbac"}  # that request needs JWT_SECRET
COVERED = ("hardening",)  # the first TODO stands around everything, FastAPI's own pages too
GITHUB = {  # which has no metadata, so that nobody is asked
    "GITHUB_CLIENT_ID": "shop",
    "GITHUB_CLIENT_SECRET": "not-a-real-one",
    "PUBLIC_URL": "https://shop.example",
    "TRUSTED_PROXIES": "127.0.0.1",
}


def first_answer(client: httpx.Client, lesson: Lesson) -> httpx.Response:
    """Send a lesson's first request, as erin if she has logged in."""
    before, (method, url, send), _, _ = FIRST_REQUEST[lesson.slug]
    for earlier in before:
        answer = client.request(earlier[0], earlier[1], **earlier[2])
        assert answer.status_code in (200, 201), answer.text
        if "access_token" in answer.json():
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client.request(method, url, **send)


@LESSONS
def test_the_reference_answers(lesson: Lesson, tmp_path: Path) -> None:
    _, (_, url, _), status, _ = FIRST_REQUEST[lesson.slug]
    log, tables = tmp_path / "log", tables_for(lesson, tmp_path)
    app = f"solutions.{lesson.slug}:app"
    with serve(app, log, BCRYPT_ROUNDS="4", **GITHUB, **tables) as client:
        assert first_answer(client, lesson).status_code == status
        page = client.get("/docs")
        assert page.status_code == 200
        # Nothing on the page comes from elsewhere: it works in a class without a network.
        for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert address.startswith("/"), address
            assert client.get(address).status_code == 200, address
        paths = client.get("/openapi.json").json()["paths"]
        assert any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), url) for path in paths)
    told = log.read_text().count("JWT_SECRET is not set")
    assert told == (lesson.slug in BY_THE_SECRET)


@LESSONS
def test_the_starter_answers_and_its_log_names_the_todo(lesson: Lesson, tmp_path: Path) -> None:
    todo = FIRST_REQUEST[lesson.slug][-1]
    log, tables = tmp_path / "log", tables_for(lesson, tmp_path)
    app = f"lessons.{lesson.folder.name}.{lesson.slug}:app"
    with serve(app, log, **GITHUB, **tables) as client:
        page = 500 if lesson.slug in COVERED else 200
        assert client.get("/docs").status_code == page
        assert first_answer(client, lesson).status_code == 500
        assert client.get("/docs").status_code == page
    assert re.search(rf'NotImplementedError(: |\("){todo}: ', log.read_text())


def copy_as_the_readme_says(lesson: Lesson, tmp_path: Path) -> str:
    """Run its `mkdir` and `cp` lines, for a package of another name; return what to start."""
    section = lesson.readme.read_text("utf-8").partition("## Take it with you")[2]
    package = tmp_path / "somewhere" / "shopauth"
    for command, *words in map(shlex.split, re.findall(r"^(?:mkdir|cp) .*$", section, re.M)):
        assert all(word.startswith("../myapp/auth") for word in words[-1:]), words
        target = package / words[-1].removeprefix("../myapp/auth").strip("/")
        if command == "mkdir":
            for folder in words[1:]:
                (package / folder.removeprefix("../myapp/auth").strip("/")).mkdir(parents=True)
            continue
        for file in words[:-1]:
            shutil.copy(ROOT / file, target)
    assert (package / "LICENSE").exists(), "The licence has to come along."
    (app,) = re.findall(r"^uvicorn auth\.(\w+:app)(?: --[\w-]+)*$", section, re.M)
    return f"shopauth.{app}"


@COPIED
def test_a_copy_under_another_name_runs_in_production(lesson: Lesson, tmp_path: Path) -> None:
    app = copy_as_the_readme_says(lesson, tmp_path)
    folder = tmp_path / "somewhere"
    status = FIRST_REQUEST[lesson.slug][2]
    log = tmp_path / "log"
    named = {"JWT_ISSUER": "https://shop.example", "JWT_AUDIENCE": "shop", **GITHUB}
    rotate(tmp_path / "keys")
    named["SIGNING_KEYS_DIR"] = str(tmp_path / "keys")
    tables = tables_for(lesson, tmp_path)
    named |= {"JWT_SECRET": secrets.token_urlsafe(32), **tables}
    with serve(app, log, folder, **named) as client:
        assert first_answer(client, lesson).status_code == status
    assert "JWT_SECRET" not in log.read_text()
    assert log.read_text().count("kept in memory") == (0 if tables else 1)
    (folder / "dev.env").write_text("ENVIRONMENT=development\n")  # counts in the workbook only
    for workers in ("1", "2"):
        sentence = refuse_to_start(app, folder, workers=workers)
        assert sentence.startswith("Not started: JWT_SECRET is not set."), sentence


@LESSONS
def test_a_copy_is_imported_without_settings(lesson: Lesson, tmp_path: Path) -> None:
    """A test suite collects it, a tool reads its schema: neither has a secret."""
    app = copy_as_the_readme_says(lesson, tmp_path)
    module = app.partition(":")[0]
    code = f"from {module} import app; assert app.openapi()['paths']"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "somewhere", env={}, check=True)


@COPIED
def test_a_copy_runs_in_development_too(lesson: Lesson, tmp_path: Path) -> None:
    """Without fastapi-offline, which the README does not ask a copier to install."""
    app = copy_as_the_readme_says(lesson, tmp_path)
    folder = tmp_path / "somewhere"
    (folder / "fastapi_offline.py").write_text("raise ImportError('not installed')\n")
    status = FIRST_REQUEST[lesson.slug][2]
    env = {"ENVIRONMENT": "development", "BCRYPT_ROUNDS": "4", **GITHUB}
    env |= tables_for(lesson, tmp_path)
    with serve(app, tmp_path / "log", folder, **env) as client:
        assert first_answer(client, lesson).status_code == status


@LESSONS
def test_the_copy_needs_every_file_and_no_more(lesson: Lesson, tmp_path: Path) -> None:
    """Only what the step imports, as Python itself sees it."""
    app = copy_as_the_readme_says(lesson, tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import importlib, sys; importlib.import_module(sys.argv[1]);"
            "print(*sorted(name for name in sys.modules if name.startswith('shopauth.')))",
            app.partition(":")[0],
        ],
        cwd=tmp_path / "somewhere",
        env={"JWT_SECRET": secrets.token_urlsafe(32), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {name.partition(".")[2] for name in done.stdout.split()}
    package = tmp_path / "somewhere" / "shopauth"
    files = {path.relative_to(package).with_suffix("") for path in package.rglob("*.py")}
    copied = {".".join(file.parts).removesuffix(".__init__") for file in files}
    late = {f"stores.sql.{name}" for name in ("sqlite", "postgres", "held")}  # one is opened
    assert copied - {"__init__"} - late == imported


def test_a_bad_secret_is_one_sentence() -> None:
    for secret in ("", "secret", "x" * 31):
        sentence = refuse_to_start("solutions.login:app", JWT_SECRET=secret)
        assert sentence.startswith(f"Not started: JWT_SECRET has {len(secret)} bytes"), sentence


def test_no_module_of_solutions_is_named_like_another() -> None:
    others = set(sys.stdlib_module_names) | {"jwt", "jose", "passlib", "fastapi", "bcrypt"}
    assert not others & {path.stem for path in (ROOT / "solutions").rglob("*.py")}


def test_no_module_of_solutions_imports_the_workbook() -> None:
    for path in (ROOT / "solutions").rglob("*.py"):
        text = path.read_text("utf-8")
        assert not re.search(r"^\s*(from|import) (lessons|tests|notebooks|solutions)\b", text, re.M)


def test_nobody_s_secret_stands_in_the_tree() -> None:
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in files:
        text = (ROOT / name).read_text("utf-8", errors="replace")
        assert not re.search(r"\b[0-9a-f]{64}\b", text), name
        if not name.startswith("notebooks/tutorials/"):  # breakable on purpose, by these too
            assert not re.search(r"^\s*(JWT_)?SECRET(_KEY)? ?= ?[\"']\S", text, re.M), name
