"""The book of people: accounts, keys of other systems, and sessions, each a row."""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa

from dicom_node.schema import writing
from dicom_node.schema_people import api_keys, logouts, sessions, users
from imaging.errors import Conflict, NotFound, SetupError
from serving.people.logout import OLDEST_S, Logout
from serving.people.passwords import fits, hashed
from serving.people.person import LOCAL, Elsewhere, How, Role, User

SHORTEST_PASSWORD = 12
_NAME = re.compile(r"[\w .'@-]{1,64}")
_SEEN_EVERY_S = 60.0
_OWNER = "user_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """How long a session lasts, and whether its cookie goes over TLS only."""

    idle_s: float = 3600.0
    longest_s: float = 43_200.0
    secure: bool = False
    provider: bool = False  # people sign in elsewhere too, so everyone must be known
    local_accounts: Literal["all", "administrators", "none"] = "all"


class People:
    """Who may ask. A removed person, key or session counts no more from the next request on."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        tenant: str,
        clock: Callable[[], float],
        rules: SessionRules | None = None,
    ) -> None:
        self._engine, self._tenant, self._clock = engine, tenant, clock
        self.rules = rules or SessionRules()

    def guarded(self) -> bool:
        """Whether anyone has an account or a key, so that everyone must show one."""
        if self.rules.provider:
            return True
        known = (sa.exists().where(table.c.tenant == self._tenant) for table in (users, api_keys))
        with self._engine.connect() as connection:
            return bool(connection.scalar(sa.select(sa.or_(*known))))

    def users(self) -> tuple[User, ...]:
        """Return all accounts, by name."""
        return self._all(users, "session")

    def keys(self) -> tuple[User, ...]:
        """Return the names and roles of all keys."""
        return self._all(api_keys, "key")

    def _all(self, table: sa.Table, how: How) -> tuple[User, ...]:
        query = sa.select(table.c.name, table.c.role).where(table.c.tenant == self._tenant)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(table.c.name)).all()
        return tuple(User(name=row.name, role=row.role, how=how) for row in rows)

    def add_user(self, name: str, role: Role, password: str) -> None:
        """Make an account.

        Raises
        ------
        Conflict
            The name is taken.
        """
        self._add(users, name, role=role, password=hashed(_long_enough(password)))

    def add_key(self, name: str, role: Role) -> str:
        """Make a key and return it; it is not kept and cannot be shown again."""
        key = f"wetread_{secrets.token_urlsafe(32)}"
        self._add(api_keys, name, role=role, digest=_digest(key))
        return key

    def _add(self, table: sa.Table, name: str, **values: str) -> None:
        if not _NAME.fullmatch(name) or name == LOCAL.name:
            msg = f"{name!r} cannot be a name: up to 64 letters, digits, spaces and . ' @ - _"
            raise SetupError(msg)
        row = {"tenant": self._tenant, "name": name, "created_at": self._clock(), **values}
        try:
            with writing(self._engine) as connection:
                connection.execute(table.insert().values(row))
        except sa.exc.IntegrityError as error:
            msg = f"there is {name!r} already"
            raise Conflict(msg) from error

    def set_password(self, name: str, password: str) -> None:
        """Give another password, and end every session of that person.

        Raises
        ------
        Conflict
            The person signs in at a provider, and has no password here.
        """
        kept = hashed(_long_enough(password))
        with writing(self._engine) as connection:
            issuer = sa.select(users.c.issuer).where(*self._row(users, name))
            if elsewhere := connection.scalar(issuer):
                msg = f"{name!r} signs in at {elsewhere}: the password is kept and changed there"
                raise Conflict(msg)
            changed = connection.execute(
                users.update().where(*self._row(users, name)).values(password=kept)
            )
            self._end_sessions(connection, name)
        _must_be_one(changed.rowcount, name)

    def set_role(self, name: str, role: Role) -> None:
        """Give another role; it counts from the next request on."""
        with writing(self._engine) as connection:
            changed = connection.execute(
                users.update().where(*self._row(users, name)).values(role=role)
            )
        _must_be_one(changed.rowcount, name)

    def remove_user(self, name: str) -> None:
        """Remove an account and its sessions; what the person left behind keeps the name."""
        with writing(self._engine) as connection:
            gone = connection.execute(users.delete().where(*self._row(users, name)))
            self._end_sessions(connection, name)
        _must_be_one(gone.rowcount, name)

    def revoke_key(self, name: str) -> None:
        """Let a key open nothing any more."""
        with writing(self._engine) as connection:
            gone = connection.execute(api_keys.delete().where(*self._row(api_keys, name)))
        _must_be_one(gone.rowcount, name)

    def of_key(self, key: str) -> User | None:
        """Return whose key this is."""
        query = sa.select(api_keys.c.name, api_keys.c.role).where(
            api_keys.c.tenant == self._tenant, api_keys.c.digest == _digest(key)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return User(name=row.name, role=row.role, how="key") if row else None

    def sign_in(self, name: str, password: str) -> str | None:
        """Begin a session and return what its cookie holds; None when name or password is wrong."""
        query = sa.select(users.c.password).where(*self._row(users, name), self._may_use_password())
        with self._engine.connect() as connection:
            kept = connection.scalar(query)
        if not fits(password, kept or _nobodys()) or not kept:
            return None
        with writing(self._engine) as connection:
            if connection.scalar(query) != kept:  # removed, or another password, meanwhile
                return None
            return self._begin(connection, name)

    def admit(self, who: Elsewhere, name: str, role: Role) -> str:
        """Begin a session of somebody whom a provider knows.

        Raises
        ------
        Conflict
            Another account has the name.
        """
        values = {"name": name, "role": role}
        mine = users.c.tenant == self._tenant
        here = (mine, users.c.issuer == who.issuer, users.c.subject == who.subject)
        try:
            with writing(self._engine) as connection:
                before = connection.scalar(sa.select(users.c.name).where(*here))
                if before is None:
                    connection.execute(users.insert().values(self._made(who) | values))
                else:
                    connection.execute(users.update().where(*here).values(values))
                    renamed = sessions.update().where(*self._row(sessions, before, column=_OWNER))
                    connection.execute(renamed.values(user_name=name))
                return self._begin(connection, name, sid=who.sid, id_token=who.id_token)
        except sa.exc.IntegrityError as error:
            msg = f"there is {name!r} already"
            raise Conflict(msg) from error

    def log_out(self, logout: Logout) -> str:
        """End the sessions that a provider names; return whose they were, if there were any.

        Raises
        ------
        Conflict
            This token counted before.
        """
        now, mine = self._clock(), sessions.c.tenant == self._tenant
        known = [users.c.tenant == self._tenant, users.c.issuer == logout.issuer]
        known += [users.c.subject == logout.subject] if logout.subject else []
        named = [mine, sessions.c.user_name.in_(sa.select(users.c.name).where(*known))]
        named += [sessions.c.sid == logout.sid] if logout.sid else []
        told = {"digest": _digest(f"{logout.issuer} {logout.number}"), "at": now}
        try:
            with writing(self._engine) as connection:
                old = logouts.c.at < now - 2 * OLDEST_S
                connection.execute(logouts.delete().where(logouts.c.tenant == self._tenant, old))
                connection.execute(logouts.insert().values(tenant=self._tenant, **told))
                owner = connection.scalar(sa.select(sessions.c.user_name).where(*named))
                connection.execute(sessions.delete().where(*named))
        except sa.exc.IntegrityError as error:
            msg = "this logout token counted before (jti)"
            raise Conflict(msg) from error
        return owner or ""

    def _made(self, who: Elsewhere) -> dict[str, Any]:
        known = {"issuer": who.issuer, "subject": who.subject, "password": ""}
        return {"tenant": self._tenant, "created_at": self._clock(), **known}

    def _may_use_password(self) -> sa.ColumnElement[bool]:
        match self.rules.local_accounts:
            case "all":
                return sa.true()
            case "administrators":
                return users.c.role == "administrator"
            case "none":
                return sa.false()

    def _begin(self, connection: sa.Connection, name: str, **at_provider: str) -> str:
        token, now = secrets.token_urlsafe(32), self._clock()
        over = sa.or_(
            sessions.c.created_at < now - self.rules.longest_s,
            sessions.c.seen_at < now - self.rules.idle_s,
        )
        connection.execute(sessions.delete().where(sessions.c.tenant == self._tenant, over))
        connection.execute(
            sessions.insert().values(
                tenant=self._tenant,
                digest=_digest(token),
                user_name=name,
                created_at=now,
                seen_at=now,
                **at_provider,
            )
        )
        return token

    def of_session(self, token: str) -> User | None:
        """Return whose session this is, unless it is over."""
        now, here = self._clock(), self._row(sessions, _digest(token), column="digest")
        query = (
            sa.select(users.c.name, users.c.role, sessions.c.seen_at)
            .join(
                users,
                sa.and_(users.c.tenant == sessions.c.tenant, users.c.name == sessions.c.user_name),
            )
            .where(
                *here,
                sessions.c.created_at >= now - self.rules.longest_s,
                sessions.c.seen_at >= now - self.rules.idle_s,
            )
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if now - row.seen_at > min(_SEEN_EVERY_S, self.rules.idle_s / 2):
            with writing(self._engine) as connection:
                connection.execute(sessions.update().where(*here).values(seen_at=now))
        return User(name=row.name, role=row.role, how="session")

    def sign_out(self, token: str) -> str | None:
        """End a session; return the ID token it was begun with, or None if not at a provider."""
        here = self._row(sessions, _digest(token), column="digest")
        begun = (
            sa.select(sessions.c.id_token)
            .join(
                users,
                sa.and_(users.c.tenant == sessions.c.tenant, users.c.name == sessions.c.user_name),
            )
            .where(*here, users.c.issuer.is_not(None))
        )
        with writing(self._engine) as connection:
            id_token: str | None = connection.scalar(begun)
            connection.execute(sessions.delete().where(*here))
        return id_token

    def _end_sessions(self, connection: sa.Connection, name: str) -> None:
        here = self._row(sessions, name, column=_OWNER)
        connection.execute(sessions.delete().where(*here))

    def _row(
        self, table: sa.Table, value: str, *, column: str = "name"
    ) -> tuple[sa.ColumnElement[bool], ...]:
        return table.c.tenant == self._tenant, table.c[column] == value


def fitting_name(told: object, subject: object) -> str:
    """Return what somebody is called here: as a provider tells, without what names cannot hold."""
    name = told if isinstance(told, str) and told.strip() else str(subject)
    fit = re.sub(r"[^\w .'@-]", "-", name.strip())[:64]
    return fit if fit != LOCAL.name else f"{fit}-"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _nobodys() -> str:
    """Return a password that nobody has: a wrong name takes as long as a wrong password."""
    return hashed(secrets.token_hex(16))


def _long_enough(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        msg = f"a password has at least {SHORTEST_PASSWORD} characters"
        raise SetupError(msg)
    return password


def _must_be_one(count: int, name: str) -> None:
    if not count:
        msg = f"there is no {name!r}"
        raise NotFound(msg)
