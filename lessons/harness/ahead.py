"""What a run of `--watch` can have ready before the file is saved for which it waits."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessons.harness.catalogue import LESSONS, UnknownLesson, expand, lesson_of

# The helpers of the tests, and what the lessons are given. The steps are the learner's.
HELPERS = re.compile(
    r"^from (lessons\.harness\.\w+|solutions\.(?:stores|support)\.\w+) import", re.M
)

OWN = ("lessons", "solutions", "conftest")


def import_helpers(config: pytest.Config) -> None:
    """Import what the tests of this run import first, but for the learner's own files."""
    here = config.invocation_params.dir
    files = {LESSONS / "conftest.py"}
    for argument in config.args:
        with suppress(UnknownLesson):  # the run says so
            if lesson := lesson_of((here / expand(argument, here)).resolve()):
                files |= {lesson.tests, lesson.kept_starter}
    for file in files:
        with suppress(Exception):  # here too: in the run there is a screen for it
            for name in HELPERS.findall(file.read_text("utf-8")):
                importlib.import_module(name)


def files_read(config: pytest.Config) -> Iterator[Path]:
    """Return the workbook's files that this process has read already."""
    root = config.rootpath
    yield from (*root.glob("*.toml"), *root.glob("*.env"))
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OWN and (file := getattr(module, "__file__", None)):
            yield Path(file)
