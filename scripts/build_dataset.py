"""Make a data set for training of the cases that readers assessed, without identities.

python -m scripts.build_dataset -o OUT --key KEY: run again it writes only what is new. The key and
its ledger of splits are secrets: they stay apart from the data set.
"""

import argparse
import csv
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from dicom_node.audit.kinds import DESTINATION_MEDIA, SOURCE, Kind
from dicom_node.audit.message import Actor, AuditEvent
from imaging.errors import SetupError, WetreadError
from imaging.pseudonyms import kept_pseudonyms
from scripts.dataset_cases import CaseWriter, LeftOut
from scripts.dataset_faces import Faces, face_finder
from scripts.dataset_files import DESCRIPTION, Case, Dataset, Label, save
from scripts.dataset_selection import Chosen, Left, Wanted, selected
from scripts.dataset_sheet import sheet
from scripts.dataset_splits import Fractions, Splits
from serving.parts import Parts
from serving.settings import load

_CASES = "cases"
_COLUMNS = ("id", "patient", "split", "verdict", "target", "label", "image")
_ATTRIBUTES = ("sex", "age_band", "modality", "manufacturer", "model", "kernel", "site")


def build(
    parts: Parts, wanted: Wanted, options: argparse.Namespace, *, faces: Faces | None = None
) -> Dataset:
    """Write the data set and return it; with `faces` those are blackened.

    Raises
    ------
    SetupError
        Key, ledger or folder cannot be used, or no case is left.
    """
    _check_folder(options.output, options.key)
    found = list(selected(parts, wanted))
    chosen = [each for each in found if isinstance(each, Chosen)]
    left = [each for each in found if isinstance(each, Left)]
    pseudonyms = kept_pseudonyms(options.key)
    fractions = Fractions(test=options.test, validation=options.validation)
    splits = Splits(options.key.with_name(f"{options.key.name}.splits"), pseudonyms, fractions)
    writer = CaseWriter(
        parts=parts,
        pseudonyms=pseudonyms,
        folder=options.output,
        labels=labels_of(chosen),
        scanner=wanted.scanner,
        faces=faces,
    )
    cases = []
    for number, each in enumerate(chosen, start=1):
        try:
            split = splits.of(pseudonyms.patient(each.study.patient_id))
            splits.keep()
            _note(parts, each, options.output)
            cases.append(writer.write(each, split))
            print(f"{number}/{len(chosen)} {cases[-1].id} {split}")
        except LeftOut as error:
            left.append(Left(study_uid=each.study.study_uid, model=each.model, why=str(error)))
            print(f"{number}/{len(chosen)} left out: {error}")
    if not cases:
        _tell(left)
        msg = "no case is left: no data set is written"
        raise SetupError(msg)
    dataset = _described(cases, writer.labels, options)
    _tidy(options.output, dataset)
    (options.output / "table.csv").write_text(_table(dataset), encoding="utf-8")
    (options.output / "README.md").write_text(sheet(dataset, options.consent), encoding="utf-8")
    whole = save(options.output, dataset)
    _tell(left)
    print(f"{len(cases)} cases, version {whole.version}")
    return whole


def labels_of(chosen: Sequence[Chosen]) -> tuple[Label, ...]:
    """Return the values of the label images: 1, 2, ... in the order of names."""
    outlined = {
        each.finding.concept: each.finding.code
        for one in chosen
        if one.segmentation
        for each in one.assessed
    }
    return tuple(
        Label(value=value, name=name, code=outlined[name])
        for value, name in enumerate(sorted(outlined), start=1)
    )


def dry_run(parts: Parts, wanted: Wanted) -> int:
    """Tell what would be taken and why the rest would not; nothing is written."""
    found = list(selected(parts, wanted))
    chosen = [each for each in found if isinstance(each, Chosen)]
    for each in chosen:
        print(f"{each.study.study_uid} {each.model} {each.verdict}")
    _tell([each for each in found if isinstance(each, Left)])
    print(f"{len(chosen)} cases would be taken, unless their images forbid it")
    return 0


def _described(
    cases: Sequence[Case], labels: tuple[Label, ...], options: argparse.Namespace
) -> Dataset:
    shown = ("code", "finding", "model", "verdict", "since", "until", "modality", "scanner")
    told = {name: str(value) for name in shown if (value := getattr(options, name))}
    told |= {"faces": "removed"} if options.remove_faces else {}
    told |= {"test": str(options.test), "validation": str(options.validation)}
    return Dataset(
        name=options.name,
        labels=labels,
        targets=tuple(sorted({case.target for case in cases if case.target})),
        options=told,
        cases=tuple(sorted(cases, key=lambda case: case.id)),
    )


def _table(dataset: Dataset) -> str:
    lines: list[list[str]] = [[*_COLUMNS, *_ATTRIBUTES]]
    for case in dataset.cases:
        first = [case.id, case.patient, case.split, case.provenance.verdict, case.target or ""]
        row = [*first, case.label or "", case.image]
        lines.append([*row, *(case.attributes.get(name, "") for name in _ATTRIBUTES)])
    rows = _Rows()
    csv.writer(rows, lineterminator="\n").writerows(lines)
    return "".join(rows.texts)


class _Rows:
    """What `csv` writes to."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> None:
        """Take a row."""
        self.texts.append(text)


def _check_folder(output: Path, key: Path) -> None:
    if key.resolve().is_relative_to(output.resolve()):
        msg = "the key must not be in the data set"
        raise SetupError(msg)
    known = {DESCRIPTION, f".{DESCRIPTION}", _CASES, "table.csv", "README.md"}
    if output.exists() and {path.name for path in output.iterdir()} - known:
        msg = f"{output} holds something else than a data set"
        raise SetupError(msg)
    (output / _CASES).mkdir(parents=True, exist_ok=True)


def _tidy(output: Path, dataset: Dataset) -> None:
    """Remove cases that are not in the data set any more, and what a killed run left."""
    (output / DESCRIPTION).unlink(missing_ok=True)
    for folder in (output / _CASES).iterdir():
        if folder.name not in {case.id for case in dataset.cases}:
            shutil.rmtree(folder)


def _note(parts: Parts, chosen: Chosen, output: Path) -> None:
    """Say in the audit trail whose images leave, before they do."""
    process = parts.auditor.process
    who = Actor(user=process.user, role=SOURCE, asked=True)
    media = Actor(user=str(output), role=DESTINATION_MEDIA)
    study_uid = chosen.study.study_uid
    event = AuditEvent(kind=Kind.EXPORTED, actors=(who, media), study_uid=study_uid)
    parts.auditor.write(event)


def _tell(left: Sequence[Left]) -> None:
    for why, number in sorted(Counter(each.why for each in left).items()):
        print(f"{number} left out: {why}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_dataset", description=__doc__)
    add = parser.add_argument
    add("--settings", type=Path, help="settings file of the installation")
    add("-o", "--output", type=Path, required=True, help="folder of the data set")
    add("--key", type=Path, required=True, help="key file, made when there is none; keep it apart")
    add("--name", default="assessed cases", help="what the data set is called")
    add("--code", default="", help="SCHEME:VALUE of a finding, such as SCT:12738006")
    add("--finding", default="", help="part of a finding's name")
    add("--model", default="", help="name of the model")
    add("--verdict", action="append", choices=("accepted", "corrected", "rejected"))
    add("--since", default="", metavar="YYYYMMDD", help="studies of this day and later")
    add("--until", default="", metavar="YYYYMMDD", help="studies of this day and earlier")
    add("--modality", default="", help="such as MR")
    add("--scanner", default="", help="part of manufacturer and model")
    add("--test", type=float, default=0.2, help="share of patients for testing (0.2)")
    add("--validation", type=float, default=0.1, help="share of patients for validation (0.1)")
    add("--opt-out", type=Path, help="file of patient IDs to leave out, one a line")
    add("--consent", default="not stated", help="on what ground the data may be used")
    add("--remove-faces", action="store_true", help="blacken faces in images of heads")
    add("--dry-run", action="store_true", help="only tell what would be taken and why not")
    return parser


def main() -> int:
    """Build, or tell what would be built."""
    options = _parser().parse_args()
    try:
        listed = options.opt_out.read_text(encoding="utf-8").split("\n") if options.opt_out else ()
        wanted = Wanted(
            code=options.code,
            finding=options.finding,
            model=options.model,
            verdicts=tuple(options.verdict or Wanted().verdicts),
            date_from=options.since,
            date_to=options.until,
            modality=options.modality,
            scanner=options.scanner,
            opted_out=frozenset(filter(None, (line.strip() for line in listed))),
        )
        parts = Parts(load(options.settings))
        if options.dry_run:
            return dry_run(parts, wanted)
        with face_finder() if options.remove_faces else nullcontext() as faces:
            build(parts, wanted, options, faces=faces)
    except (WetreadError, OSError) as error:
        print(f"build_dataset: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
