"""Opened with one click, and on every system: the container, the editor, the workflow.

None of the three can run here. So each is held against its own linter or schema, and what it types
against the README.
"""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

from lessons.harness.catalogue import ROOT
from tests.test_door import check_schema

WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"
CONTAINER = ROOT / ".devcontainer" / "devcontainer.json"
README = (ROOT / "README.md").read_text("utf-8")

# Of containers.dev's schema (2019-09) the parts that are used here, and no others.
TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string"},
        "postCreateCommand": {"type": ["string", "array", "object"]},
        "remoteEnv": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        "forwardPorts": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 65535},
        },
        "portsAttributes": {
            "type": "object",
            "patternProperties": {
                r"^\d+$": {
                    "type": "object",
                    "properties": {
                        "label": {"type": "string"},
                        "onAutoForward": {
                            "enum": ["notify", "openBrowser", "openPreview", "silent", "ignore"]
                        },
                    },
                    "additionalProperties": False,
                }
            },
            "additionalProperties": False,
        },
        "customizations": {
            "type": "object",
            "properties": {
                "vscode": {
                    "type": "object",
                    "properties": {"extensions": TEXTS, "settings": {"type": "object"}},
                    "additionalProperties": False,
                },
                "codespaces": {"type": "object", "properties": {"openFiles": TEXTS}},
            },
            "additionalProperties": False,
        },
    },
}
# What each stand-in for pytest prints and returns, and whether the workflow goes on.
ENDINGS = {
    "red, as it should be": ("Lesson 01 hashing   0 of 15", 1, True),
    "green": ("Lesson 01 hashing   15 of 15", 0, False),
    "it crashed": ("ImportError", 2, False),
}


def first_command(ends_in: str = "pytest lessons/01") -> str:
    """Return the command that the README begins with."""
    found = re.search(rf"^python3 -m venv .* && {ends_in}$", README, re.M)
    assert found
    return found[0]


# --- the container --------------------------------------------------------------------------


@pytest.fixture
def container() -> dict[str, Any]:
    return dict(json.loads(CONTAINER.read_text("utf-8")))


def test_the_container_fits_the_schema(container: dict[str, Any]) -> None:
    Draft201909Validator.check_schema(SCHEMA)
    Draft201909Validator(SCHEMA).validate(container)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("forwardPorts", ["8000"]),
        ("portsAttributes", {"8000": {"onAutoForward": "open"}}),
        ("postCreateComand", "true"),
        ("remoteEnv", {"PATH": 1}),
    ],
)
def test_a_broken_container_is_seen(key: str, value: object, container: dict[str, Any]) -> None:
    broken = copy.deepcopy(container) | {key: value}
    assert not Draft201909Validator(SCHEMA).is_valid(broken)


def test_the_container_is_made_as_the_readme_says(container: dict[str, Any]) -> None:
    assert f"{container['postCreateCommand']} && pytest lessons/01" == first_command()
    # Terminals and the test view use what was installed, also if they were there before it.
    programs = "${containerWorkspaceFolder}/.venv/bin"
    assert container["remoteEnv"]["PATH"].split(":")[0] == programs
    settings = container["customizations"]["vscode"]["settings"]
    assert settings == {"python.defaultInterpreterPath": f"{programs}/python"}
    image = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:3\.(\d+)", container["image"])
    assert image and f'"3.{image[1]}"' in WORKFLOW.read_text("utf-8")
    for port in container["forwardPorts"]:
        assert f"<http://127.0.0.1:{port}/docs>" in README
        assert str(port) in container["portsAttributes"]
    for file in container["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / file).is_file()


# --- the editor -----------------------------------------------------------------------------


def test_the_editor_s_test_view_asks_pytest_for_the_lessons() -> None:
    """What an editor's plug-in then finds is in `tests/test_surroundings.py`."""
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text("utf-8"))
    assert settings["python.testing.pytestEnabled"] is True
    assert settings["python.testing.unittestEnabled"] is False
    (folder,) = settings["python.testing.pytestArgs"]
    assert (ROOT / folder).is_dir()


def test_editor_and_container_recommend_the_same(container: dict[str, Any]) -> None:
    wanted = json.loads((ROOT / ".vscode" / "extensions.json").read_text("utf-8"))
    assert wanted["recommendations"] == container["customizations"]["vscode"]["extensions"]
    for name in wanted["recommendations"]:
        assert re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", name)


# --- the workflow ---------------------------------------------------------------------------


def lint(workflow: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("actionlint")), "-no-color", str(workflow)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_workflow_is_clean() -> None:
    assert list(WORKFLOW.parent.iterdir()) == [WORKFLOW]
    done = lint(WORKFLOW)
    assert done.returncode == 0, done.stdout
    done = check_schema("github-workflows", WORKFLOW)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("matrix.python }}", "matrix.pyton }}", '"pyton" is not defined'),
        ("python-version:", "python_version:", '"python_version" is not defined'),
        ("ubuntu-latest", "ubuntu-latst", '"ubuntu-latst" is unknown'),
        ("if: runner.os", "if: runer.os", 'undefined variable "runer"'),
    ],
)
def test_a_broken_workflow_is_seen(old: str, new: str, says: str, tmp_path: Path) -> None:
    broken = tmp_path / "tests.yml"
    broken.write_text(WORKFLOW.read_text("utf-8").replace(old, new))
    done = lint(broken)
    assert done.returncode == 1
    assert says in done.stdout


def jobs() -> dict[str, Any]:
    return dict(yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"])


def test_the_workflow_runs_on_every_system_and_python() -> None:
    matrix = jobs()["learner"]["strategy"]["matrix"]
    assert matrix["system"] == ["ubuntu", "macos", "windows"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    steps = jobs()["everything"]["steps"]
    assert steps[-1] == {"run": "bash .ci/run"}
    for job in jobs().values():
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/it@v1"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_workflow_wants_the_first_command_to_end_red(ending: str, tmp_path: Path) -> None:
    """With stand-ins for what it installs and runs."""
    printed, code, goes_on = ENDINGS[ending]
    (step,) = [
        step["run"]
        for step in jobs()["learner"]["steps"]
        if "eval" in step.get("run", "") and step["if"] == "runner.os != 'Windows'"
    ]
    tools = {
        "python3": 'mkdir -p "$3/bin" && touch "$3/bin/activate"',
        "pip": "true",
        "pytest": f"echo '{printed}'; exit {code}",
    }
    (tmp_path / "bin").mkdir()
    for name, body in tools.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "README.md").write_text(README)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", step],
        cwd=tmp_path,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is goes_on, done.stdout + done.stderr


def test_the_workflow_s_command_for_powershell_is_the_readme_s() -> None:
    (step,) = [
        step["run"] for step in jobs()["learner"]["steps"] if "Expression" in step.get("run", "")
    ]
    pattern = re.search(r"-Pattern '(\^py .*?)'", step)
    assert pattern
    (command,) = re.findall(pattern[1], README, re.M)
    assert "&&" not in command  # Windows PowerShell 5 does not know it
    unix = first_command().split(" && ")
    unix[0] = unix[0].replace("python3", "py")
    unix[1] = ".venv\\Scripts\\Activate.ps1"
    assert command.split("; ") == unix
