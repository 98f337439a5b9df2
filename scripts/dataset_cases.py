"""One case of a data set on disk: DICOM without identity, image and label as NIfTI."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from imaging.attributes import text
from imaging.deidentified_values import words_of
from imaging.deidentify import Deidentifier
from imaging.errors import InputError, WetreadError
from imaging.findings import Mask
from imaging.geometry import Grid
from imaging.header import read_dataset
from imaging.identity_check import identities_of, leaks
from imaging.pseudonyms import Pseudonyms
from imaging.read import load_volume
from imaging.reasons import Reason
from imaging.seg_masks import SegmentMasks
from imaging.stack import Stack
from imaging.verdict import Verdict
from imaging.volume import Volume
from scripts.dataset_faces import Faces, FaceUncertain
from scripts.dataset_files import Case, Label, Provenance, Split, file_digest
from scripts.dataset_selection import Assessed, Chosen
from serving.parts import Parts
from serving.studies import StudyReader

_CASE = "case.json"
_DECADE = 10
_OLDEST_BAND = 90


class LeftOut(WetreadError):
    """The case cannot be given away, or says nothing certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseWriter:
    """Writes cases into a folder; a case that is there whole is not written again."""

    parts: Parts
    pseudonyms: Pseudonyms
    folder: Path
    labels: tuple[Label, ...]
    scanner: str = ""
    faces: Faces | None = None

    def case_id(self, chosen: Chosen) -> str:
        """Return the name that belongs to a case's content."""
        said = [f"{e.assessment.id} {e.finding.tracking_uid}" for e in chosen.assessed]
        values = [f"{label.value} {label.name}" for label in self.labels]
        seg = chosen.segmentation.instance_uid if chosen.segmentation else ""
        content = self.parts.index.content_digest(chosen.study.study_uid)
        parts = [content, chosen.series_uid, chosen.stack, chosen.model, seg, *said, *values]
        parts += ["faces removed"] if self.faces else []
        return self.pseudonyms.case(*parts)

    def write(self, chosen: Chosen, split: Split) -> Case:
        """Return the case, its files durable under their names.

        Raises
        ------
        LeftOut
            Why it does not become a case.
        """
        target = self.folder / "cases" / self.case_id(chosen)
        if (target / _CASE).is_file():
            case = Case.model_validate_json((target / _CASE).read_text("utf-8"))
            if case.split == split:
                return case
        building = target.with_name(f".{target.name}")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        try:
            case = self._written(chosen, split, building)
        except InputError as error:
            shutil.rmtree(building)
            msg = f"its images cannot be read: {error.code}"
            raise LeftOut(msg) from error
        except LeftOut:
            shutil.rmtree(building)
            raise
        (building / _CASE).write_text(case.model_dump_json(indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        building.rename(target)
        return case

    def _written(self, chosen: Chosen, split: Split, building: Path) -> Case:
        stack = self._stack(chosen)
        volume = load_volume(stack)
        hidden = self._hidden(stack, volume)
        first = self._dicom(chosen, stack, building / "dicom", hidden=hidden)
        if self.scanner.lower() not in _scanner(first).lower():
            msg = "it is from another scanner"
            raise LeftOut(msg)
        voxels = volume.voxels
        if hidden is not None:
            voxels = np.where(hidden, voxels.min(), voxels)
        write_nifti(voxels, volume.grid, building / "image.nii.gz")
        outlines = chosen.segmentation is not None
        if outlines:
            label = self._label(chosen, volume)
            write_nifti(label, volume.grid, building / "label.nii.gz")
        case_id = self.case_id(chosen)
        inside = f"cases/{case_id}"
        files = {
            f"{inside}/{path.relative_to(building).as_posix()}": file_digest(path)
            for path in sorted(building.rglob("*"))
            if path.is_file()
        }
        return Case(
            id=case_id,
            patient=self.pseudonyms.patient(chosen.study.patient_id),
            image=f"{inside}/image.nii.gz",
            label=f"{inside}/label.nii.gz" if outlines else None,
            target=None if outlines else target_of(chosen),
            attributes=self._attributes(first),
            split=split,
            provenance=self._provenance(chosen),
            files=files,
        )

    def _stack(self, chosen: Chosen) -> Stack:
        study_uid = chosen.study.study_uid
        reader = StudyReader(
            self.parts.index, self.parts.archive, self.parts.settings.geometry.tolerances
        )
        found = [
            candidate.part
            for candidate in reader.candidates(study_uid, study_uid)
            if (candidate.series_uid, str(candidate.number)) == (chosen.series_uid, chosen.stack)
        ]
        if len(found) != 1 or not isinstance(found[0], Stack):
            msg = "its images are no sound volume now"
            raise LeftOut(msg)
        if found[0].source_grid is not None:
            msg = "its slices lean, so its outlines do not lie on the straightened image"
            raise LeftOut(msg)
        return found[0]

    def _hidden(self, stack: Stack, volume: Volume) -> Mask | None:
        """Return what would show a face, if faces are to be taken out and there may be one."""
        if self.faces is None:
            return None
        try:
            return self.faces.hidden(stack, volume)
        except FaceUncertain as error:
            raise LeftOut(str(error)) from error

    def _dicom(self, chosen: Chosen, stack: Stack, folder: Path, *, hidden: Mask | None) -> Dataset:
        """Write the images without identity, judged one by one, and return the first's header."""
        folder.mkdir()
        cleaner = Deidentifier(
            pseudonyms=self.pseudonyms,
            patient_id=chosen.study.patient_id,
            forbidden=words_of([chosen.study.patient_name]),
        )
        paths = list(dict.fromkeys(h.path for h in stack.instances if h.path is not None))
        for number, path in enumerate(paths, start=1):
            clean = cleaner.instance(path, hidden=_of_file(path, stack, hidden))
            if isinstance(clean, Reason):
                raise LeftOut(clean.text)
            if leaks(clean, identities_of(read_dataset(path))):
                msg = "what was made of its images still names somebody"
                raise LeftOut(msg)
            (folder / f"{number:04d}.dcm").write_bytes(clean)
        return dcmread(BytesIO((folder / "0001.dcm").read_bytes()), stop_before_pixels=True)

    def _label(self, chosen: Chosen, volume: Volume) -> NDArray[np.uint8]:
        label = np.zeros(volume.grid.shape, np.uint8)
        values = {known.name: known.value for known in self.labels}
        for each in chosen.assessed:
            if each.assessment.verdict is Verdict.REJECTED:
                continue  # nothing is there
            masks, segment = self._outline(chosen, each)
            known = set(masks.images(segment))
            if not known <= {header.image_key for header in volume.instances}:
                msg = "an outline lies on images that are not in the volume"
                raise LeftOut(msg)
            value = values[each.finding.concept]
            for index, mask in _planes(masks, segment, volume):
                label[index][mask & (label[index] == 0)] = value
        return label

    def _outline(self, chosen: Chosen, each: Assessed) -> tuple[SegmentMasks, int]:
        corrected = each.assessment.object_uid
        uid = corrected or (chosen.segmentation.instance_uid if chosen.segmentation else "")
        stored = self.parts.index.instance(uid)
        if stored is None:
            msg = "its segmentation is not here"
            raise LeftOut(msg)
        masks = SegmentMasks(dataset=dcmread(self.parts.archive.file(stored.path)))
        if not corrected and each.finding.segment_number is not None:
            return masks, each.finding.segment_number
        finding = each.finding
        fitting = [
            number
            for number, segment in masks.segments.items()
            if segment.tracking_uid == finding.tracking_uid or segment.label == finding.concept
        ]
        if len(fitting) != 1:
            msg = "it is not certain which segment is meant by a correction"
            raise LeftOut(msg)
        return masks, fitting[0]

    def _attributes(self, first: Dataset) -> Mapping[str, str]:
        found = {
            "sex": text(first, "PatientSex"),
            "age_band": _age_band(text(first, "PatientAge")),
            "modality": text(first, "Modality"),
            "manufacturer": text(first, "Manufacturer"),
            "model": text(first, "ManufacturerModelName"),
            "kernel": text(first, "ConvolutionKernel"),
            "site": self.pseudonyms.site(self.parts.settings.tenant),
        }
        return {name: value for name, value in found.items() if value}

    def _provenance(self, chosen: Chosen) -> Provenance:
        finding, said = chosen.assessed[0].finding, [e.assessment for e in chosen.assessed]
        uids = {a.object_uid for a in said if a.object_uid}
        if chosen.segmentation:
            uids.add(chosen.segmentation.instance_uid)
        stored = [found for uid in sorted(uids) if (found := self.parts.index.instance(uid))]
        return Provenance(
            model=finding.model,
            model_version=finding.model_version,
            model_digest=finding.model_digest,
            verdict=Verdict(chosen.verdict).value,
            reason=next((a.reason for a in said if a.reason), ""),
            assessments=tuple(sorted(a.id for a in said)),
            readers=tuple(sorted({self.pseudonyms.reader(a.reader) for a in said})),
            results={self.pseudonyms.uid(each.instance_uid): each.sha256 for each in stored},
        )


def _of_file(path: Path, stack: Stack, hidden: Mask | None) -> Mask | None:
    """Return what is hidden in each frame of a file."""
    if hidden is None:
        return None
    shown = [(h.frame or 0, at) for at, h in enumerate(stack.instances) if h.path == path]
    if len(shown) != max(stack.instances[shown[0][1]].image.frames, 1):
        msg = "its face cannot be taken out: a file holds other images too"
        raise LeftOut(msg)
    return hidden[[at for _, at in sorted(shown)]]


def _planes(masks: SegmentMasks, segment: int, volume: Volume) -> Iterator[tuple[int, Mask]]:
    """Yield (slice, mask) wherever a segment is outlined."""
    for index, header in enumerate(volume.instances):
        yield from ((index, mask) for n, mask in masks.on(header.image_key) if n == segment)


def target_of(chosen: Chosen) -> str:
    """Return the class that a reader confirmed or named.

    Raises
    ------
    LeftOut
        There is none: a rejection does not say what it is instead.
    """
    names = {
        each.assessment.instead.meaning if each.assessment.instead else each.finding.concept
        for each in chosen.assessed
        if each.assessment.verdict is not Verdict.REJECTED
    }
    if len(names) != 1:
        msg = "there is not one class that a reader confirmed"
        raise LeftOut(msg)
    return names.pop()


def write_nifti(voxels: NDArray[np.float32] | NDArray[np.uint8], grid: Grid, path: Path) -> None:
    """Write an image (slice, row, column) on `grid` as NIfTI."""
    image = sitk.GetImageFromArray(voxels)
    slice_mm, row_mm, column_mm = grid.spacing_mm
    image.SetSpacing((column_mm, row_mm, slice_mm))
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def _scanner(first: Dataset) -> str:
    return f"{text(first, 'Manufacturer')} {text(first, 'ManufacturerModelName')}"


def _age_band(age: str) -> str:
    if not age:
        return ""
    years = int(age[:3]) if age.endswith("Y") else 0
    start = min(years // _DECADE * _DECADE, _OLDEST_BAND)
    return "90+" if start == _OLDEST_BAND else f"{start}-{start + _DECADE - 1}"
