"""The workbook's command line: `pytest lessons/03`, and whose code it grades."""

import gc
from pathlib import Path

import pytest

from lessons.harness.catalogue import UnknownLesson, expand

gc.disable()  # a run is over before collecting garbage pays; it cost a fifth of the time


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("workbook", "whose code the lessons grade (default: yours)")
    group.addoption("--solutions", action="store_true", help="grade the reference solutions")
    group.addoption("--naive", action="store_true", help="attack what most tutorials print")
    group.addoption(
        "--mine", action="store_true", help="grade your code on top of your own earlier lessons"
    )
    group.addoption("--candidate", metavar="PATH", help="grade another file: --candidate=PATH")


def pytest_configure(config: pytest.Config) -> None:
    here = config.invocation_params.dir
    try:
        config.args = [expand(argument, here) for argument in config.args]
    except UnknownLesson as error:
        raise pytest.UsageError(str(error)) from None
    chosen = [name for name in ("solutions", "naive", "mine", "candidate") if config.option.__dict__[name]]
    if len(chosen) > 1:
        raise pytest.UsageError(f"Choose one of {' and '.join('--' + name for name in chosen)}.")
    if config.option.candidate and not (here / Path(config.option.candidate)).is_file():
        raise pytest.UsageError(f"--candidate: there is no file {config.option.candidate}.")
