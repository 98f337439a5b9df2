"""Which packages may run code: digests that an administrator trusts, one to a line in a file."""

from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "trusted.txt"


@dataclass(frozen=True, slots=True)
class Trust:
    """The list in `path`; one that is not there trusts nothing."""

    path: Path

    def holds(self, digest: str) -> bool:
        """Whether the package with this digest may run code; looked up anew each time."""
        if not self.path.is_file():
            return False
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return digest in {line.partition("#")[0].strip() for line in lines}

    def add(self, digest: str, name: str) -> None:
        """Trust a digest from now on; `name` is noted beside it for people."""
        if self.holds(digest):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{digest}  # {name}\n")
