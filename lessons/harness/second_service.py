"""Another service, which has only the public keys of the app: `--port 9500` beside it.

    uvicorn lessons.harness.second_service:app --port 9500

It takes KEY_SET, JWT_ISSUER and JWT_AUDIENCE from the environment; by default the app on port 8000.
"""

import os
from functools import lru_cache
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBearer

from solutions.key_rotation import FetchedKeys, verify_token
from solutions.support.settings import DEVELOPMENT_NAME
from solutions.tokens import InvalidToken

APP = "http://127.0.0.1:8000/.well-known/jwks.json"
app = FastAPI(title="A second service")
bearer = HTTPBearer()


@lru_cache
def open_keys() -> FetchedKeys:
    """Build the process's one cache of the app's keys. Nothing is asked for yet."""
    return FetchedKeys(os.environ.get("KEY_SET", APP))


@app.get("/who")
async def who(shown: Annotated[object, Depends(bearer)]) -> dict[str, str]:
    """Tell whom a token of the app speaks for. 401 for any other token."""
    issuer = os.environ.get("JWT_ISSUER", DEVELOPMENT_NAME)
    audience = os.environ.get("JWT_AUDIENCE", DEVELOPMENT_NAME)
    try:
        token = getattr(shown, "credentials", "")
        claims = await verify_token(token, open_keys(), issuer, audience)
    except InvalidToken as error:
        raise HTTPException(401, str(error), headers={"WWW-Authenticate": "Bearer"}) from None
    return {"username": claims["sub"], "scope": claims.get("scope", "")}
