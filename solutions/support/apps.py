"""How every step becomes an app that runs by itself."""

from collections.abc import Callable
from contextlib import suppress

from fastapi import APIRouter, FastAPI

from .bounds import Bounds
from .start_up import StartUp

new_app: Callable[..., FastAPI] = FastAPI
with suppress(ImportError):  # a copy elsewhere need not install it
    # FastAPI's own /docs loads its scripts from the internet. A class may have none.
    from fastapi_offline import FastAPIOffline

    new_app = FastAPIOffline


def create_app(title: str, *routers: APIRouter) -> FastAPI:
    """Build an app from routers. It reads no settings before it starts.

    `/token/` is not `/token`: FastAPI would send a caller on to an address made of the Host header,
    password and all (CWE-601).
    """
    app = new_app(title=title, redirect_slashes=False)
    for router in routers:
        app.include_router(router)
    app.add_middleware(Bounds)
    app.add_middleware(StartUp)
    return app
