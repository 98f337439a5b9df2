"""Which slice shows a finding best."""

import numpy as np
from numpy.typing import NDArray

from imaging.findings import Finding, Report


def key_slice(report: Report) -> int:
    """Return the slice index of the image that stands for the whole report."""
    findings = sorted(
        report.findings, key=lambda f: (f.abstained is not None, f.key_instance is None)
    )
    return slice_of(findings[0], report) if findings else len(report.instances) // 2


def slice_of(finding: Finding, report: Report) -> int:
    """Return the slice index of the image to look at for `finding`.

    Its key instance decides, unless its segment lies elsewhere; then the slice with the largest
    area of the segment; then the middle of the evidence; else the middle of the stack. An instance
    of many slices tells none.
    """
    areas = _areas(finding, report)
    places = {str(h.instance_uid): i for i, h in enumerate(report.instances) if h.part is None}
    key = places.get(finding.key_instance or "")
    if key is not None and (areas is None or areas[key]):
        return key
    if areas is not None:
        return int(np.argmax(areas))
    deciding = sorted(places[uid] for uid in finding.evidence if uid in places)
    return deciding[len(deciding) // 2] if deciding else len(report.instances) // 2


def _areas(finding: Finding, report: Report) -> NDArray[np.int64] | None:
    """Pixels of the finding's segment in each slice; ``None`` when it has no segmented voxel."""
    segment = next((s for s in report.segments if s.number == finding.segment_number), None)
    if segment is None or not segment.mask.any():
        return None
    areas: NDArray[np.int64] = segment.mask.sum(axis=(1, 2))
    return areas
