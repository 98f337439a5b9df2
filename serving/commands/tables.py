"""Tables on standard output that lose nothing: long names fold, and files get wide lines."""

import sys

from rich.console import Console
from rich.table import Column, Table

_WIDE = 240


def output() -> Console:
    """Return the console; where no terminal gives a width, lines may be long."""
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)


def empty_table(*headers: str, title: str | None = None) -> Table:
    """Return an empty table whose cells are never cut."""
    return Table(*(Column(header, overflow="fold") for header in headers), title=title)
