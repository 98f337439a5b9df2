"""Who asks: the one place where a request gets its person."""

from typing import Annotated

from fastapi import Depends

from serving.records import Record


class User(Record):
    """A person; the name stands in what they leave behind."""

    name: str


def current_user() -> User:
    """Return who asks. Nobody signs in yet, and the server listens on loopback: it is `local`."""
    return User(name="local")


CurrentUser = Annotated[User, Depends(current_user)]
