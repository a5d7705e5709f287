"""What comes back from a provider, and how a failure is shown."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from .pages import render
from .providers import ProviderDown
from .session_requests import SessionRoute

RETRY_AFTER_SECONDS = 30

logger = logging.getLogger("uvicorn.error")


class Refused(Exception):
    """A login at a provider goes no further. The page says no more than `sentence`."""

    def __init__(
        self, sentence: str = "This login did not work. Please begin again.", status: int = 400
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What a provider sends a browser back with. A text that is missing is empty."""

    code: str = field(repr=False)
    state: str = field(repr=False)
    iss: str | None  # who answers (RFC 9207); None where the answer does not say


Texts = Annotated[list[str], Query()]


async def read_answer(code: Texts = [], state: Texts = [], iss: Texts = []) -> Answer:  # noqa: B006
    """Take an answer apart. Of two texts of one name neither counts."""
    return Answer(_only(code), _only(state), _only(iss) if iss else None)


def _only(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else ""


ProviderAnswer = Annotated[Answer, Depends(read_answer)]


def _cause_of(refused: Refused) -> str:
    """Return the kind of error and the function: what an error says may quote a secret."""
    last = refused.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    where = last.tb_frame.f_code.co_name if last else "?"
    return f"{type(refused.__context__ or refused).__name__} in {where}"


class SocialRoute(SessionRoute):
    """Answers every failure with one page, in which nothing of the request comes back."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_failures(request: Request) -> Response:
            try:
                return await handle(request)
            except Refused as refused:
                logger.warning("A login was refused: %s", _cause_of(refused))
                page = render("refused.html", refused.status, sentence=refused.sentence)
            except ProviderDown:
                sentence = "The provider does not answer. Please try again later."
                page = render("refused.html", 503, sentence=sentence)
                page.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            page.headers["Cache-Control"] = "no-store"
            return page

        return handle_failures
