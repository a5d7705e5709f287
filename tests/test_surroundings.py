"""Other packages, plug-ins and editors around the workbook's pytest, and a tree without a cache."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.harness.catalogue import LESSONS, ROOT
from tests.golden import copy_workbook, edit
from tests.judge import ENVIRONMENT, run_pytest

ONE = "lessons/03_login/test_login.py::test_the_answer_is_not_cached"
PARAMETERS = "lessons/01_hashing/test_hashing.py::test_another_password_does_not[0]"
# As in an environment without the extras: it is loaded before conftest.py.
STUB = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "sybil" else find(name, *more)
"""


@pytest.fixture
def beside(tmp_path: Path) -> dict[str, str]:
    """An environment whose Python path begins with a folder of this test's."""
    (tmp_path / "beside").mkdir()
    return {"PYTHONPATH": str(tmp_path / "beside")}


def lessons_and_tests(printed: str) -> tuple[bool, bool]:
    """Return whether tests of the lessons and of the workbook are listed."""
    lessons, tests = (re.search(rf"^{name}/\S+::", printed, re.M) for name in ("lessons", "tests"))
    return lessons is not None, tests is not None


# --- other packages -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["package", "module"])
@pytest.mark.parametrize("typed", [("lessons/03",), ("tests/test_roles.py",)])
def test_another_package_of_our_name_does_not_win(
    kind: str, typed: tuple[str, ...], tmp_path: Path, beside: dict[str, str]
) -> None:
    for name in ("lessons", "solutions", "tests"):
        file = tmp_path / "beside" / (f"{name}.py" if kind == "module" else f"{name}/__init__.py")
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise RuntimeError('theirs')\n")
    done = run_pytest(*typed, "--solutions", env=beside)
    assert done.returncode == 0, done.stdout + done.stderr


# --- warnings -------------------------------------------------------------------------------


def test_a_tree_without_a_cache_is_green(tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    (tmp_path / ".pytest_cache").write_text("in the way, also for who may write everywhere")
    command = [sys.executable, "-m", "pytest", "lessons/03", "--solutions"]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize(("whose", "code"), [("solutions", 1), ("fastapi", 0)])
def test_our_own_warnings_are_errors(whose: str, code: int, tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    warn = (
        f"import warnings\nwarnings.warn_explicit('old', DeprecationWarning, 'x', 1, '{whose}.x')\n"
    )
    login = Path("solutions", "login.py")
    edit(login, ("import secrets\n", f"import secrets\n{warn}"))(tmp_path)
    done = run_pytest("lessons/03", "--solutions", folder=tmp_path)
    assert done.returncode == code, done.stdout


# --- editors --------------------------------------------------------------------------------


def test_an_editor_finds_the_lessons_in_the_root(tmp_path: Path, beside: dict[str, str]) -> None:
    plugin = tmp_path / "beside" / "vscode_pytest.py"
    asked = ("-q", "-p", "vscode_pytest", "--collect-only", f"--rootdir={ROOT}")
    plugin.write_text("")
    for place in (".", str(ROOT)):
        assert lessons_and_tests(run_pytest(*asked, place, env=beside).stdout) == (True, True)
    plugin.write_text(STUB)
    for place in (".", str(ROOT), "lessons"):
        done = run_pytest(*asked, place, env=beside)
        assert lessons_and_tests(done.stdout) == (True, False), done.stdout + done.stderr
        assert done.returncode == 0
    assert "pip install" in run_pytest(*asked, env=beside).stderr


@pytest.mark.parametrize("folder", [ROOT, LESSONS, LESSONS / "03_login", ROOT.parent])
@pytest.mark.parametrize("node", [ONE, PARAMETERS])
def test_an_editor_runs_one_test_from_anywhere(node: str, folder: Path) -> None:
    quiet = ("--no-header", "--no-summary", "-q")
    done = run_pytest(str(ROOT / node), *quiet, "--solutions", folder=folder)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


# --- plug-ins that are not loaded -----------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "plugin"),
    [
        (("-n", "2"), "xdist -n"),
        (("-n2",), "xdist -n"),
        (("--dist=load",), "xdist -n"),
        (("--cov",), "pytest_cov --cov"),
        (("--cov=solutions", "--cov-report=term"), "pytest_cov --cov"),
    ],
)
def test_options_of_plug_ins_are_explained(typed: tuple[str, ...], plugin: str) -> None:
    done = run_pytest("lessons/03", *typed)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"pytest -p {plugin} ..." in done.stderr
    assert "unrecognized" not in done.stderr


def test_a_lesson_runs_in_one_process() -> None:
    done = run_pytest("-p", "xdist", "-n", "2", "lessons/03")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "A lesson runs in one process" in done.stderr
    done = run_pytest("-p", "xdist", "-n", "0", ONE, "--solutions")
    assert done.returncode == 0, done.stdout + done.stderr
