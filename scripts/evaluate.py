"""Measure a model package on a split of a data set, by the code that serves it.

python -m scripts.evaluate MODEL_PACKAGE DATASET -o OUT writes report.json and report.html.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from imaging.errors import SetupError, WetreadError
from models.evidence import content_digest
from models.package import Package, read_package
from models.runtime import open_sessions
from scripts.dataset_files import SPLITS, Case, Dataset, DatasetInvalid, load, verify
from scripts.evaluation_metrics import (
    Estimate,
    brier,
    estimate,
    expected_calibration_error,
    ranked,
    reliability,
)
from scripts.evaluation_page import page
from scripts.evaluation_run import Answered, answered

_SEED = 20240131
_GROUPS = ("scanner", "sex", "age_band", "site")
Figures = dict[str, dict[str, dict[str, Any]]]


def report_on(
    package: Package, dataset: Dataset, cases: Sequence[Answered], *, split: str
) -> dict[str, Any]:
    """Return every figure of an evaluation; abstentions and failures are counted, not hidden."""
    silent = Counter(why for case in cases for why in _silences(case))
    failed = Counter(case.failed for case in cases if case.failed)
    report: dict[str, Any] = {
        "model": f"{package.manifest.name} {package.manifest.version}",
        "model_digest": package.digest,
        "dataset": dataset.name,
        "dataset_version": dataset.version,
        "split": split,
        "seed": _SEED,
        "cases": len(cases),
        "answered": sum(1 for case in cases if not case.failed and not _all_silent(case)),
        "abstained": dict(silent),
        "failed": dict(failed),
        "figures": _outline_figures(cases) | _class_figures(cases, dataset),
        "per_case": [_line(case) for case in cases],
    }
    classified = _classified(cases, dataset)
    if classified:
        bins = reliability(*_table(classified, dataset))
        report["reliability"] = [asdict(each) for each in bins]
        report["expected_calibration_error"] = expected_calibration_error(bins)
    return report


def groups_of(case: Case) -> Mapping[str, str]:
    """Return which groups a case counts in, by kind."""
    known = case.attributes
    scanner = f"{known.get('manufacturer', '')} {known.get('model', '')}".strip()
    names = {"scanner": scanner} | {kind: known.get(kind, "") for kind in _GROUPS[1:]}
    return {kind: name or "unknown" for kind, name in names.items()}


def _outline_figures(cases: Sequence[Answered]) -> Figures:
    values: dict[str, dict[str, list[tuple[float, str]]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        groups = ["all", *(f"{kind}: {name}" for kind, name in groups_of(case.case).items())]
        for measure, value in _measured(case):
            for group in groups:
                values[measure][group].append((value, case.case.patient))
    return {
        measure: {
            group: asdict(estimate([v for v, _ in rows], [p for _, p in rows], seed=_SEED))
            for group, rows in by_group.items()
        }
        for measure, by_group in values.items()
    }


def _measured(case: Answered) -> Iterator[tuple[str, float]]:
    for each in case.outlined:
        agrees = each.agreement
        if agrees is None:
            continue
        yield f"Dice, {each.label}", agrees.dice
        yield f"volume error in ml, {each.label}", agrees.error_ml
        if agrees.hd95_mm is not None:
            yield f"HD95 in mm, {each.label}", agrees.hd95_mm
        if agrees.error_percent is not None:
            yield f"volume error in %, {each.label}", agrees.error_percent


def _class_figures(cases: Sequence[Answered], dataset: Dataset) -> Figures:
    found: Figures = {}
    everyone = _classified(cases, dataset)
    sets = {"all": everyone}
    for kind in _GROUPS:
        for name in sorted({groups_of(case.case)[kind] for case in everyone}):
            inside = [case for case in everyone if groups_of(case.case)[kind] == name]
            sets[f"{kind}: {name}"] = inside
    for group, members in sets.items():
        for measure, value in _class_measures(members, dataset):
            found.setdefault(measure, {})[group] = asdict(value)
    return found


def _class_measures(cases: Sequence[Answered], dataset: Dataset) -> Iterator[tuple[str, Estimate]]:
    if not cases:
        return
    probabilities, truth = _table(cases, dataset)
    patients = np.asarray([case.case.patient for case in cases])
    said = probabilities.argmax(axis=1)
    for index, name in enumerate(dataset.targets):
        positive, called = truth == index, said == index
        yield (
            f"AUROC, {name}",
            ranked(probabilities[:, index], positive, patients.tolist(), seed=_SEED),
        )
        yield f"sensitivity, {name}", _share(called[positive], patients[positive])
        yield f"specificity, {name}", _share(~called[~positive], patients[~positive])
    yield "accuracy", _share(said == truth, patients)
    yield "Brier score", _share(brier(probabilities, truth), patients)


def _share(values: Any, patients: Any) -> Estimate:
    return estimate(np.asarray(values, np.float64).tolist(), patients.tolist(), seed=_SEED)


def _classified(cases: Sequence[Answered], dataset: Dataset) -> list[Answered]:
    return [case for case in cases if case.probabilities and case.case.target in dataset.targets]


def _table(cases: Sequence[Answered], dataset: Dataset) -> tuple[Any, Any]:
    """Return probabilities, (case, class), of which classes that are no target are left out."""
    rows = [[(case.probabilities or {}).get(t, 0.0) for t in dataset.targets] for case in cases]
    truth = [dataset.targets.index(str(case.case.target)) for case in cases]
    return np.asarray(rows, np.float64), np.asarray(truth, np.intp)


def _silences(case: Answered) -> Iterator[str]:
    yield from filter(None, (case.abstained, *(each.abstained for each in case.outlined)))


def _all_silent(case: Answered) -> bool:
    return not case.probabilities and not any(each.agreement for each in case.outlined)


def _line(case: Answered) -> dict[str, Any]:
    return {
        "id": case.case.id,
        "patient": case.case.patient,
        "groups": dict(groups_of(case.case)),
        "outlined": [asdict(each) for each in case.outlined],
        "target": case.case.target,
        "probabilities": dict(case.probabilities or {}),
        "abstained": case.abstained,
        "failed": case.failed,
    }


def _worst_first(case: Answered) -> tuple[float, str]:
    if case.case.label is not None:
        return case.worst_dice, case.case.id
    return (case.probabilities or {}).get(str(case.case.target), 0.0), case.case.id


def evaluate(
    model: Path, folder: Path, *, split: str, device: str
) -> tuple[dict[str, Any], list[Answered]]:
    """Run a package on every case of a split and return the report and the cases, worst first.

    Raises
    ------
    SetupError
        The data set is damaged or has no such case, or the package needs another one.
    ModelError
        The package is broken.
    """
    package, dataset = read_package(model), load(folder)
    if package.manifest.uses:
        msg = (
            f"{package.manifest.name} needs {', '.join(package.manifest.uses)}: not supported here"
        )
        raise SetupError(msg)
    if package.manifest.needs.others:
        msg = f"{package.manifest.name} reads several series at once: not supported here"
        raise SetupError(msg)
    if damaged := list(verify(folder, dataset)):
        raise DatasetInvalid("; ".join(damaged))
    wanted = [case for case in dataset.cases if case.split == split]
    if not wanted:
        msg = f"the data set has no case to {split}"
        raise SetupError(msg)
    sessions, cases = open_sessions(device, threads=0), []
    for number, case in enumerate(wanted, start=1):
        cases.append(answered(package, case, dataset, folder=folder, sessions=sessions))
        print(f"{number}/{len(wanted)} {case.id}")
    cases.sort(key=_worst_first)
    report = report_on(package, dataset, cases, split=split)
    return report | {"digest": content_digest(report)}, cases


def main() -> int:
    """Evaluate and write the report."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("model", type=Path, help="folder of the model package")
    parser.add_argument("dataset", type=Path, help="folder of the data set")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the report")
    parser.add_argument("--split", choices=SPLITS, default="test", help="which cases (test)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    options = parser.parse_args()
    try:
        report, cases = evaluate(
            options.model, options.dataset, split=options.split, device=options.device
        )
        options.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=1, allow_nan=False)
        (options.output / "report.json").write_text(text + "\n", encoding="utf-8")
        (options.output / "report.html").write_text(page(report, cases), encoding="utf-8")
    except (WetreadError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    print(f"{report['cases']} cases, {report['answered']} answered: {options.output}/report.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
