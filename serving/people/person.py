"""A person or system that asks, the role it has, and how it is known."""

from typing import Literal

from pydantic import Field

from serving.records import Record

Role = Literal["reader", "engineer", "administrator"]  # each may what those before it may
How = Literal["session", "key", "loopback"]
SCOPE = "wetread.user"  # in the state of a request: where the gate leaves who asks


class User(Record):
    """A person or system; the name stands in what they leave behind."""

    name: str
    role: Role
    how: How


class Elsewhere(Record):
    """How a provider knows somebody, and the session there that one here was begun with."""

    issuer: str
    subject: str
    sid: str = ""
    id_token: str = Field("", repr=False)


LOCAL = User(name="local", role="administrator", how="loopback")
