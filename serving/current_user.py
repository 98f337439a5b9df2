"""Who asks: the one place where a request gets its person, and how that person is known."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from serving.people.person import LOCAL, SCOPE, User


def current_user(request: HTTPConnection) -> User:
    """Return who asks, as the gate found; without a gate it is this process itself."""
    user: User = request.scope.get("state", {}).get(SCOPE, LOCAL)
    return user


CurrentUser = Annotated[User, Depends(current_user)]
