from auth import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from auth.oauth2 import CurrentUser
from auth.support.apps import create_app
from fastapi import APIRouter

api = APIRouter(prefix="/api/v1")
for part in (hashing, oauth2, refresh, rbac, api_keys):
    api.include_router(part.router)


@api.get("/orders")
async def read_orders(user: CurrentUser) -> list[str]:
    """Yours: whoever comes here has logged in."""
    return [f"an order of {user.username}"]


app = create_app("Shop", api, sessions.router, social.router)
