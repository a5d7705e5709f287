"""Lists of hops as chance has them, and whom a walk through each reaches."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, ip_address
from random import Random

CLIENTS = ("203.0.113.7", "198.51.100.77", "2001:db8::7")
# Of each network that has a special meaning, and of well-known CDNs and load balancers.
SPECIAL = ("10.255.0.9", "172.16.0.9", "172.31.255.9", "192.168.1.9", "127.0.0.1", "127.9.9.9")
SPECIAL += ("169.254.0.9", "100.64.0.9", "192.0.0.9", "192.0.2.9", "198.18.0.9", "224.0.0.9")
SPECIAL += ("240.0.0.9", "255.255.255.255", "0.0.0.9", "8.8.8.8", "35.191.0.9", "104.16.0.9")
SPECIAL += ("::", "::1", "::9", "fe80::9", "fec0::9", "fc00::9", "fd00:9::9", "ff02::9", "100::9")
SPECIAL += ("2001:db8:9::9", "2001::9", "2002:a09:9::9", "64:ff9b::9", "64:ff9b:1::9", "3fff::9")
SPECIAL += ("2606:4700::9",)
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
    four = proxies[0]
    for odd in (f"{four}%eth0", f"{four}/32", f"[{four}]", f"{four}:80", f"{four} a", f"{four}."):
        yield proxies[1], [f"{CLIENTS[0]}, {odd}, {four}"], four
    for often in (3, 20, 300):
        again = [CLIENTS[1], *[CLIENTS[0]] * often, proxies[1]]
        yield proxies[0], [",".join(again)], CLIENTS[0]


def strangers(proxies: Sequence[str]) -> Iterator[tuple[str, list[str], str]]:
    """Return walks as above that all end at an address which is no proxy, though it may look so.

    What stands left of it is what somebody there says. Some live next door to our proxies.
    """
    last = SPECIAL[-1]
    for each in (*SPECIAL, *(near for proxy in proxies for near in _next_door(proxy))):
        yield proxies[0], [f"{CLIENTS[0]}, {last}, {each}"], each
        yield proxies[1], [CLIENTS[0], f"{proxies[1]}, {each}, {proxies[0]}"], each
        yield each, [CLIENTS[0]], each
        last = each


def _next_door(proxy: str) -> list[str]:
    """Return addresses of networks next to ours, of 16 bits each: of IPv6 also on the same line."""
    address = ip_address(proxy)
    bits = (16,) if isinstance(address, IPv4Address) else (16, 40, 63, 64)
    return [str(ip_address(int(address) ^ 1 << bit)) for bit in bits]
