"""From what readers correct to a better model in service, on phantoms, in one go.

    python -m scripts.loop_demo

A first model is served; a new scanner shows nodules otherwise; a simulated reader corrects what it
gets wrong. A data set is built of that, a network goes on learning with it, and runs in the shadow.
The gate refuses a worse version and passes the better one, which then answers; at the end the first
one is back. Every step is one of the commands and interfaces that people use.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from imaging.errors import SetupError, WetreadError
from imaging.header import read_header
from imaging.read import load_volume
from imaging.stack import Stack, stacks_of
from models.manifest_file import FILE_NAME
from scripts.dataset_cases import write_nifti
from scripts.dataset_files import Case, Dataset, Label, Provenance, file_digest, save
from scripts.loop.phantoms import Phantom, Scanner, phantom
from scripts.loop.reader import corrected, is_right
from scripts.loop.site import MODEL, Site, run

_PARTS = Path(__file__).with_name("loop")
_FIRST, _READ, _SHADOWED = 10, 24, 4  # patients: learnt from first, assessed, seen by both
_TEST_SHARE, _TEST_PATIENTS = 0.35, 5


class Loop:
    """One run in `folder`, on a running `site`."""

    def __init__(self, folder: Path, site: Site) -> None:
        self._folder, self._site = folder, site
        self._began = time.monotonic()

    def go(self) -> None:
        """Go through the loop.

        Raises
        ------
        SetupError
            A step does not give what it must.
        """
        first = self._serve_a_first_model()
        self._read_and_correct()
        dataset = self._build_dataset()
        better = self._candidate("1.1", start=self._run("1.0") / "checkpoint.pt", data=dataset)
        worse = self._candidate("1.2", start=None, data=dataset, steps=2)
        self._shadow(better)
        self._promote(worse, dataset, refused=True)
        self._promote(better, dataset)
        self._expect_answer(_FIRST + _READ + _SHADOWED, better)
        self._site.models("rollback", MODEL, "--why", "the loop ends where it began")
        self._expect_answer(_FIRST + _READ + _SHADOWED + 1, first)
        self._say("rolled back: the first model answers again")

    def _serve_a_first_model(self) -> str:
        folder = self._folder / "first-cases"
        cases = [self._first_case(folder, number) for number in range(_FIRST)]
        labels = (Label(value=1, name="Nodule"),)
        save(folder, Dataset(name="scanner Alpha", labels=labels, cases=tuple(cases)))
        digest = self._candidate("1.0", start=None, data=folder)
        self._site.start()
        self._say(f"the first model is served, {digest[:12]}: it learnt on scanner Alpha")
        return digest

    def _first_case(self, folder: Path, number: int) -> Case:
        inside = folder / str(number)
        made = phantom(number, "Alpha", inside)
        (stack,) = stacks_of([read_header(path) for path in made.study.paths])
        assert isinstance(stack, Stack)
        volume = load_volume(stack)
        write_nifti(volume.voxels, volume.grid, inside / "image.nii.gz")
        write_nifti(made.truth.astype("u1"), volume.grid, inside / "label.nii.gz")
        return Case(
            id=f"first-{number}",
            patient=f"first-{number}",
            image=f"{number}/image.nii.gz",
            label=f"{number}/label.nii.gz",
            attributes={"modality": "MR"},
            split="train",
            provenance=Provenance(verdict="accepted"),
            files={f"{number}/{path.name}": file_digest(path) for path in inside.iterdir()},
        )

    def _read_and_correct(self) -> None:
        made = [self._phantom(number, "Beta") for number in range(_FIRST, _FIRST + _READ)]
        accepted = 0
        for each, study in zip(made, self._site.analysed(made), strict=True):
            ours = dcmread(BytesIO(self._site.result(study, "SEG")))
            if is_right(ours, each):
                self._site.accept(study)
                accepted += 1
            else:
                self._site.store(study, corrected(ours, each))
        self._say(f"{_READ} studies of scanner Beta read; {_READ - accepted} outlines corrected")

    def _build_dataset(self) -> Path:
        output = self._folder / "dataset"
        words = ["-m", "scripts.build_dataset", "--settings", str(self._site.settings),
                 "-o", str(output), "--key", str(self._folder / "secret" / "key"),
                 "--test", str(_TEST_SHARE), "--validation", "0"]  # fmt: skip
        end, said = time.monotonic() + 60, ""
        while f"{_READ} cases," not in said:  # what was stored is recognised within seconds
            if time.monotonic() > end:
                msg = f"not every assessed study becomes a case:\n{said}"
                raise SetupError(msg)
            time.sleep(1)
            said = run(*words)
        self._say(f"data set: {said.strip().splitlines()[-1]}")
        return output

    def _candidate(self, version: str, *, start: Path | None, data: Path, steps: int = 150) -> str:
        """Train, export and add a version; return its digest as far as it is shown."""
        card = self._folder / f"card-{version}"
        card.mkdir(parents=True, exist_ok=True)
        text = (_PARTS / "nodule.toml").read_text(encoding="utf-8")
        (card / FILE_NAME).write_text(text.replace("{version}", version), encoding="utf-8")
        settings = (_PARTS / "training.toml").read_text(encoding="utf-8")
        filled = settings.format(
            start=start or "", dataset=data, package=card, steps=steps, seed=len(version)
        )
        (card / "training.toml").write_text(filled, encoding="utf-8")
        run("-m", "scripts.train", str(card / "training.toml"), "-o", str(self._run(version)))
        package = self._folder / f"package-{version}"
        run("-m", "scripts.export_onnx", str(self._run(version)),
            "--manifest", str(card / FILE_NAME), "-o", str(package))  # fmt: skip
        digest = self._site.add(package)
        self._say(f"version {version} trained for {steps} steps, exported and added: {digest[:12]}")
        return digest

    def _run(self, version: str) -> Path:
        return self._folder / f"run-{version}"

    def _shadow(self, digest: str) -> None:
        self._site.models("shadow", f"{MODEL}@{digest}")
        first = _FIRST + _READ
        made = [self._phantom(n, "Beta") for n in range(first, first + _SHADOWED)]
        self._site.analysed(made)
        end = time.monotonic() + 60
        while self._site.compared() < _SHADOWED:
            if time.monotonic() > end:
                msg = "the shadow does not read"
                raise SetupError(msg)
            time.sleep(0.5)
        self._say(self._site.models("compare", MODEL).strip())

    def _promote(self, digest: str, dataset: Path, *, refused: bool = False) -> None:
        said = run("-m", "scripts.promote", MODEL, digest, "--dataset", str(dataset),
                   "--settings", str(self._site.settings), "--why", "the loop",
                   refused=refused)  # fmt: skip
        shown = ("report", "refused", MODEL)
        self._say("\n         ".join(x for x in said.splitlines() if x.startswith(shown)))

    def _expect_answer(self, number: int, digest: str) -> None:
        """Send another study and look which version its report names."""
        (study,) = self._site.analysed([self._phantom(number, "Beta")])
        named = {finding.model_digest for finding in study.findings}
        report = self._site.result(study, "SR")
        if len(named) != 1 or not named.pop().startswith(digest) or digest.encode() not in report:
            msg = f"the next study was not answered by {digest}"
            raise SetupError(msg)
        self._say(f"the next study is answered by {digest[:12]}, and its SR says so")

    def _phantom(self, number: int, scanner: Scanner) -> Phantom:
        return phantom(number, scanner, self._folder / "studies" / str(number))

    def _say(self, words: str) -> None:
        print(f"[{time.monotonic() - self._began:4.0f} s] {words}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the loop; 1 when a step does not give what it must."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("loop-data"), help="a new folder")
    folder: Path = parser.parse_args(arguments).folder.resolve()
    if folder.exists():
        print(f"{folder} exists already; name another folder, or remove it", file=sys.stderr)
        return 2
    site = Site(folder, test_patients=_TEST_PATIENTS)
    try:
        Loop(folder, site).go()
    except (WetreadError, OSError) as error:
        print(f"the loop failed: {error}", file=sys.stderr)
        return 1
    finally:
        site.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
