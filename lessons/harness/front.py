"""People who send requests from some place on earth, for lesson 10."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lessons.harness.client import Client
from lessons.harness.people import PASSWORDS

Answer = Any
PORT = 50_123
WRONG = "wrong"


@dataclass
class End:
    """How an attempt has ended, as an answer says it."""

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""


@dataclass
class Place:
    """Somebody's place: an address, and what a proxy there says, if there is one."""

    client: Client
    address: str | None
    forwarded: tuple[str, ...] = ()

    def ask(self, method: str, url: str, **send: Any) -> Answer:
        """Send a request from here."""
        return self.client.request(method, url, **self.sent(**send))

    def sent(self, **send: Any) -> dict[str, Any]:
        """Return what a request from here is made of."""
        headers = dict(send.get("headers") or {})
        if len(self.forwarded) > 1:
            lines = [("X-Forwarded-For", each) for each in self.forwarded]
            send["headers"] = [*headers.items(), *lines]
        else:  # a dict is sent faster
            send["headers"] = headers | dict(zip(["X-Forwarded-For"], self.forwarded, strict=False))
        socket = (self.address, PORT) if self.address else None
        return send | {"scope": {"client": socket} | send.get("scope", {})}

    def log_in(self, name: str = "johndoe", password: str = "") -> Answer:
        """Log in at the token endpoint, with the right password of a demo person or another."""
        form = {"username": name, "password": password or PASSWORDS.get(name, "")}
        return self.ask("POST", "/token", data=form)

    def guess(self, name: str = "johndoe", password: str = WRONG) -> int:
        """Log in with a wrong password, and return the status."""
        return int(self.log_in(name, password).status_code)

    def attempt(self, name: str = "johndoe", is_right: bool = False) -> int:
        """Guess, or know the password, and return the status; see `tried`."""
        return self.client.run(self.tried(name, is_right)).status_code

    async def tried(self, name: str, is_right: bool = False, turns: int = 0) -> Any:
        """Return how a login ends as far as this lesson goes: no password is read or hashed.

        What stands around the check is what the app has there, and a login is fifteen times as
        slow. The check would take some turns of the loop. An app that has nothing there is asked.
        """
        seam = _seam_of(self.client.app)
        if seam is None:
            form = {"username": name, "password": PASSWORDS.get(name, "") if is_right else WRONG}
            return await self.client.ask("POST", "/token", **self.sent(data=form))
        what = f"A {'right' if is_right else 'wrong'} password of {name!a:.20} from {self.address}"
        refusal = await self.client.call(what, self._pass(*seam, name, is_right, turns))
        if refusal is None:
            return End(200 if is_right else 400)
        headers = {key.lower(): value for key, value in (refusal.headers or {}).items()}
        return End(refusal.status_code, headers, str(refusal.detail))

    async def _pass(
        self, find_address: Any, guard: Any, name: str, is_right: bool, turns: int
    ) -> None:
        from solutions.support.addresses import read_address

        address = find_address(read_address(self.address or ""), list(self.forwarded))
        async with guard(name, address) as tried:
            for _ in range(turns):
                await asyncio.sleep(0)
            tried.succeeded = is_right


def _seam_of(app: Any) -> tuple[Any, Any] | None:
    """Return what the app finds addresses with, and what it puts around a check of a password."""
    from solutions.support.audit import Audited

    for each in app.user_middleware:
        if each.cls is Audited and len(each.args) > 1:
            return each.args[0], each.args[1]
    return None


def places(client: Client) -> Iterator[Place]:
    """Return places where nobody has been, one after the other."""
    return (Place(client, f"198.51.{number // 250}.{number % 250 + 1}") for number in count())


def names() -> Iterator[str]:
    """Return names that nobody has used, one after the other."""
    return (f"person-{number}" for number in count(1000))


def guesses_until_refused(place: Place, name: Any, most: int) -> int:
    """Guess at a name, or at the next of several, and return how often until it is a 429."""
    for number in range(most):
        status = place.attempt(name if isinstance(name, str) else next(name))
        if status == 429:
            return number
        assert status == 400, f"A wrong password is answered {status}, not 400."
    return most
