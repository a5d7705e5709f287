"""Eight small apps are attacked as their owners would do it. `expected.txt` says what is found."""

import json
import subprocess
import tomllib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lessons.harness.your_app.description import read
from tests.judge import ROOT, run_pytest
from tests.your_app.table import FOLDER, NOT_TRIED, expected

REFERENCES = FOLDER / "references"
SOUND = FOLDER / "sound"
APPS = {
    "documented": "app:app",
    "address": "app:app",
    "dismissed": "app:app",
    "refreshed": "app:app",
    "cookies": "app:app",
    "by_email": "app:app",
    "sub_app": "app:create_app",
    "plain_starlette": "app:app",
}
ENOUGH = ("address", "cookies", "by_email")  # what a first run writes of these can be attacked
TO_FILL_IN = {  # and what it wants to know of the others
    "documented": "[[accounts]]",
    "dismissed": "[[accounts]]",
    "refreshed": "[[accounts]]",
    "sub_app": "[[accounts]]",
    "plain_starlette": "the login",
}
SOLUTIONS = ("main", "sessions", "hardening")


def run(app: str, *options: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Type the command of lessons/your_app/README.md."""
    command = ("lessons/your_app", f"--app={app}", f"--app-dir={folder}", *options)
    return run_pytest(*command, env={"NOTES_PASSWORD": "trombone-7-plum-tree"})


def attack(
    app: str, description: Path, report: Path, folder: Path = ROOT
) -> tuple[dict[str, dict[str, str]], subprocess.CompletedProcess[str]]:
    """Attack an app. Return what came of each attack, by name, and the run."""
    ran = run(app, f"--description={description}", f"--report={report}", folder=folder)
    assert report.exists(), ran.stdout + ran.stderr
    return {each["name"]: each for each in json.loads(report.read_text())["attacks"]}, ran


Found = tuple[dict[str, dict[str, str]], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, "Future[Found]"]:
    """All runs at once: most of each is a start."""
    reports = tmp_path_factory.mktemp("reports")
    with ThreadPoolExecutor(2) as pool:
        of_apps = {
            name: pool.submit(
                attack,
                APPS[name],
                FOLDER / name / "your_app.toml",
                reports / f"{name}.json",
                FOLDER / name,
            )
            for name in APPS
        }
        of_references = {
            name: pool.submit(
                attack,
                f"solutions.{'main' if name == 'sessions' else name}:app",
                REFERENCES / f"{name}.toml",
                reports / f"{name}.json",
            )
            for name in SOLUTIONS
        }
        sound = pool.submit(
            attack, "app:walled", SOUND / "your_app.toml", reports / "sound.json", SOUND
        )
    return {**of_apps, **of_references, "sound": sound}


def test_the_table_has_each_app() -> None:
    assert list(expected()) == list(APPS)


@pytest.mark.parametrize("name", APPS)
def test_what_is_open(name: str, attacked: dict[str, "Future[Found]"]) -> None:
    """Cell by cell; a wrong one is shown with the reason that the run gives."""
    found, ran = attacked[name].result()
    cells = expected()[name]
    assert found.keys() == cells.keys()
    wrong = {
        attack: f"{found[attack]['status']}, not {cell}: {found[attack]['why']}"
        for attack, cell in cells.items()
        if found[attack]["status"] != cell
    }
    assert not wrong
    assert ran.returncode == 1  # something that fails is open in each of the eight


@pytest.mark.parametrize("name", APPS)
def test_each_says_why(name: str, attacked: dict[str, "Future[Found]"]) -> None:
    found, ran = attacked[name].result()
    for each in found.values():
        assert bool(each["why"]) == (each["status"] != "refused")
        assert bool(each["transcript"]) == (each["status"] == "open")
    assert all(line.isascii() and len(line) <= 80 for line in ran.stdout.splitlines())
    assert "Traceback" not in ran.stdout + ran.stderr or name == "plain_starlette"


@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_references_refuse_all(name: str, attacked: dict[str, "Future[Found]"]) -> None:
    found, ran = attacked[name].result()
    hardened = ("missing-headers", "no-attempt-limit") if name == "sessions" else ()
    is_open = [each["name"] for each in found.values() if each["status"] == "open"]
    assert sorted(is_open) == sorted(hardened)  # what lesson 10 puts around
    assert ran.returncode == 0


def test_a_right_app_in_another_style_is_let_be(attacked: dict[str, "Future[Found]"]) -> None:
    found, ran = attacked["sound"].result()
    untried = {each["name"] for each in found.values() if each["status"] == NOT_TRIED}
    assert {each["status"] for each in found.values()} == {"refused", NOT_TRIED}
    assert untried == {
        *("forged-token", "published-secret", "twin-token", "public-key-as-secret"),
        *("requested-scope", "reset-tells-names"),
    }
    assert ran.returncode == 0


@pytest.mark.parametrize("name", ENOUGH)
def test_a_first_description_is_enough(name: str, tmp_path: Path) -> None:
    """No alarm is false with it, and the worst is found."""
    written = tmp_path / "your_app.toml"
    first = run(APPS[name], f"--description={written}", folder=FOLDER / name)
    assert first.returncode == 2
    assert "No attack yet" in first.stdout
    assert read(written).password == read(FOLDER / name / "your_app.toml").password
    found, ran = attack(APPS[name], written, tmp_path / "report.json", FOLDER / name)
    by_hand = expected()[name]
    meant = ("accepted", "open")  # no policy is written yet
    false = [
        each["name"]
        for each in found.values()
        if each["status"] == "open" and by_hand[each["name"]] not in meant
    ]
    assert not false
    assert ran.returncode == 1


@pytest.mark.parametrize("name", TO_FILL_IN)
def test_a_first_description_says_what_to_fill_in(name: str, tmp_path: Path) -> None:
    written = tmp_path / "your_app.toml"
    first = run(APPS[name], f"--description={written}", folder=FOLDER / name)
    assert first.returncode == 2
    assert TO_FILL_IN[name] in first.stdout
    assert "TO FILL IN" in written.read_text()
    tomllib.loads(written.read_text())
    again = run(APPS[name], f"--description={written}", folder=FOLDER / name)
    assert again.returncode == 2  # one sentence, and nothing was attacked
    assert len(again.stdout.splitlines()) <= 3


def test_the_descriptions_are_read() -> None:
    for path in sorted(FOLDER.glob("*/*.toml")):
        read(path)


@pytest.mark.parametrize("name", ["main", "hardening"])
def test_what_a_first_run_writes_of_the_references_cries_no_wolf(name: str, tmp_path: Path) -> None:
    written = tmp_path / "your_app.toml"
    assert run(f"solutions.{name}:app", f"--description={written}").returncode == 2
    found, ran = attack(f"solutions.{name}:app", written, tmp_path / "report.json")
    is_open = {each["level"] for each in found.values() if each["status"] == "open"}
    assert is_open <= {"hardening"}
    assert ran.returncode == 0
