"""The whole system as one app: `uvicorn solutions.main:app`."""

from . import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from .support.apps import create_app

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
)
