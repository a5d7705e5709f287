"""The tests of plain SQL's stores once more, on SQLAlchemy."""

import inspect

import pytest

from solutions.stores.alchemy.app import stores_on
from solutions.stores.alchemy.engine import open_alchemy
from tests import test_sql_stores

ALL = vars(test_sql_stores).items()
# Those on `new_rows` have SQLAlchemy among them already.
globals().update(
    (name, test)
    for name, test in ALL
    if name.startswith("test_") and "database_url" in inspect.signature(test).parameters
)


@pytest.fixture(autouse=True)
def _by_alchemy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_sql_stores, "open_database", open_alchemy)
    monkeypatch.setattr(test_sql_stores, "stores_on", stores_on)
