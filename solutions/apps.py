"""How every step becomes an app that runs by itself."""

from fastapi import APIRouter, FastAPI

from .settings import get_settings


def create_app(title: str, *routers: APIRouter) -> FastAPI:
    """Build an app from routers.

    Raises SystemExit with one sentence when the settings are unsafe: at start-up, not at the
    first login.
    """
    development = get_settings().environment == "development"
    app = _with_docs_offline(title) if development else FastAPI(title=title)
    for router in routers:
        app.include_router(router)
    return app


def _with_docs_offline(title: str) -> FastAPI:
    # FastAPI's own /docs loads its scripts from the internet. A class may have none.
    try:
        from fastapi_offline import FastAPIOffline
    except ImportError:  # a copy elsewhere need not install it
        return FastAPI(title=title)
    return FastAPIOffline(title=title)
