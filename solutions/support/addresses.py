"""Addresses of clients and proxies, and which of them are taken for one."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import Scope

from .settings import get_settings

Address = IPv4Address | IPv6Address
UNKNOWN = "unknown"  # one place for all whose address nobody knows: they are limited, too


def read_address(text: str) -> Address | None:
    """Return an address, or None for what is none. `::ffff:192.0.2.1` is 192.0.2.1."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_of(address: Address | None) -> str:
    """Return what is counted as one place: an IPv4 address, or the /64 that a line has in IPv6."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), 64), strict=False))
    return str(address or UNKNOWN)


def hops_of(forwarded: Sequence[str]) -> list[str]:
    """Return the hops of all X-Forwarded-For lines, as they came: the last one is the nearest."""
    return [hop.strip() for line in forwarded for hop in line.split(",")]


def is_proxy(address: Address | None) -> bool:
    """Tell whether an address is in TRUSTED_PROXIES."""
    if address is None:
        return False
    return any(address in network for network in _networks(get_settings().trusted_proxies))


@lru_cache(maxsize=2)
def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(each) for each in text.split())


def peer_of(scope: Scope) -> Address | None:
    """Return the address at the other end of the socket; None where it has none."""
    client: Sequence[str] = scope.get("client") or ("",)
    return read_address(client[0] or "")


def is_https(scope: Scope) -> bool:
    """Tell whether the visitor uses https: by the socket, or by a proxy of ours that says so."""
    said = ",".join(Headers(scope=scope).getlist("x-forwarded-proto"))
    if said and is_proxy(peer_of(scope)):
        return {each.strip().lower() for each in said.split(",")} == {"https"}
    return bool(scope["scheme"] in ("https", "wss"))
