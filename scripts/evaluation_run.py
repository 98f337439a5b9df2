"""What a model package says about a case of a data set, by the code that serves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.errors import InputError, ModelError
from imaging.findings import Mask
from imaging.frames import read_headers
from imaging.read import load_volume
from imaging.stack import Stack, stacks_of
from imaging.volume import Volume
from models.infer import predict
from models.interpret import interpret
from models.package import Package
from models.runtime import Sessions
from scripts.dataset_files import Case, Dataset, DatasetInvalid
from scripts.evaluation_metrics import Agreement, agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlined:
    """One structure of one case: how the answer agrees, or why there is none."""

    label: str
    agreement: Agreement | None = None
    abstained: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """One case: a mask beside the truth for each structure, or probabilities of classes.

    `failed` is the code of what kept the package from answering. `voxels`, `truth` and `answer`
    are for a picture.
    """

    case: Case
    outlined: tuple[Outlined, ...] = ()
    probabilities: Mapping[str, float] | None = None
    abstained: str = ""
    failed: str = ""
    voxels: NDArray[np.float32] | None = None
    truth: NDArray[np.uint8] | None = None
    answer: Mask | None = None

    @property
    def worst_dice(self) -> float:
        """The lowest Dice of the case; 0 where no structure has one."""
        return min((o.agreement.dice for o in self.outlined if o.agreement), default=0.0)


def answered(
    package: Package, case: Case, dataset: Dataset, *, folder: Path, sessions: Sessions
) -> Answered:
    """Run a package on a case; what it cannot read or fails at is an answer too.

    Raises
    ------
    DatasetInvalid
        Image and label do not fit, or the case has no DICOM images.
    """
    try:
        volume = volume_of_case(package, case, folder)
        prediction = predict(package, volume, sessions=sessions, masks={})
    except (InputError, ModelError) as error:
        return Answered(case=case, failed=error.code)
    found = interpret(prediction, package, volume, result_key=case.id, masks={})
    if case.label is None:
        (finding,) = found.findings
        classes = {p.concept.meaning: p.probability for p in finding.probabilities}
        why = finding.abstained.code if finding.abstained else ""
        return Answered(case=case, probabilities=None if why else classes, abstained=why)
    truth = label_of_case(case, folder, volume)
    masks = {segment.number: segment.mask for segment in found.segments}
    outlined, union = [], np.zeros(volume.grid.shape, np.bool_)
    values = {label.name: label.value for label in dataset.labels}
    for finding in found.findings:
        name = finding.concept.meaning
        mask = masks.get(finding.segment_number or 0)
        if name not in values:
            continue
        if mask is None:
            code = finding.abstained.code if finding.abstained else ""
            outlined.append(Outlined(label=name, abstained=code))
            continue
        union |= mask
        agrees = agreement(mask, truth == values[name], volume.grid.spacing_mm)
        outlined.append(Outlined(label=name, agreement=agrees))
    return Answered(
        case=case, outlined=tuple(outlined), voxels=volume.voxels, truth=truth, answer=union
    )


def volume_of_case(package: Package, case: Case, folder: Path) -> Volume:
    """Return the images of a case as one volume, in the unit that the package wants.

    Raises
    ------
    DatasetInvalid
        It has no DICOM images that make one sound volume.
    """
    paths = [folder / name for name in case.files if name.endswith(".dcm")]
    stacks = stacks_of([header for path in sorted(paths) for header in read_headers(path)])
    if len(stacks) != 1 or not isinstance(stacks[0], Stack):
        msg = f"case {case.id} has no sound DICOM volume"
        raise DatasetInvalid(msg)
    return load_volume(stacks[0], unit=package.manifest.needs.unit)


def label_of_case(case: Case, folder: Path, volume: Volume) -> NDArray[np.uint8]:
    """Return the values of a case's label image on the grid of its volume.

    Raises
    ------
    DatasetInvalid
        The label does not lie on the image.
    """
    image = sitk.ReadImage(str(folder / str(case.label)))
    label: NDArray[np.uint8] = sitk.GetArrayFromImage(image)
    if label.shape != volume.grid.shape or not np.allclose(
        image.GetOrigin(), volume.grid.origin_mm, atol=1e-2
    ):
        msg = f"case {case.id}: the label does not lie on the image"
        raise DatasetInvalid(msg)
    return label
