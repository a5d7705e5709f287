"""The apps that `python -m tests.load` compares ours with still answer."""

import importlib

import pytest
from fastapi.testclient import TestClient

from tests.load import DOCUMENTATION, INLINE, LOGIN, OURS


@pytest.mark.parametrize("app", [OURS, INLINE, DOCUMENTATION])
def test_it_logs_in_and_says_who_it_is(development: pytest.MonkeyPatch, app: str) -> None:
    module, _, name = app.partition(":")
    # Started: another test may have started it, on stores that are closed by now.
    with TestClient(getattr(importlib.import_module(module), name)) as client:
        answer = client.post("/token", data=LOGIN)
        assert answer.status_code == 200
        assert client.get("/users/me").status_code == 401
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert client.get("/users/me", headers=headers).json() == {
            "username": "johndoe",
            "full_name": "John Doe",
            "email": "johndoe@example.com",
            "disabled": False,
        }
        wrong = client.post("/token", data=LOGIN | {"password": "wrong"})
        assert wrong.status_code in (400, 401)
        assert "access_token" not in wrong.json()
