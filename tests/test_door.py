"""What a stranger meets first: the glossary, how to contribute, and the templates."""

import contextlib
import io
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessons.harness.catalogue import ROOT, expand, find_lessons
from tests import matrix
from tests.judge import find_mistakes
from tests.test_texts import ALL, TEXTS, blocks

TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(TEMPLATES.iterdir())


def anchors(path: Path) -> set[str]:
    """Return the anchors that a page has for its headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@ALL
def test_links_lead_to_a_heading(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", path.read_text("utf-8")):
        if not target.startswith("http"):
            assert anchor in anchors(path.parent / target if target else path), f"{target}#{anchor}"


def test_an_anchor_is_made_as_github_makes_it() -> None:
    assert {"401-and-403", "jwt", "access-token"} <= anchors(ROOT / "GLOSSARY.md")
    assert "todo-1-have-a-hash-for-nobody" in anchors(ROOT / "lessons" / "03_login" / "README.md")


# --- the glossary ---------------------------------------------------------------------------


def entries() -> Iterator[tuple[str, str]]:
    text = (ROOT / "GLOSSARY.md").read_text("utf-8")
    yield from re.findall(r"^## (.+)\n\n((?:.+\n)+)", text, re.M)


def test_the_glossary_is_short_and_in_order() -> None:
    words = [word for word, _ in entries()]
    assert words == sorted(words, key=str.lower)
    for word, text in entries():
        sentences = re.findall(r"[.!?]\"?(?=\s|$)", text)
        assert len(sentences) in (1, 2), word
    text = (ROOT / "GLOSSARY.md").read_text("utf-8")
    assert len(words) == text.count("\n## ")


def test_each_word_of_the_glossary_is_used() -> None:
    read = [path for path in TEXTS if path.name == "README.md" or "lessons" in path.parts]
    text = " ".join(" ".join(path.read_text("utf-8").split()) for path in read).lower()
    for word, _ in entries():
        for each in word.lower().split(" and "):
            named = each.replace(" ", "[ _-]")  # `get_dummy_hash`
            assert re.search(rf"(?<![a-z]){named}", text), word


# --- how to contribute ----------------------------------------------------------------------


def test_the_mistake_that_is_shown_is_one() -> None:
    (shown,) = blocks(ROOT / "CONTRIBUTING.md", "toml")
    (entry,) = tomllib.loads(shown)["mistake"]
    kept = (ROOT / "tests" / "mistakes" / "03_login.toml").read_text("utf-8")
    (same,) = [each for each in tomllib.loads(kept)["mistake"] if each["name"] == entry["name"]]
    assert entry["row"] == "own"  # a contributor has no list of attacks
    assert same["change"] == entry["change"]
    assert same["killed_by"] == entry["killed_by"]


def test_the_commands_that_judge_one_find_it() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    commands = re.findall(r'`python -m tests\.matrix 03 --only "?([\w ]+)"?`', text)
    assert len(commands) == 2
    for name in commands:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert matrix.only(["03"], name) == 0
        assert len(re.findall(r"^   03 ", printed.getvalue(), re.M)) == 1


def test_what_is_breakable_is_named() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    for path in re.findall(r"`([\w/.*]+/[\w/.*]*)`", text):
        assert list(ROOT.glob(path)), path
    assert all(any(find_mistakes(lesson)) for lesson in find_lessons())


# --- templates ------------------------------------------------------------------------------


def check_schema(name: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Hold files against a schema that check-jsonschema brings along."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{name}", *files],
        capture_output=True,
        text=True,
        check=False,
    )


def test_issue_templates_are_forms() -> None:
    assert len(FORMS) > 2
    done = check_schema("github-issue-forms", *FORMS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("old", "new"), [("type: input", "type: inptu"), ("name:", "nam:")])
def test_a_broken_form_is_seen(old: str, new: str, tmp_path: Path) -> None:
    broken = tmp_path / "text.yml"
    broken.write_text((TEMPLATES / "text.yml").read_text("utf-8").replace(old, new, 1))
    assert check_schema("github-issue-forms", broken).returncode == 1


def test_a_form_asks_for_every_lesson() -> None:
    text = (TEMPLATES / "wrong_solution.yml").read_text("utf-8")
    assert re.findall(r'"(\d\d) (\w+)"', text) == [
        (each.number, each.slug) for each in find_lessons()
    ]


def test_templates_point_at_what_is_there() -> None:
    for path in [*FORMS, ROOT / ".github" / "pull_request_template.md"]:
        for name in re.findall(
            r"`?((?:lessons|solutions|tests)/[\w/.]*|CONTRIBUTING\.md)", path.read_text("utf-8")
        ):
            assert (ROOT / expand(name, ROOT)).exists(), name
