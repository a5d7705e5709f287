"""People who send requests from some place on earth, for lesson 10."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from lessons.harness.client import Client
from lessons.harness.people import PASSWORDS

Answer = Any
PORT = 50_123
WRONG = "wrong"


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
        lines = [("X-Forwarded-For", each) for each in self.forwarded]
        send["headers"] = [*dict(send.get("headers") or {}).items(), *lines]
        socket = (self.address, PORT) if self.address else None
        return send | {"scope": {"client": socket} | send.get("scope", {})}

    def log_in(self, name: str = "johndoe", password: str = "") -> Answer:
        """Log in at the token endpoint, with the right password of a demo person or another."""
        form = {"username": name, "password": password or PASSWORDS.get(name, "")}
        return self.ask("POST", "/token", data=form)

    def guess(self, name: str = "johndoe", password: str = WRONG) -> int:
        """Log in with a wrong password, and return the status."""
        return int(self.log_in(name, password).status_code)


def places(client: Client) -> Iterator[Place]:
    """Return places where nobody has been, one after the other."""
    return (Place(client, f"198.51.{number // 250}.{number % 250 + 1}") for number in count())


def names() -> Iterator[str]:
    """Return names that nobody has used, one after the other."""
    return (f"person-{number}" for number in count(1000))


def guesses_until_refused(place: Place, name: Any, most: int) -> int:
    """Guess at a name, or at the next of several, and return how often until it is a 429."""
    for number in range(most):
        status = place.guess(name if isinstance(name, str) else next(name))
        if status == 429:
            return number
        assert status == 400, f"A wrong password is answered {status}, not 400."
    return most
