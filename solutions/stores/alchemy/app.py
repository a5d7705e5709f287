"""The app of lesson 12 on SQLAlchemy: `uvicorn solutions.stores.alchemy.app:app`.

`main.py` does it in one line: `use_stores(app, opened_by(open_alchemy, stores_on), answer_down)`.
"""

from ...database import answer_down, routers
from ...hardening import harden
from ...support.apps import create_app
from ...support.opened_stores import opened_by
from ...support.use_stores import use_stores
from ..chosen import Stores
from ..sql.opening import DEVELOPMENT_DATABASE
from ..sql.tenants import SqlTenants
from .api_keys import AlchemyKeys
from .engine import AlchemyDatabase, open_alchemy
from .flows import AlchemyFlows
from .identities import AlchemyIdentities
from .refresh_tokens import AlchemyRefreshTokens
from .sessions import AlchemySessions
from .users import AlchemyUsers


def stores_on(database: AlchemyDatabase) -> Stores:
    """Return all stores on a database.

    Those of lesson 13 are plain SQL's, on this engine: which table and which columns come from
    their caller, and the wall of PostgreSQL has no other words.
    """
    return Stores(
        users=AlchemyUsers(database),
        refresh_tokens=AlchemyRefreshTokens(database),
        keys=AlchemyKeys(database),
        sessions=AlchemySessions(database),
        flows=AlchemyFlows(database),
        identities=AlchemyIdentities(database),
        tenants=SqlTenants(database),
    )


app = harden(create_app("Lesson 12: SQLAlchemy", *(each.router for each in routers)))
use_stores(app, opened_by(open_alchemy, stores_on, DEVELOPMENT_DATABASE), answer_down)
