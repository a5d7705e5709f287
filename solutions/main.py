"""The whole system as one app: `uvicorn solutions.main:app`."""

from . import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from .hardening import harden
from .support.apps import create_app

# Not here: the routes that a later lesson replaces (03), and the one that is for show (02).
app = harden(
    create_app(
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
)
