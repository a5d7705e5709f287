"""What the texts show is true: links, commands, screens, and every line of Python."""

import importlib
import json
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.screen import start_of
from tests import judge, matrix
from tests.golden import without_what_is_drawn
from tests.judge import ENVIRONMENT, run_pytest
from tests.processes import serve, tables_for

TEXTS = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "notebooks" / "README.md",
    *sorted((ROOT / "lessons").rglob("*.md")),
]
SOURCES = [
    path.read_text("utf-8")
    for folder in ("solutions", "tests/alternatives", "tests/yours", "lessons")
    for path in (ROOT / folder).rglob("*.py")
]
MAX_WORDS = 1400  # of a lesson's text, with its code and its picture
ALL = pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
LESSONS = pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language in a text."""
    from sybil import Document

    lexer = FencedCodeBlockLexer(language=language)
    document = Document(path.read_text("utf-8"), str(path))
    return [lexed.lexemes["source"] for lexed in lexer(document)]


def test_the_texts_are_found() -> None:
    names = ["ASVS.md", "CONTRIBUTING.md", "GLOSSARY.md", "README.md", "SECURITY.md"]
    assert [path.name for path in TEXTS[: len(names)]] == names
    assert len(TEXTS) == len(names) + 2 + 2 * len(find_lessons())  # notebooks, your_app


@ALL
def test_links_and_files_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target
    for target in re.findall(r"`((?:lessons|notebooks|solutions|tests)/[\w./]+)`", text):
        if "slug" not in target:  # the pattern for a new lesson
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("path", [path for path in TEXTS if path.name != "HINTS.md"], ids=str)
def test_every_line_of_python_is_cut_from_a_tested_file(path: Path) -> None:
    for block in blocks(path, "python"):
        cut = textwrap.dedent(block).strip("\n")
        shapes = [textwrap.indent(cut, " " * indent) for indent in (0, 4, 8)]
        assert any(shape in source for source in SOURCES for shape in shapes), cut


@ALL
def test_the_texts_are_ascii(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        assert line.isascii(), line


@LESSONS
def test_a_readme_has_every_part(lesson: Lesson) -> None:
    text = lesson.readme.read_text("utf-8")
    for part in ("Try it", "Take it with you", "In production", "What the tutorials get wrong"):
        assert f"\n## {part}\n" in text, part
    assert f"\npytest lessons/{lesson.number}\n" in text
    assert f"\npytest lessons/{lesson.number} --naive\n" in text
    assert re.search(r"^\*\*Time:\*\* \d+ minutes", text, re.M)
    assert re.search(r"^> \*\*Done:\*\* ", text, re.M)
    assert text.count("[HINTS.md](HINTS.md)") == 1
    assert "<details>" not in text  # in `cat` and `less` it would be open


def test_the_readme_lists_every_lesson_with_its_minutes() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for lesson in find_lessons():
        row = re.search(rf"^\| \[{lesson.number} .*\| (\d+) \|$", text, re.M)
        assert row, lesson
        assert f"**Time:** {row[1]} minutes" in lesson.readme.read_text("utf-8")
    minutes = sum(map(int, re.findall(r"^\| \[\d\d .*\| (\d+) \|$", text, re.M)))
    assert "The thirteen lessons take nine to ten hours in all." in text
    assert 9 * 60 <= minutes <= 10 * 60
    assert len(find_lessons()) == 13


def test_the_screens_in_the_readme_are_real() -> None:
    screens = blocks(ROOT / "README.md", "text")
    typed = (["lessons/01"], ["lessons/03", "--naive"])
    for screen, arguments in zip(screens, typed, strict=True):
        printed = run_pytest(*arguments).stdout
        assert without_what_is_drawn(screen.strip("\n")) in without_what_is_drawn(printed)
    assert "one attack of eleven:" in (ROOT / "README.md").read_text("utf-8")
    assert " 11 open" in printed


@ALL
def test_pytest_commands_are_understood(path: Path) -> None:
    """Each `pytest ...` in the text is collected without an error."""
    commands = set(
        re.findall(r"(?:^|`)(pytest(?: [^`|\n&]*)?)(?:`|$)", path.read_text("utf-8"), re.M)
    )
    for command in commands - {"pytest"}:
        words = shlex.split(command)[1:]
        if any(re.search("PATH|anna|--watch|--reset", word) for word in words):
            continue
        done = run_pytest(*words, "--collect-only", "-q")
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _curl(line: str) -> tuple[str, str, dict[str, object]]:
    """Read the few options of curl that the texts use, as it does: a body makes it a POST."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "-i"], line
    url = re.sub(r"^http://127\.0\.0\.1:800[01]", "", words[2])
    data: list[str] = []
    headers = {}
    for option, value in zip(words[3::2], words[4::2], strict=True):
        if option == "-d":
            data.append(value)
        elif option == "-H":
            name, _, content = value.partition(": ")
            headers[name] = content
        else:
            raise AssertionError(option)
    if not data:
        return "GET", url, {"headers": headers}
    if headers.get("content-type") == "application/json":
        return "POST", url, {"json": json.loads("&".join(data)), "headers": headers}
    return "POST", url, {"data": dict(pair.split("=", 1) for pair in data), "headers": headers}


TRIED = {
    "hashing": [201, 409, 422],
    "tokens": [401],
    "login": [200, 401, 401, 401],
    "oauth2": [401, 401, 401],
    "refresh": [200, 400, 200, 400],
    "rbac": [401, 401, 200, 400],
    "api_keys": [401, 403, 401],
    "sessions": [401, 303, 200, 403],
    "social": [404, 302, 400],
    "hardening": [400, 404, 401],
    "key_rotation": [200, 200, 401],
    "database": [201, 200, 409],
    "tenants": [401, 404, 200],
}


def _with_curl(text: str, base_url: str, folder: Path) -> list[int]:
    """Run the block with curl's lines in a shell, at another address; return the statuses."""
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("There is no curl to type the lines of the lesson with.")
    block = next(each for each in re.findall(r"```console\n(.*?)```", text, re.S) if "curl" in each)
    block = block.replace("http://localhost:8000/", f"{base_url.rstrip('/')}/")
    command = ["bash", "-c", block]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [int(status) for status in re.findall(r"HTTP/1\.1 (\d{3})", done.stdout)]


@LESSONS
def test_try_it(lesson: Lesson, tmp_path: Path) -> None:
    """The curl lines of "Try it", against the finished lesson under uvicorn."""
    text = lesson.readme.read_text("utf-8")
    lines = re.findall(r"^curl .*$", text, re.M)
    assert f"uvicorn lessons.{lesson.folder.name}.{lesson.slug}:app --reload" in text
    with ExitStack() as stack:
        env = {"BCRYPT_ROUNDS": "4"}
        if lesson.slug == "social":
            demo = stack.enter_context(serve("lessons.harness.provider:app", tmp_path / "demo"))
            env |= re.findall(r"(OIDC_CLIENT_\w+)=(\S+)", text)
            env["OIDC_ISSUER"] = str(demo.base_url).rstrip("/")
        app = f"solutions.{lesson.slug}:app"
        env |= tables_for(lesson, tmp_path)
        client = stack.enter_context(serve(app, tmp_path / "log", **env))
        if lesson.slug == "database":
            other = stack.enter_context(serve(app, tmp_path / "other", **env))
            pairs = [(other if ":8001" in line else client, _curl(line)) for line in lines]
            answers = [each.request(method, url, **send) for each, (method, url, send) in pairs]
            assert [answer.status_code for answer in answers] == TRIED[lesson.slug]
            return
        if lesson.slug == "sessions":  # curl has rules of its own for the cookies of localhost
            assert _with_curl(text, str(client.base_url), tmp_path) == TRIED[lesson.slug]
            return
        answers = [client.request(method, url, **send) for method, url, send in map(_curl, lines)]
    assert [answer.status_code for answer in answers] == TRIED[lesson.slug]
    if lesson.slug == "login":
        assert len({answer.text for answer in answers[1:]}) == 1


@LESSONS
def test_who_reads_addresses_is_started_without_uvicorn_s_reading(lesson: Lesson) -> None:
    """uvicorn believes whoever is on this machine: a forged X-Forwarded-For would be the peer."""
    from solutions.support.audit import Audited

    app = importlib.import_module(f"solutions.{lesson.slug}").app
    needs_it = any(each.cls is Audited for each in app.user_middleware)
    text = lesson.readme.read_text("utf-8")
    lines = re.findall(rf"^uvicorn \S+\.{lesson.slug}:app.*$", text, re.M)
    assert len(lines) >= 2  # to try it, and to take it with you
    assert {"--no-proxy-headers" in line for line in lines} == {needs_it}, lines
    assert start_of(lesson) == lines[0]
    root = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(rf"`(uvicorn solutions\.{lesson.slug}:app[^`]*)`", root)
    assert all(("--no-proxy-headers" in line) == needs_it for line in named), named


def test_a_token_made_as_the_text_says_is_good(tmp_path: Path) -> None:
    readme = ROOT / "lessons" / "02_tokens" / "README.md"
    code = re.findall(r'^python -c "(from solutions.tokens .*)"$', readme.read_text("utf-8"), re.M)
    secret = secrets.token_urlsafe(32)
    token = subprocess.run(
        [sys.executable, "-c", code[0]],
        cwd=ROOT,
        env=ENVIRONMENT | {"JWT_SECRET": secret},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with serve("solutions.tokens:app", tmp_path / "log", JWT_SECRET=secret) as client:
        assert client.post("/inspect", json={"token": token}).json()["sub"] == "johndoe"


def test_each_install_command_is_one_line() -> None:
    commands = [block.strip() for block in blocks(ROOT / "README.md", "console")]
    pip = [command for command in commands if command.startswith("python3 -m venv")]
    uv = [command for command in commands if command.startswith("uv venv")]
    assert len(pip) == len(uv) == 2
    assert not [command for command in pip + uv if "\n" in command]


def test_the_matrix_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With three mistakes; `tests/test_candidates.py` judges them all."""

    def some(lesson: Lesson) -> list[judge.Mistake]:
        return [each for each in judge.find_mistakes(lesson) if each.in_lesson][:3]

    mistakes = some(find_lessons()[0])
    for module in (judge, matrix):
        monkeypatch.setattr(module, "find_mistakes", lambda lesson: iter(mistakes))
    assert matrix.main(["01"]) == 0
    printed = capsys.readouterr().out
    assert "kills nothing:" in printed
    assert "!!" not in printed


def test_the_scores_in_the_texts_are_true(capsys: pytest.CaptureFixture[str]) -> None:
    """`tests/test_candidates.py` shows that every one of them is judged so."""
    readme = (ROOT / "README.md").read_text("utf-8")
    for lesson in find_lessons():
        score = matrix.aim(lesson)
        assert score.row in readme.splitlines()
        assert score.sentence in lesson.readme.read_text("utf-8").splitlines()


def test_the_scores_are_made_by_judging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one mistake that is killed, and one right solution called a mistake."""
    lesson = find_lessons()[0]
    mistake = next(each for each in judge.find_mistakes(lesson) if each.in_lesson)
    right = replace(mistake, name="none", row="H0", changes=())
    for module in (judge, matrix):
        monkeypatch.setattr(module, "find_mistakes", lambda lesson: iter([mistake, right]))
        monkeypatch.setattr(module, "find_alternatives", lambda lesson: [lesson.reference])
    assert matrix.scores(["01"]) == 1
    assert capsys.readouterr().out == "| 01 hashing | 1 | 1 | 1 |\n"


@LESSONS
def test_a_lesson_s_text_is_short(lesson: Lesson, capsys: pytest.CaptureFixture[str]) -> None:
    words = len(lesson.readme.read_text("utf-8").split())
    with capsys.disabled():
        print(f" {lesson.number}: {words} words ", end="")
    assert words <= MAX_WORDS


def test_every_requirement_is_pinned() -> None:
    from importlib.metadata import distribution

    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = {}
    for line in lines:
        pin = line.partition("#")[0].strip()
        if pin:
            name, _, version = pin.partition("==")
            pins[re.sub(r"[-_.]+", "-", name).lower()] = version
            assert version, line
            assert "://" not in line, line
    for requirement in distribution("fastapi-auth-workbook").requires or []:
        name = re.match(r"[\w.-]+", requirement)
        assert name and re.sub(r"[-_.]+", "-", name[0]).lower() in pins, requirement
