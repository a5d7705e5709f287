"""The lessons on SQLAlchemy: `pytest lessons --solutions -p tests.on_alchemy --database=URL`."""

from lessons.harness import in_database
from tests.alchemy_kind import AlchemyAnyLoop

in_database.AnyLoop = AlchemyAnyLoop  # type: ignore[misc, assignment]
in_database.STORES = "solutions.stores.alchemy.app"
