"""The whole system as one app: `uvicorn solutions.main:app`.

In memory, or in the database that DATABASE_URL names.
"""

from . import (
    api_keys,
    database,
    hashing,
    key_rotation,
    oauth2,
    rbac,
    refresh,
    sessions,
    social,
    tenants,
)
from .support.apps import create_app
from .support.key_ring import open_key_ring
from .support.opened_stores import from_settings
from .support.row_security import behind_the_wall
from .support.token_service import use_tokens
from .support.use_stores import use_stores

# Not here: the routes that a later lesson replaces (03), the one that is for show (02), and what
# lesson 10 puts around all of it: that is `hardening.app`.
app = create_app(
    "FastAPI Auth Workbook",
    hashing.router,
    oauth2.router,
    oauth2.demo_router,
    refresh.router,
    rbac.router,
    api_keys.router,
    api_keys.demo_router,
    sessions.router,
    social.router,
    key_rotation.router,
    tenants.router,
)
use_tokens(app, key_rotation.OwnTokens(), prepare=open_key_ring)
use_stores(app, behind_the_wall(from_settings(tenants.stores_on)), database.answer_down)
