"""What a stored study amounts to: its stacks, its traits, and how it arrived."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pydicom import Dataset

from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.routing import Candidate, Rule, Traits
from imaging.frames import read_headers
from imaging.header import InstanceHeader, read_dataset
from imaging.mr import weighting
from imaging.needs import Need, misfits
from imaging.reasons import Reason, reason
from imaging.region import regions_named, regions_of
from imaging.stack import Stack, Unusable, stacks_of
from imaging.tolerances import DEFAULT, Tolerances
from serving.recent import Recent
from serving.tickets import StudyTicket

_KEPT = 4
# Not images: documents, results and plans that share a study with images.
_NOT_IMAGES = frozenset(
    (
        "SR",
        "SEG",
        "PR",
        "KO",
        "DOC",
        "RTSTRUCT",
        "RTPLAN",
        "RTDOSE",
        "REG",
        "AU",
        "ECG",
        "HD",
        "RWV",
    )
)


def traits_of(index: Index, study_uid: str) -> Traits:
    """Return what rules look at; our own results do not count."""
    study = index.study(study_uid)
    series = [s for s in index.series_of(study_uid) if s.instances > s.results]
    return Traits(
        modalities=frozenset(s.modality for s in series),
        regions=frozenset(
            region
            for s in series
            for region in regions_named(s.body_part, s.description, study.description)
        ),
        sender=study.sender,
        description=study.description,
    )


class StudyReader:
    """Reads the headers of stored studies and sorts them into stacks."""

    def __init__(self, index: Index, archive: Archive, tolerances: Tolerances = DEFAULT) -> None:
        self._index, self._archive, self._tolerances = index, archive, tolerances
        self._recent: Recent[tuple[Candidate, ...]] = Recent(_KEPT)

    def candidates(self, study_uid: str, content_digest: str) -> tuple[Candidate, ...]:
        """Return every part of every received image series of one content of a study."""
        return self._recent.get(content_digest, lambda: self._read(study_uid))

    def traits(self, study_uid: str) -> Traits:
        """Return what rules look at."""
        return traits_of(self._index, study_uid)

    def _read(self, study_uid: str) -> tuple[Candidate, ...]:
        by_series: dict[str, list[InstanceHeader]] = defaultdict(list)
        for instance in self._index.instances_of(study_uid):
            if instance.is_content:
                headers = read_headers(self._archive.file(instance.path))
                by_series[headers[0].series.series_uid].extend(headers)
        return tuple(
            candidate
            for headers in by_series.values()
            if headers[0].series.modality not in _NOT_IMAGES
            for candidate in series_candidates(headers, self._tolerances)
        )


def series_candidates(
    headers: list[InstanceHeader], tolerances: Tolerances = DEFAULT
) -> tuple[Candidate, ...]:
    """Return the parts of one series as candidates for models."""
    series_uid = headers[0].series.series_uid
    return tuple(
        Candidate(series_uid=series_uid, number=number, part=part)
        for number, part in enumerate(stacks_of(headers, tolerances))
    )


def source_dataset(header: InstanceHeader) -> Dataset:
    """Return the whole header of a stored instance: patient and study of a result come from it."""
    assert header.path is not None
    return read_dataset(header.path)


def shortfall(ticket: StudyTicket, series_uid: str) -> Reason | None:
    """Return why a series is not complete, if it is not."""
    if series_uid not in ticket["short"]:
        return None
    have, expected = ticket["short"][series_uid]
    return reason("INCOMPLETE", have=have, expected=expected)


def arrival_notes(ticket: StudyTicket) -> tuple[Reason, ...]:
    """Return what a reader must know about how the study was found complete."""
    if ticket["completeness"] == "confirmed":
        return ()
    return (reason("COMPLETENESS_NOT_CONFIRMED", detail=ticket["arrival_text"]),)


def main_part(candidates: Sequence[Candidate]) -> Candidate:
    """Return the part with most images: what the study is about."""
    return max(candidates, key=lambda candidate: len(candidate.part.instances))


def why_not(
    candidates: Sequence[Candidate], needs: Mapping[str, Need], rule: Rule
) -> tuple[Reason, ...]:
    """Return why no model read a study: what holds for its main part first, then for the others.

    `needs` are those of the installed models. A sound main part that fits none comes with what it
    lacks for the model that it fits best.
    """
    if not candidates:
        return (reason("NO_IMAGES"),)
    main = main_part(candidates)
    ordered = (main, *(candidate for candidate in candidates if candidate is not main))
    refusals = dict.fromkeys(why for c in ordered if (why := _refusal(c)))
    if _refusal(main) or not isinstance(main.part, Stack):
        return tuple(refusals)
    lacking = [misfits(need, main.part) for name, need in needs.items() if rule.allows(name)]
    if not needs:
        return (reason("NO_MODEL_INSTALLED"), *refusals)
    if not lacking:
        return (reason("NO_MODEL_ALLOWED", rule=rule.name), *refusals)
    what = _subject(main.part.instances[0])
    return (reason("NO_MODEL", what=what), *min(lacking, key=len), *refusals)


def _subject(header: InstanceHeader) -> str:
    modality = header.series.modality
    shown = (modality, *regions_of(header), weighting(header) if modality == "MR" else "")
    return " ".join(filter(None, shown))


def _refusal(candidate: Candidate) -> Reason | None:
    if candidate.shortfall:
        return candidate.shortfall
    return candidate.part.reason if isinstance(candidate.part, Unusable) else None
