"""Which patient is in which split: decided once, by the key, and kept beside it for ever."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import SetupError
from imaging.pseudonyms import Pseudonyms
from scripts.dataset_files import SPLITS, Split

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Fractions:
    """How much of the patients is for testing and for validation; the rest is for training."""

    test: float = 0.2
    validation: float = 0.1


class Splits:
    """The ledger of splits: a patient who is in one stays there in every later version."""

    def __init__(self, path: Path, pseudonyms: Pseudonyms, fractions: Fractions) -> None:
        self._path, self._pseudonyms, self._fractions = path, pseudonyms, fractions
        self._known = dict(_read(path))

    def of(self, patient: str) -> Split:
        """Return the split of a patient, by pseudonym."""
        if patient not in self._known:
            at, sizes = self._pseudonyms.fraction(patient), self._fractions
            is_validation = at < sizes.test + sizes.validation
            later: Split = "validation" if is_validation else "train"
            self._known[patient] = "test" if at < sizes.test else later
        return self._known[patient]

    def keep(self) -> None:
        """Write the ledger; durable when this returns."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(self._known, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


def _read(path: Path) -> Mapping[str, Split]:
    try:
        found = json.loads(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        msg = f"the ledger of splits {path} cannot be read"
        raise SetupError(msg) from error
    if not isinstance(found, dict) or not set(found.values()) <= set(SPLITS):
        msg = f"{path} is no ledger of splits"
        raise SetupError(msg)
    return found
