"""`wetread users` and `wetread keys`: who may use this installation."""

import getpass
import sys

from dicom_node.audit.kinds import Kind
from imaging.errors import SetupError
from serving.commands.audit import told
from serving.commands.tables import empty_table, output
from serving.parts import Parts
from serving.people.person import Role, User
from serving.settings import Settings


def users(settings: Settings, action: str, *, name: str, role: Role) -> int:
    """List, add or remove accounts, or change a password or role."""
    parts = Parts(settings)
    people = parts.people
    if action == "add":
        people.add_user(name, role, _password())
    elif action == "password":
        people.set_password(name, _password())
    elif action == "role":
        people.set_role(name, role)
        action = f"role {role}"
    elif action == "remove":
        people.remove_user(name)
    else:
        _show(people.users())
        return 0
    told(parts, Kind.PEOPLE_CHANGED, about=f"user {name}: {action}")
    return 0


def keys(settings: Settings, action: str, *, name: str, role: Role) -> int:
    """List, add or revoke keys of other systems."""
    parts = Parts(settings)
    people = parts.people
    if action == "add":
        sys.stdout.write(f"{people.add_key(name, role)}\n")
        sys.stderr.write("This is the only time it is shown.\n")
    elif action == "revoke":
        people.revoke_key(name)
    else:
        _show(people.keys())
        return 0
    told(parts, Kind.PEOPLE_CHANGED, about=f"key {name}: {action}")
    return 0


def _show(known: tuple[User, ...]) -> None:
    table = empty_table("name", "role")
    for each in known:
        table.add_row(each.name, each.role)
    output().print(table)


def _password() -> str:
    """Ask twice for it, or read the first line of what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != password:
        msg = "these were two different passwords"
        raise SetupError(msg)
    return password
