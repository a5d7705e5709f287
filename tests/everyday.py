"""Bare `pytest` is for every day, and asks less. A file by name, and .ci/run, ask for all."""

import os

import pytest

IS_EVERYDAY = "PYTEST_XDIST_WORKER" in os.environ and os.environ.get("WORKBOOK_TESTS") != "all"
IS_REQUIRED = os.environ.get("WORKBOOK_SERVERS") == "required"
NOT_TODAY = (
    "Bare pytest starts no PostgreSQL, Redis or nginx: WORKBOOK_SERVERS=required pytest does,"
    " and pytest with the name of a file."
)


def start_servers(program: object, missing: str) -> None:
    """Skip a test that starts a server, every day or where there is none; or fail, if required."""
    if not program and IS_REQUIRED:
        pytest.fail(missing)
    if not program:
        pytest.skip(missing)
    if IS_EVERYDAY and not IS_REQUIRED:
        pytest.skip(NOT_TODAY)
