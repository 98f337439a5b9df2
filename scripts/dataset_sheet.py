"""The datasheet of a data set: what is in it, how it came to be, and what it is not for."""

from collections import Counter
from collections.abc import Iterable

from scripts.dataset_files import SPLITS, Dataset


def sheet(dataset: Dataset, consent: str) -> str:
    """Return the README of a data set as Markdown."""
    cases = dataset.cases
    patients = len({case.patient for case in cases})
    readers = sorted({reader for case in cases for reader in case.provenance.readers})
    names = ("sex", "age_band", "modality", "manufacturer", "model", "kernel", "site")
    lines = [
        f"# {dataset.name}",
        "",
        f"{len(cases)} cases of {patients} patients. Format: `dataset.json`, `table.csv`.",
        "",
        "## Composition",
        "",
        "| what | cases |",
        "|---|---|",
        *_rows("split", (case.split for case in cases), SPLITS),
        *_rows("verdict", (case.provenance.verdict for case in cases)),
        *(r for n in names for r in _rows(n, (c.attributes.get(n, "") for c in cases))),
        *_rows("class", (case.target or "" for case in cases)),
        "",
        "Labels: " + (", ".join(f"{lb.value} {lb.name}" for lb in dataset.labels) or "none"),
        "",
        "## How it was made",
        "",
        "Findings of a model that a reader accepted, corrected or rejected. A label is the model's",
        "outline where it was accepted, the reader's where it was corrected, empty where a reader",
        "said that nothing is there. Cases that no reader assessed are not in it, so it holds no",
        "finding that the model missed, unless a reader added it: it measures that poorly.",
        "",
        f"Assessed by {len(readers)} readers (pseudonyms): {', '.join(readers)}",
        "",
        "Made with: " + ", ".join(f"{k} = {v}" for k, v in sorted(dataset.options.items())),
        "",
        "## Persons",
        "",
        f"Ground for its use and consent: {consent}",
        "",
        "De-identified after PS3.15 Annex E; faces are not removed. Who withdraws is put on the",
        "list of those who opted out; the data set made next does not hold their cases.",
        "",
        "## Intended use",
        "",
        "Training and testing of models for research. Not for diagnosis, and not for looking for",
        "the persons that it comes from.",
    ]
    return "\n".join(lines) + "\n"


def _rows(what: str, values: Iterable[str], order: tuple[str, ...] = ()) -> list[str]:
    counts = Counter(value for value in values if value)
    return [f"| {what} {name} | {counts[name]} |" for name in (order or sorted(counts))]
