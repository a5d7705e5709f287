"""Alternative: `verify_password`, then a separate upgrade step; the dummy hash is made at import.

The form is read as separate `Form()` parameters, the cache header comes from a dependency.
"""

import secrets
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Response
from pydantic import BaseModel

from solutions import hashing
from solutions.support.apps import create_app
from solutions.hashing import get_password_context, hash_password, verify_password
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserInDB, UserStore, get_users

# A third of a second at start-up, so that no visitor ever waits for it.
NOBODY = UserInDB(
    username="nobody", disabled=True, hashed_password=hash_password(secrets.token_urlsafe(32))
)


def get_dummy_hash() -> str:
    return NOBODY.hashed_password


async def upgrade_hash(users: UserStore, user: UserInDB, password: str) -> None:
    """Store the password anew if its hash is weaker than the settings ask for."""
    if get_password_context().needs_update(user.hashed_password):
        new = await run_hashing(hash_password, password)
        await users.replace_hash(user.username, old=user.hashed_password, new=new)


async def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    user = await users.get(username) or NOBODY
    correct = await run_hashing(verify_password, password, user.hashed_password)
    if user.disabled or not correct:
        return None
    await upgrade_hash(users, user, password)  # only now: a refusal costs one hash, whatever its reason
    return user


class Token(BaseModel):
    access_token: str
    expires_in: int
    token_type: Literal["bearer"] = "bearer"


async def forbid_caching(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"



class WrongLogin(HTTPException):
    def __init__(self):
        super().__init__(
            status_code=401,
            detail="Incorrect username or password",
            headers={"WWW-Authenticate": "Bearer"},
        )



router = APIRouter(
    route_class=SafeRoute, tags=["03 login"], dependencies=[Depends(forbid_caching)]
)


@router.post("/token")
async def login(
    username: Annotated[str, Form()],
    password: Annotated[str, Form()],
    users: Annotated[UserStore, Depends(get_users)],
    grant_type: Annotated[str, Form(pattern="^password$")] = "password",
) -> Token:
    user = await authenticate_user(users, username, password)
    if user is None:
        raise WrongLogin
    return Token(
        access_token=create_access_token(dict(sub=user.username, stamp=user.security_stamp)),
        expires_in=get_settings().access_token_expire_minutes * 60,
    )


app = create_app("Lesson 03: login", hashing.router, router)
