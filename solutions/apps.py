"""How every step becomes an app that runs by itself."""

from fastapi import APIRouter, FastAPI

from .settings import get_settings


def create_app(title: str, *routers: APIRouter) -> FastAPI:
    """Build an app from routers.

    Raises SystemExit with one sentence when the settings are unsafe: at start-up, not at the
    first login.
    """
    if get_settings().environment == "development":
        # FastAPI's own /docs loads its scripts from the internet. A class may have none.
        from fastapi_offline import FastAPIOffline

        app = FastAPIOffline(title=title)
    else:
        app = FastAPI(title=title)
    for router in routers:
        app.include_router(router)
    return app
