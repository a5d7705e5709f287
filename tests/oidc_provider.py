"""Starts npm's `oidc-provider`, a certified OpenID provider, on loopback: a judge from outside.

It is installed in a folder of its own, which the variable WORKBOOK_OIDC_PROVIDER names:
`npm install --prefix FOLDER oidc-provider@9.13.3`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.judge import ENVIRONMENT
from tests.processes import PATIENCE, free_port

VARIABLE, VERSION = "WORKBOOK_OIDC_PROVIDER", "9.13.3"
MISSING = (
    f"There is no oidc-provider to log in with: npm install --prefix FOLDER oidc-provider@{VERSION}"
    f", then {VARIABLE}=FOLDER."
)
CLIENT = {"OIDC_CLIENT_ID": "workbook", "OIDC_CLIENT_SECRET": "known-to-the-test"}
SCRIPT = Path(__file__).with_name("oidc_provider.mjs")


@contextmanager
def oidc_provider(redirect_uri: str, log: Path) -> Iterator[str]:
    """Yield the issuer of a running provider; skip the test where there is none to run."""
    folder, node = os.environ.get(VARIABLE, ""), shutil.which("node")
    if not (node and (Path(folder) / "node_modules" / "oidc-provider").is_dir() and folder):
        if folder:  # somebody counts on it
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    port = str(free_port())
    with log.open("wb") as errors:
        command = [node, str(SCRIPT), folder, port, redirect_uri]
        server = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert server.stdout and server.stdout.readline() == "ready\n", log.read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(PATIENCE)
