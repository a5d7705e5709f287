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
from tests.processes import refuse_to_start, serve

LESSONS = pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
ERIN = {"username": "erin", "password": "trombone + 7"}
REGISTER = ("POST", "/register", {"json": ERIN})
LOGIN = ("POST", "/token", {"data": ERIN})
BAD_TOKEN = {"headers": {"Authorization": "Bearer not.a.token"}}
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
    log = tmp_path / "log"
    with serve(f"solutions.{lesson.slug}:app", log, BCRYPT_ROUNDS="4") as client:
        assert first_answer(client, lesson).status_code == status
        page = client.get("/docs")
        assert page.status_code == 200
        # Nothing on the page comes from elsewhere: it works in a class without a network.
        for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert address.startswith("/"), address
            assert client.get(address).status_code == 200, address
        assert url in client.get("/openapi.json").json()["paths"]
    assert "JWT_SECRET is not set" in log.read_text()


@LESSONS
def test_the_starter_answers_and_its_log_names_the_todo(lesson: Lesson, tmp_path: Path) -> None:
    todo = FIRST_REQUEST[lesson.slug][-1]
    log = tmp_path / "log"
    with serve(f"lessons.{lesson.folder.name}.{lesson.slug}:app", log) as client:
        assert client.get("/docs").status_code == 200
        assert first_answer(client, lesson).status_code == 500
        assert client.get("/docs").status_code == 200
    assert f"NotImplementedError: {todo}: " in log.read_text()


def _copy_as_the_readme_says(lesson: Lesson, tmp_path: Path) -> str:
    text = lesson.readme.read_text("utf-8")
    (line,) = re.findall(r"^cp solutions/.*$", text, re.M)
    package = tmp_path / "somewhere" / "shopauth"
    package.mkdir(parents=True)
    words = shlex.split(line)
    assert words[0] == "cp"
    assert words[-1] == "../myapp/auth/"
    for file in words[1:-1]:
        shutil.copy(ROOT / file, package)
    return f"shopauth.{lesson.slug}:app"


@LESSONS
def test_a_copy_under_another_name_runs_in_production(lesson: Lesson, tmp_path: Path) -> None:
    app = _copy_as_the_readme_says(lesson, tmp_path)
    folder = tmp_path / "somewhere"
    status = FIRST_REQUEST[lesson.slug][2]
    log = tmp_path / "log"
    with serve(app, log, folder, JWT_SECRET=secrets.token_urlsafe(32)) as client:
        assert first_answer(client, lesson).status_code == status
    assert "JWT_SECRET" not in log.read_text()
    printed = refuse_to_start(app, folder)
    assert printed.startswith("Not started: JWT_SECRET is not set.")
    assert len(printed.strip().splitlines()) == 1, printed


@LESSONS
def test_a_copy_runs_in_development_too(lesson: Lesson, tmp_path: Path) -> None:
    """Without fastapi-offline, which the README does not ask a copier to install."""
    app = _copy_as_the_readme_says(lesson, tmp_path)
    folder = tmp_path / "somewhere"
    (folder / "fastapi_offline.py").write_text("raise ImportError('not installed')\n")
    status = FIRST_REQUEST[lesson.slug][2]
    env = {"ENVIRONMENT": "development", "BCRYPT_ROUNDS": "4"}
    with serve(app, tmp_path / "log", folder, **env) as client:
        assert first_answer(client, lesson).status_code == status


@LESSONS
def test_the_copy_needs_every_file_and_no_more(lesson: Lesson, tmp_path: Path) -> None:
    """Only what the step imports, as Python itself sees it."""
    app = _copy_as_the_readme_says(lesson, tmp_path)
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
    copied = {path.stem for path in (tmp_path / "somewhere" / "shopauth").glob("*.py")}
    assert copied - {"__init__"} == imported


def test_a_bad_secret_is_one_sentence() -> None:
    for secret in ("", "secret", "x" * 31):
        printed = refuse_to_start("solutions.login:app", JWT_SECRET=secret)
        assert printed.startswith(f"Not started: JWT_SECRET has {len(secret)} bytes"), printed
        assert "Traceback" not in printed


def test_no_module_of_solutions_is_named_like_another() -> None:
    others = set(sys.stdlib_module_names) | {"jwt", "jose", "passlib", "fastapi", "bcrypt"}
    assert not others & {path.stem for path in (ROOT / "solutions").glob("*.py")}


def test_no_module_of_solutions_imports_the_workbook() -> None:
    for path in (ROOT / "solutions").glob("*.py"):
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
