"""The lowest versions that `pyproject.toml` allows are enough for every lesson."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from lessons.harness.catalogue import ROOT
from tests.judge import ENVIRONMENT

COPIED = (
    "lessons",
    "solutions",
    "conftest.py",
    "pyproject.toml",
    "dev.env",
    "README.md",
    "LICENSE",
)
PATIENCE = 300  # seconds


def run(*command: str, folder: Path, **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT | env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_lessons_run_on_the_lowest_versions(tmp_path: Path) -> None:
    copy, venv = tmp_path / "workbook", tmp_path / "venv"
    copy.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--python", sys.executable, str(venv), folder=copy)
    python = str(next((venv / ("Scripts" if os.name == "nt" else "bin")).glob("python*")))
    install = ("pip", "install", "--compile-bytecode", "--resolution", "lowest-direct", "-e", ".")
    run(*uv, *install, "--python", python, folder=copy)
    floors = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    installed = run(
        python, "-c", "from importlib.metadata import version as v; print(v('pyjwt'))", folder=copy
    )
    assert f"pyjwt>={installed.strip().removesuffix('.0')}" in floors
    out = run(python, "-m", "pytest", "lessons", "--solutions", "-q", folder=copy)
    assert "failed" not in out
    assert " passed" in out
