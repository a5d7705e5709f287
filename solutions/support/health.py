"""What a supervisor or a proxy asks: does the process live, and can it serve?

Both answer over plain http and for any host: whoever asks is beside the app, and knows its address
only. Neither says more than yes or no, since a stranger may get through to them.
"""

import asyncio
import logging

from fastapi import APIRouter, Response, status
from fastapi.responses import JSONResponse

from ..stores.chosen import chosen_stores
from .counters import Limit, get_counters

COUNTER_SECONDS = 3  # the database has an end of its own
PROBES = Limit("probes", 1_000_000, 60)

logger = logging.getLogger("uvicorn.error")
router = APIRouter(tags=["12 database"])


@router.get("/healthz")
async def is_alive() -> dict[str, str]:
    """Tell that the process lives. It asks nobody: a restart would not mend a database."""
    return {"status": "ok"}


@router.get("/readyz", response_class=JSONResponse)
async def is_ready() -> Response:
    """Tell whether requests may be sent here: 503 while what they need cannot be asked.

    Also on tables that are older than the code. What it is, the log says.
    """
    database, counters = await asyncio.gather(_database_is_ready(), _counters_are_ready())
    if database and counters:
        return JSONResponse({"status": "ok"})
    for name, answers in (("database", database), ("counters", counters)):
        if not answers:
            logger.warning("Not ready: the %s cannot be asked, or must be migrated first.", name)
    headers = {"Retry-After": "5", "Cache-Control": "no-store"}
    return JSONResponse({"status": "unavailable"}, status.HTTP_503_SERVICE_UNAVAILABLE, headers)


async def _database_is_ready() -> bool:
    stores = chosen_stores.get()
    try:
        return stores is None or await stores.are_ready()
    except Exception:  # whatever it is, requests would meet it as well
        return False


async def _counters_are_ready() -> bool:
    """Count something: a counter that can be read only is none."""
    counters = await get_counters()
    try:
        async with asyncio.timeout(COUNTER_SECONDS):
            await counters.hit(PROBES, "")
    except Exception:
        return False
    return True
