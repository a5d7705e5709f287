"""Two tenants, who is in them and what is theirs, put straight into the store."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

from lessons.harness import failing
from lessons.harness.failing import Before, in_place
from lessons.harness.people import Headers, new_session, speak_as
from lessons.harness.race import Crowd
from lessons.harness.spelling import holds
from lessons.harness.stores import Run, Waiting, straight

DAY = timedelta(days=1)
NOBODYS = "0" * 32  # the id of no tenant
WRITES = ("add", "change", "remove")
LATE = (*WRITES, "transaction")  # after which a step may fail whose work is done
TURNS = 20  # of the event loop, after which nothing of a request is on its way any more
TABLES = ("tenants", "memberships", "items", "invitations", "tenant_keys")


# What the audit log calls what happens in a tenant: whoever searches it goes by these.
EVENTS = ("tenant", "member", "invitation", "tenant-key", "item")
MOST = 200  # letters of `whom` that the audit log keeps

Snapshot = dict[tuple[str, str], list[Any]]  # rows, by tenant and table


class Noted(dict[str, str]):
    """Facts for the audit log of lesson 10, as there are when its app stands around this one.

    It holds nothing, so that no first word hides a later one.
    """

    def __init__(self) -> None:
        self._told: list[tuple[str, str]] = []
        self._wrong: list[str] = []
        self._waits = False

    def __ior__(self, facts: Any) -> Any:
        self._told += dict(facts).items()
        return self

    def __setitem__(self, name: str, said: str) -> None:
        self._told.append((name, said))

    def update(self, *facts: Any, **named: str) -> None:
        self._told += dict(*facts, **named).items()

    def setdefault(self, name: str, said: Any = "") -> Any:
        self._told.append((name, said))
        return said

    def first(self, name: str) -> str:
        """Return what was noted first under a name: of several words that one counts."""
        return next((said for told, said in self._told if told == name), "")

    @contextmanager
    def afterwards(self) -> Iterator[None]:
        """Say only after the block what is wrong with what was noted in it."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        self._refuse()

    @contextmanager
    def right_for(self, tenant: str, secret: str = "") -> Iterator[None]:
        """Assert that what is noted in the block is right for a request in a tenant."""
        self._told.clear()
        yield
        self._wrong += [why for told in self._told if (why := _wrong_with(*told, tenant, secret))]
        self._refuse()

    def _refuse(self) -> None:
        assert self._waits or not self._wrong, self._wrong[0]


def _wrong_with(name: str, said: str, tenant: str, secret: str) -> str:
    """Return what is wrong with a fact that was noted in a tenant, or nothing."""
    noted = f"`note({name}=...)` for the audit log of lesson 10"
    if secret and holds(str(said), secret):
        return f"{noted} holds an API key, or the secret of an invitation."
    if name == "whom" and tenant not in str(said)[:MOST]:
        return f"{noted} has no id of the tenant, so nobody knows in which tenant it was."
    if name == "what" and str(said).removesuffix("-end") not in EVENTS:
        return f"{noted} is {said!a:.40}: whoever searches the log does not find it."
    return ""


@dataclass
class Tenant:
    """A tenant as the tests see it: its id, and the ids of what is in it."""

    id: str
    items: list[str]

    @property
    def url(self) -> str:
        return f"/tenants/{self.id}"


class Town:
    """All tenants of a test. People are those of `users`; what it makes is told to nobody."""

    def __init__(self, run: Run, users: Waiting) -> None:
        from solutions.stores.tenants import MemoryTenantStore, open_tenant_store

        self.store = open_tenant_store()
        self._run = straight if type(self.store) is MemoryTenantStore else run
        self.users = users.run_by(self._run)
        self.noted = Noted()
        run(self._listen())
        self._tenants: list[Tenant] = []
        self._tokens: dict[tuple[Any, ...], Headers] = {}

    async def _listen(self) -> None:
        """Let what is noted for the audit log be kept, in all that runs on the app's loop."""
        from solutions.support.seams import current_facts

        current_facts.set(self.noted)

    def draw(self) -> str:
        """Draw an id that no other one is like."""
        from solutions.support.tenant_forms import new_id

        return new_id()

    def hire(self, *names: str, **changes: Any) -> None:
        """Add accounts."""
        for name in names:
            about = {"username": name, "email": f"{name}@example.com", "account_id": self.draw()}
            about["security_stamp"] = self.draw()
            person = self.users.get("johndoe").model_copy(update={**about, "role": "user"})
            self._run(self.users.store.add(person.model_copy(update=changes)))

    def tenant(self, items: int = 0, **roles: str) -> Tenant:
        """Make a tenant with these members: `alice="owner"`."""
        tenant = Tenant(self.draw(), [])
        self._tenants.append(tenant)
        self.add(tenant, "tenants", name="The shop")
        for name, role in roles.items():
            self.join(tenant, name, role)
        for number in range(items):
            self.item(tenant, f"item {number}")
        return tenant

    def join(self, tenant: Tenant, username: str, role: str) -> None:
        """Make somebody a member."""
        person = self.users.get(username)
        about = {"account_id": person.account_id, "username": username, "role": role}
        self.add(tenant, "memberships", **about, email=(person.email or "").casefold())

    def item(self, tenant: Tenant, title: str, **fields: Any) -> str:
        """Add an item, and return its id."""
        tenant.items.append(self.draw())
        about = {"id": tenant.items[-1], "title": title, "done": 0, "made_by": "alice"}
        self.add(tenant, "items", **{**about, **fields})
        return tenant.items[-1]

    def invite(
        self,
        tenant: Tenant,
        email: str,
        role: str = "member",
        by: str = "alice",
        lives: timedelta = 7 * DAY,
    ) -> tuple[str, str]:
        """Ask somebody in; return the secret, and the invitation's public id."""
        from solutions.support.digests import digest_of

        secret, public = f"secret-{self.draw()}", self.draw()
        self.add(
            tenant,
            "invitations",
            digest=digest_of(secret),
            id=public,
            email=email.casefold(),
            role=role,
            invited_by=self.users.get(by).account_id,
            expires_at=_number(datetime.now(UTC) + lives),
        )
        return secret, public

    def key(
        self, tenant: Tenant, by: str, lives: timedelta = 30 * DAY, **fields: str
    ) -> tuple[Headers, str]:
        """Make a key of a tenant; return the header that presents it, and its public id."""
        from solutions.support.digests import digest_of

        text, public, maker = f"fat_{self.draw()}", self.draw(), self.users.get(by)
        self.add(
            tenant,
            "tenant_keys",
            digest=digest_of(text),
            id=public,
            prefix=text[:12],
            name="report",
            account_id=maker.account_id,
            **{"username": by, **fields},
            stamp=maker.security_stamp,
            created_at=_number(datetime.now(UTC)),
            expires_at=_number(datetime.now(UTC) + lives),
        )
        return {"X-API-Key": text}, public

    def add(self, tenant: Tenant, table: str, **fields: Any) -> None:
        """Add a row."""
        rows = self.store.rows(tenant.id)
        assert self._run(rows.add(table, {"tenant": tenant.id, **fields})), table

    def rows(self, tenant: Tenant, table: str, **where: Any) -> list[Any]:
        """Return rows of a tenant, whatever the candidate does."""
        rows: list[Any] = self._run(
            self.store.rows(tenant.id).find(table, {"tenant": tenant.id, **where})
        )
        return rows

    def role_of(self, tenant: Tenant, username: str) -> str | None:
        """Return what somebody is in a tenant, or None."""
        account = self.users.get(username).account_id
        found = self.rows(tenant, "memberships", account_id=account)
        return found[0]["role"] if found else None

    def change(self, tenant: Tenant, table: str, where: dict[str, Any], **fields: Any) -> None:
        """Change rows behind everybody's back."""
        rows = self.store.rows(tenant.id)
        self._run(rows.change(table, {"tenant": tenant.id, **where}, fields))

    @contextmanager
    def replaced(self, username: str, in_tenant: Tenant | None = None) -> Iterator[None]:
        """Let an account go as soon as it is looked up in the block.

        With a tenant a new one gets the name, and is a member there.
        """
        import pytest

        store, account = self.users.store, self.draw()
        get, come = store.get, [True]

        async def get_old(name: str) -> Any:
            found = await get(name)
            if name == username and come:
                come.clear()
                await store.remove(username)
                if in_tenant:
                    await store.add(found.model_copy(update={"account_id": account}))
                    about = {"tenant": in_tenant.id, "account_id": account, "role": "member"}
                    rows = self.store.rows(in_tenant.id)
                    await rows.add("memberships", {**about, "username": username, "email": ""})
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "get", get_old)
            yield

    def set_role(self, tenant: Tenant, username: str, role: str | None) -> None:
        """Give somebody another role behind everybody's back, or with None put them out."""
        where = {"tenant": tenant.id, "username": username}
        rows = self.store.rows(tenant.id)
        if role is None:
            self._run(rows.remove("memberships", where))
        else:
            self._run(rows.change("memberships", where, {"role": role}))

    def strangers_with_a_past(self, tenant: Tenant) -> dict[str, Headers]:
        """Return people who are not in, but of whom the tenant has rows: who they are, and headers.

        Of the last one it has all of them.
        """

        def member(**fields: str) -> None:
            about = {"account_id": self.draw(), "username": self.draw(), "email": "", **fields}
            self.add(tenant, "memberships", **about, role="owner")

        pasts: dict[str, Callable[[str], Any]] = {
            "who is invited": lambda who: self.invite(tenant, f"{who}@example.com"),
            "whose invitation is over": lambda who: self.invite(
                tenant, f"{who}@example.com", lives=-DAY
            ),
            "who invited somebody": lambda who: self.invite(tenant, "x@example.com", by=who),
            "who made an item": lambda who: self.item(tenant, "theirs", made_by=who),
            "who made a key": lambda who: self.key(tenant, by=who),
            "whose name a member has": lambda who: member(username=who),
            "whose address a member has": lambda who: member(email=f"{who}@example.com"),
        }
        strangers = {}
        for number, (past, leave) in enumerate([*pasts.items(), ("", None)]):
            self.hire(who := f"guest-{number}")
            for each in [leave] if leave else pasts.values():
                each(who)
            strangers[f"a stranger {past}".strip()] = self.as_(who)
        strangers["one who was a member, and much more"] = strangers.pop("a stranger")
        return strangers

    def state(self, *tenants: Tenant) -> list[Any]:
        """Return all that is stored of tenants, to be compared."""
        kept: Snapshot = self._run(self._snapshot(tenants))
        return [row for rows in kept.values() for row in rows]

    def snapshot(self) -> Snapshot:
        """Return all that is stored of all tenants, for `restore`."""
        kept: Snapshot = self._run(self._snapshot(self._tenants))
        return kept

    async def _snapshot(self, tenants: Iterable[Tenant]) -> Snapshot:
        kept: Snapshot = {(each.id, table): [] for each in tenants for table in TABLES}
        if self._run is straight:  # in memory, where to look takes a fifth of the time to ask
            for table, rows in self.store._rows._tables.items():
                for row in sorted(rows, key=itemgetter("number")):
                    if (row["tenant"], table) in kept:
                        kept[row["tenant"], table].append(dict(row))
            return kept
        for tenant, table in kept:
            found = await self.store.rows(tenant).find(table, {"tenant": tenant})
            kept[tenant, table] = [dict(row) for row in found]
        return kept

    def restore(self, kept: Snapshot) -> None:
        """Let the store be as it was."""
        self._run(self._restore(kept))

    async def _restore(self, kept: Snapshot) -> None:
        now = await self._snapshot(self._tenants)
        for (tenant, table), before in kept.items():
            if now[tenant, table] == before:
                continue
            if self._run is straight:
                tables = self.store._rows._tables
                others = [row for row in tables[table] if row["tenant"] != tenant]
                tables[table] = others + [dict(row) for row in before]
                continue
            rows = self.store.rows(tenant)
            await rows.remove(table, {"tenant": tenant})
            for row in before:
                fields = {name: row[name] for name in row if name != "number"}
                await rows.add(table, fields)
                await rows.change(table, fields, {"number": row["number"]})

    def as_(self, username: str, **claims: Any) -> Headers:
        """Return the header of somebody who is logged in: for a minute, it is the same token."""
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        stamp = self.users.get(username).security_stamp
        login = username, stamp, minute, *claims.items()
        if login not in self._tokens:
            self._tokens[login] = speak_as(self.users, username, **claims)
        return dict(self._tokens[login])

    def browser_of(self, username: str) -> "Browser":
        """Begin somebody's session, and return the headers of its browser."""
        from solutions.stores.sessions import open_session_store

        session_id, session = new_session(self.users.get(username))
        self._run(open_session_store().add(session))
        return Browser(session_id, session.csrf_token)


@dataclass
class Browser:
    """A browser with a session's cookie."""

    session_id: str
    csrf_token: str

    @property
    def cookie(self) -> Headers:
        """What it sends whoever asks it to."""
        return {"Cookie": f"__Host-session={self.session_id}"}

    @property
    def page(self) -> Headers:
        """What a page of this origin sends."""
        ours = {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": self.csrf_token}
        return {**self.cookie, **ours}


def _number(moment: datetime) -> int:
    from solutions.stores.sql.rows import to_number

    return to_number(moment)


class Wrapped:
    """A store of tenants whose rows are handed out through something that comes in between."""

    def __init__(self, store: Any, wrap: Callable[[Any], Any]) -> None:
        self._store, self._wrap = store, wrap

    def rows(self, tenant: str) -> Any:
        return self._wrap(self._store.rows(tenant))

    async def of(self, account_id: str) -> Any:
        return await self._wrap(self._store).of(account_id)


@contextmanager
def served_by(store: Any, app: Any) -> Iterator[None]:
    """Put a store in the place of the app's tenants."""
    from solutions.stores.tenants import get_tenants

    with in_place(app, get_tenants, store):
        yield


class OneStepFails(Before):
    """Rows of which one step fails, before it is done or after it. Several share the count.

    What was begun beside the step that fails goes on for a while: nobody stops a statement that is
    on its way.
    """

    def __init__(self, rows: Any, count: "Countdown") -> None:
        super().__init__(rows)
        self._count = count

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        self._count.pass_by(name, late=False)
        if self._count.failed:
            await turns(TURNS // 2)

    async def _after(self, name: str) -> None:
        if name in LATE:  # after any other step it is as if the step itself had failed
            self._count.pass_by(name, late=True)


async def turns(count: int) -> None:
    """Let others run, if there are any."""
    for _ in range(count):
        await asyncio.sleep(0)
        if len(asyncio.all_tasks()) == 1:
            break


class Gate:
    """Where somebody is stopped: before the step of this number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reached, self.opened = asyncio.Event(), asyncio.Event()


async def stopped(gate: Gate, task: asyncio.Task[Any]) -> None:
    """Wait until somebody is stopped at a gate, or a task has ended without coming there."""
    reached = asyncio.create_task(gate.reached.wait())
    await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()


class Held(Before):
    """Rows whose first answer does not come before a gate opens."""

    def __init__(self, rows: Any, gate: Gate) -> None:
        super().__init__(rows)
        self._gate = gate

    async def _after(self, name: str) -> None:
        if name == "find" and not self._gate.reached.is_set():
            self._gate.reached.set()
            await self._gate.opened.wait()


class Gated(Before):
    """Rows in which whoever comes to a step is stopped until the gate is opened."""

    def __init__(self, rows: Any, gate: Gate) -> None:
        super().__init__(rows)
        self._gate, self._passed = gate, 0

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        self._passed += 1
        if self._passed == self._gate.number + 1:
            self._gate.reached.set()
            await self._gate.opened.wait()


class Overtaken(Before):
    """Rows at which somebody else comes first: right before a transaction, or before a write in it.

    `act` is what they do with the rows. It is done once, at the step of this number.
    """

    def __init__(
        self, rows: Any, act: Callable[[Any], Any], at: str = "transaction", number: int = 0
    ) -> None:
        super().__init__(rows)
        self._act, self._left = act, number
        self._steps = ("transaction",) if at == "transaction" else WRITES
        self.found: Any = None  # what was there to act on; None as long as the step has not come

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        if name not in self._steps or self.found is not None:
            return
        self._left -= 1
        if self._left < 0:
            self.found = await self._act(self._store)


class Countdown:
    """Which step fails: the one of this number, before or after its work; or all from it on."""

    def __init__(self, number: int, late: bool = False, stays_down: bool = False) -> None:
        self._left, self._late, self._stays_down = number, late, stays_down
        self.failed = ""

    def pass_by(self, name: str, late: bool) -> None:
        """Count a step, and fail when its time has come."""
        if late != self._late:
            return
        self._left -= 1
        if self._left == -1 or (self._left < -1 and self._stays_down):
            self.failed = name
            raise store_down(name)


def store_down(said: str) -> Exception:
    """Return the error of a store that cannot be asked: that of the real ones, too.

    It is of every kind at once, so that whoever keeps silent about one of them is found out.
    """
    from solutions.stores.sql import database

    kinds = (database.StoreDown, database.WrongStatement, failing.StoreDown)
    error: Exception = type("StoreDown", kinds, {})(said)
    return error


def crowded(store: Any, crowd: Crowd) -> Any:
    """Let all of a crowd have looked before one of them writes, unless a lock keeps them apart."""
    rows = store.rows("")
    calls = threading.local()

    def place() -> str:
        calls.number = getattr(calls, "number", 0) + 1
        return f"step {calls.number}"

    class Crowded(type(rows)):  # type: ignore[misc]
        async def find(self, *args: Any, **kwargs: Any) -> Any:
            with crowd.in_line():
                found = await super().find(*args, **kwargs)
            crowd.gather(place())
            return found

        async def count(self, *args: Any, **kwargs: Any) -> Any:
            with crowd.in_line():
                found = await super().count(*args, **kwargs)
            crowd.gather(place())
            return found

        async def add(self, *args: Any, **kwargs: Any) -> Any:
            with crowd.in_line():
                return await super().add(*args, **kwargs)

        async def change(self, *args: Any, **kwargs: Any) -> Any:
            crowd.gather("will write")
            with crowd.in_line():
                return await super().change(*args, **kwargs)

        async def remove(self, *args: Any, **kwargs: Any) -> Any:
            with crowd.in_line():
                return await super().remove(*args, **kwargs)

        def transaction(self) -> Any:
            return crowd.lock(super().transaction())

    rows.__class__ = Crowded
    return store
