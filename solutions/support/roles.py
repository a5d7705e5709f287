"""Roles, and how they rank."""

from enum import StrEnum

from ..stores.users import User, UserStore


class Role(StrEnum):
    """What an account may be, from the least to the most."""

    USER = "user"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"


def rank(role: str) -> int:
    """Return how much a role may do, as a number to compare. An unknown role is above all."""
    roles: list[str] = list(Role)
    return roles.index(role) if role in roles else len(roles)


async def rank_of(users: UserStore, administrator: User) -> int:
    """Return the administrator's rank at this moment, below all for one who is none any more."""
    person = await users.get(administrator.username)
    if person is None or person.disabled or person.role not in (Role.ADMIN, Role.SUPERADMIN):
        return -1
    if person.security_stamp != administrator.security_stamp:  # a new password, or a new owner
        return -1
    return rank(person.role)


async def is_last_superadmin(users: UserStore, person: User) -> bool:
    """Tell whether this is the one superadmin left who can log in."""
    left = [
        each.username
        for each in await users.everyone()
        if each.role == Role.SUPERADMIN and not each.disabled
    ]
    return left == [person.username]
