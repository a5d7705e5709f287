"""Bare `pytest` is for every day, and asks less. A file by name, and .ci/run, ask for all."""

import os

IS_EVERYDAY = "PYTEST_XDIST_WORKER" in os.environ and os.environ.get("WORKBOOK_TESTS") != "all"
