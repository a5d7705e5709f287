"""Lists of hops as chance has them, and whom a walk through each reaches."""

from collections.abc import Iterator, Sequence
from random import Random

CLIENTS = ("203.0.113.7", "198.51.100.77", "2001:db8::7")
NO_ADDRESS = ("unknown", "", "203.0.113.7:99", "_hidden", "203.0.113", "[2001:db8::7]")


def walked(peer: str, hops: Sequence[str], proxies: Sequence[str]) -> str:
    """Return who is at the end of a walk from the right, for as long as a proxy of ours says so."""
    for hop in reversed(hops):
        if peer not in proxies or hop in NO_ADDRESS:
            break
        peer = hop
    return peer


def walks(proxies: Sequence[str], count: int) -> Iterator[tuple[str, list[str], str]]:
    """Return peers, the lines that each forwards, and the addresses to be found.

    There are few addresses, so each comes again: further left, twice in a row, around others.
    """
    chance = Random(10)  # noqa: S311
    for number in range(count):
        most = chance.choice((2, 4, 9))  # hops of ours to one of somebody else's
        choice = [*proxies] * most + [*CLIENTS] * 2 + [chance.choice(NO_ADDRESS)]
        hops = chance.choices(choice, k=number % 9)
        peer = chance.choice([*proxies] * 5 + [*CLIENTS])
        lines = hops[:1]
        for hop in hops[1:]:
            if chance.random() < 0.3:
                lines.append(hop)
            else:
                lines[-1] += chance.choice((",", ", ", " , ")) + hop
        yield peer, lines, walked(peer, hops, proxies)
    yield proxies[0], [", ".join([CLIENTS[0], *[*proxies] * 150])], CLIENTS[0]
    for often in (3, 20, 300):
        again = [CLIENTS[1], *[CLIENTS[0]] * often, proxies[1]]
        yield proxies[0], [",".join(again)], CLIENTS[0]
