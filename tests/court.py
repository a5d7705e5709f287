"""Judges many candidates by one run of pytest, which finds a lesson's tests once.

A plug-in: `-p tests.court --court=SOCKET`. What tests there are goes to the socket first. From it
come lines of JSON: a candidate's path, the tests that it has to meet, or none for all, after how
many failed ones it is enough, or 0, and for how many seconds it is waited. The run forks for each,
before anything of a candidate was looked at. What the reports of a fork say goes back, and at last
how it ended.
"""

import json
import os
import re
import select
import signal
import socket
import sys
from collections.abc import Generator
from typing import Any

import pytest

from lessons.harness.ahead import import_steps_below
from lessons.harness.catalogue import lesson_of

PATIENCE = 120  # seconds for a candidate


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--court", help="the socket from which candidates come")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Court(config.option.court))


class Court:
    """The plug-in, in the run and in its forks."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._errors: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._errors.append(report.longreprtext)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Function]
    ) -> None:
        """Return in each fork, with its candidate and its tests, and never in the run itself."""
        import_steps_below({lesson for item in items if (lesson := lesson_of(item.path))})
        names = dict.fromkeys(each.originalname for each in items)
        self._tell({"tests": [*names], "errors": self._errors})
        for line in self._socket.makefile("rb"):
            candidate, names, enough, patience = json.loads(line)
            ended, ending = os.pipe()  # closed by the fork's end, whatever ends it
            process = os.fork()
            if process == 0:
                config.option.candidate = candidate
                config.option.maxfail = enough
                items[:] = [each for each in items if not names or each.originalname in names]
                _draw_settings_anew()
                return
            os.close(ending)
            if not select.select([ended], [], [], patience)[0]:
                os.kill(process, signal.SIGKILL)
            os.close(ended)
            _, status = os.waitpid(process, 0)
            self._tell({"code": os.waitstatus_to_exitcode(status)})
        os._exit(0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.excinfo:
            lines = [each.lineno + 1 for each in call.excinfo.traceback if each.path == item.path]
            item.user_properties.append(("line", [0, *lines][-1]))
        return report

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell({"begun": _short(nodeid)})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._tell({"test": _short(report.nodeid), "properties": report.user_properties})

    def _tell(self, words: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(words, default=str).encode() + b"\n")


def _short(nodeid: str) -> str:
    """Return a test's name with its parameters, in which anything may stand."""
    return re.sub(r"^(?:\w+::)*", "", nodeid.partition(".py::")[2])


def _draw_settings_anew() -> None:
    conftest: Any = sys.modules["lessons.conftest"]
    conftest.TEST_SETTINGS.update(conftest.draw_settings())
