"""Compare a candidate with the served version on a locked test set, and promote it if it passes.

    python -m scripts.promote NAME DIGEST --dataset FOLDER [--why REASON]

DIGEST is the beginning of the candidate's. The report and its page are kept beside the packages,
also of a candidate that is refused; the exit status is then 1.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging.errors import SetupError, WetreadError
from models.evidence import Evidence, Margins, content_digest, evidence_path, write_evidence
from models.package import Package
from models.registry import Registry
from models.stages import Version, found
from scripts.comparison import Both, compare
from scripts.dataset_files import Dataset, DatasetInvalid, load, verify
from scripts.evaluate import evaluate
from scripts.promotion_page import page
from scripts.training.provenance import read_provenance
from serving.commands.stages import DIGEST_SHOWN, audited, change_stage
from serving.parts import Parts, account
from serving.settings import Settings
from serving.settings import load as load_settings

_SPLIT = "test"
Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which data set, and figures of `scripts/evaluate.py` that are there already."""

    dataset: Path
    candidate_report: Path | None = None
    served_report: Path | None = None
    device: str = "auto"


def gather(settings: Settings, name: str, wanted: str, *, asked: Asked) -> Evidence:
    """Compare a candidate with the served version, keep the report, and return it.

    Raises
    ------
    SetupError
        The data set is damaged or not the locked one, a report is about something else, or there
        is nothing to compare with.
    """
    registry = Parts(settings).registry
    candidate = registry.get(name, found(registry.versions(name), wanted, name=name).digest)
    served = registry.get(name, _other(registry, name, candidate).digest)
    dataset = _locked(asked.dataset, settings.promotion.gate(name).dataset_version)
    ours = _figures(candidate, dataset, asked.candidate_report, asked=asked)
    theirs = _figures(served, dataset, asked.served_report, asked=asked)
    gate = settings.promotion.gate(name)
    outcome = compare(_paired(ours, theirs), gate.margins)
    learnt = list(_learnt(candidate, dataset, gate.margins))
    evidence = Evidence(
        model=name,
        candidate=candidate.digest,
        served=served.digest,
        dataset=dataset.name,
        dataset_version=dataset.version,
        split=_SPLIT,
        margins=gate.margins,
        at=time.time(),
        who=account(),
        cases=len(ours["per_case"]),
        silent=outcome.silent,
        rows=outcome.rows,
        pairs=outcome.pairs,
        notes=tuple(_notes(candidate, served, dataset)),
        refused=(*learnt, *outcome.refused),
    ).sealed()
    verdict = "refused" if evidence.refused else "passed"
    audited(
        settings,
        f"model {name}: compare {candidate.digest} with {served.digest} on data set "
        f"{dataset.version}: {verdict}, report {evidence.digest}",
    )
    write_evidence(registry.folder, evidence, page(evidence))
    return evidence


def main(arguments: list[str] | None = None) -> int:
    """Compare and promote; 1 when the candidate is refused, 2 when nothing could be compared."""
    options = _parser().parse_args(arguments)
    asked = Asked(
        dataset=options.dataset,
        candidate_report=options.candidate_report,
        served_report=options.served_report,
        device=options.device,
    )
    try:
        settings = load_settings(options.settings)
        evidence = gather(settings, options.name, options.digest, asked=asked)
        path = evidence_path(
            settings.models_folder,
            options.name,
            candidate=evidence.candidate,
            served=evidence.served,
        )
        print(f"report {evidence.digest[:DIGEST_SHOWN]}: {path.with_suffix('.html')}")
        for reason in evidence.refused:
            print(f"refused: {reason}", file=sys.stderr)
        if evidence.refused:
            return 1
        chosen = f"{options.name}@{evidence.candidate}"
        return change_stage(settings, "promote", chosen, why=options.why)
    except (WetreadError, OSError) as error:
        print(f"promote: {error}", file=sys.stderr)
        return 2


def _other(registry: Registry, name: str, candidate: Package) -> Version:
    served = registry.measure(name)
    if served is None or served.digest == candidate.digest:
        msg = f"no other version of {name} was ever served: wetread models promote needs no report"
        raise SetupError(msg)
    return served


def _locked(folder: Path, version: str) -> Dataset:
    """Return the data set, every file compared with its digest."""
    dataset = load(folder)
    if version not in {"", dataset.version}:
        msg = f"the data set is version {dataset.version}, {version} is locked"
        raise SetupError(msg)
    if damaged := list(verify(folder, dataset)):
        raise DatasetInvalid("; ".join(damaged))
    return dataset


def _figures(package: Package, dataset: Dataset, stored: Path | None, *, asked: Asked) -> Report:
    """Return what a version says of every case: measured now, or as it was stored."""
    if stored is None:
        report, _ = evaluate(package.folder, asked.dataset, split=_SPLIT, device=asked.device)
        return report
    try:
        report = json.loads(stored.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{stored} cannot be read: {error}"
        raise SetupError(msg) from error
    wanted = {
        "digest": content_digest(report),
        "model_digest": package.digest,
        "dataset_version": dataset.version,
        "split": _SPLIT,
    }
    if wrong := [key for key, value in wanted.items() if report.get(key) != value]:
        msg = f"{stored} does not count, its {' and '.join(wrong)} differ: evaluate anew"
        raise SetupError(msg)
    return dict(report)


def _paired(ours: Report, theirs: Report) -> list[Both]:
    lines = {line["id"]: line for line in ours["per_case"]}
    return [Both(lines[line["id"]], line) for line in theirs["per_case"]]


def _learnt(candidate: Package, dataset: Dataset, margins: Margins) -> list[str]:
    """Return what speaks against the candidate in where it comes from."""
    patients = {case.patient for case in dataset.cases if case.split == _SPLIT}
    learnt = read_provenance(candidate.folder).everybody()
    if seen := patients & learnt:
        return [f"the candidate learnt from {len(seen)} of the {len(patients)} test patients"]
    if margins.provenance and not learnt:
        return ["the candidate does not say whom it learnt from"]
    return []


def _notes(candidate: Package, served: Package, dataset: Dataset) -> list[str]:
    """Return what a reader of the report must know."""
    patients = {case.patient for case in dataset.cases if case.split == _SPLIT}
    notes = []
    if not read_provenance(candidate.folder).everybody():
        notes.append("The candidate does not say whom it learnt from.")
    if patients & read_provenance(served.folder).everybody():
        notes.append("The served version learnt from test patients, which flatters it.")
    return notes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="promote", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="the model")
    parser.add_argument("digest", help="beginning of the candidate's digest, or its version")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--why", default="", help="the reason, for history and audit trail")
    for version in ("candidate", "served"):
        parser.add_argument(
            f"--{version}-report",
            type=Path,
            metavar="FILE",
            help=f"report.json of scripts.evaluate on the {version} version",
        )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings of Wetread")
    return parser


if __name__ == "__main__":
    sys.exit(main())
