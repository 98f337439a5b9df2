"""Whether files that are given away still hold what their sources say of people.

python -m scripts.check_identity SOURCES GIVEN: every DICOM file below SOURCES says what is looked
for, in every file below GIVEN. Names attributes and files of GIVEN, never what was found.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from imaging.errors import InputError
from imaging.header import read_dataset
from imaging.identity_check import Leak, identities_of, leaks


def found_in(sources: Path, given: Path) -> Iterator[tuple[Path, Leak]]:
    """Yield every leak and the file that it is in."""
    identities: dict[str, frozenset[str]] = defaultdict(frozenset)
    for path in _files(sources):
        try:
            source = read_dataset(path)
        except InputError:
            continue
        for keyword, pieces in identities_of(source).items():
            identities[keyword] |= pieces
    for path in _files(given):
        yield from ((path, leak) for leak in leaks(path.read_bytes(), identities))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def main() -> int:
    """Print what was found; 1 when anything was."""
    parser = argparse.ArgumentParser(prog="check_identity", description=__doc__)
    parser.add_argument("sources", type=Path, help="DICOM files as they were")
    parser.add_argument("given", type=Path, help="what was made of them")
    given = parser.parse_args()
    found = list(found_in(given.sources, given.given))
    for path, leak in found:
        print(f"{path.relative_to(given.given)}: {leak.keyword} ({leak.encoding})")
    files = sum(1 for _ in _files(given.given))
    print(f"{files} files searched, {len(found)} identities found")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
