"""Everything the page of one study shows, put together."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import sqlalchemy as sa

from dicom_node.index import Index
from dicom_node.schema import studies
from imaging.colour import is_grey
from imaging.errors import InputError, NotFound, PackageInvalid
from imaging.seg_masks import SegmentMasks
from imaging.windows import Preset, presets_of
from models.manifest import Manifest
from models.package import Package
from models.registry import Registry
from serving.assessments import AssessmentRecord, Assessments
from serving.journal import Journal
from serving.records import (
    DecisionRecord,
    Delivery,
    FindingRecord,
    Result,
    Workitem,
)
from serving.room.pictures import Pictures, Slices, default_window, overlays_of
from serving.room.prior import Change, EarlierFinding, changes
from serving.room.worklist import Line, Worklist
from serving.saved_objects import SavedMatch, SavedObject, SavedObjects
from serving.study_view import SeriesView, StudyDetail, StudyViews

_PRIORS_LOOKED_AT = 20
_EVIDENCE_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A series that can be scrolled through."""

    series_uid: str
    slices: int
    window: str
    presets: tuple[Preset, ...]
    grey: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCard:
    """One finding with where it is seen; places are slices of its series."""

    finding: FindingRecord
    model: Manifest | None
    same_model: bool
    place: int | None
    evidence: tuple[int, ...]
    changes: tuple[Change, ...]
    assessment: AssessmentRecord | None
    saved: tuple[SavedMatch, ...] = ()

    @property
    def calibration(self) -> str:
        """How probabilities were calibrated; empty when they were not."""
        figures = self.model.evaluation if self.model else {}
        return next((text for key, text in figures.items() if key.lower() == "calibration"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A series, and for each of its parts and each model why it was or was not read."""

    series: SeriesView
    decisions: tuple[DecisionRecord, ...]
    viewable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """The page of one study."""

    line: Line
    series: tuple[SeriesRow, ...]
    shown: Shown | None
    cards: tuple[FindingCard, ...]
    overlays: tuple[str, ...]
    results: tuple[Result, ...]
    deliveries: tuple[Delivery, ...]
    workitems: tuple[Workitem, ...]
    history: tuple[AssessmentRecord, ...]
    saved: tuple[SavedObject, ...]

    @property
    def opened_first(self) -> str:
        """The series that the full viewer opens first: our outlines, else the images shown here.

        A report without outlines would leave the viewer black.
        """
        wanted = self.cards[0].finding.model if self.cards else ""
        outlines = [r for r in self.results if r.instance_uid in self.overlays]
        outlines.sort(key=lambda result: result.model != wanted)
        if outlines:
            return outlines[0].series_uid
        return self.shown.series_uid if self.shown else ""

    @property
    def names(self) -> Mapping[str, str]:
        """What each finding is called, by tracking UID."""
        return {card.finding.tracking_uid: card.finding.concept for card in self.cards}


class StudyPages:
    """Builds pages; reads only."""

    def __init__(
        self,
        *,
        index: Index,
        journal: Journal,
        registry: Registry,
        assessments: Assessments,
        saved: SavedObjects,
        pictures: Pictures,
    ) -> None:
        self._index, self._journal, self._assessments = index, journal, assessments
        self._registry, self._pictures = registry, pictures
        self._saved = saved
        self._worklist, self._views = Worklist(index), StudyViews(index, journal)

    def page(self, study_uid: str, *, now: float, series_uid: str = "") -> StudyPage:
        """Return the page of a study, `series_uid` or the one with the first finding in view.

        Raises
        ------
        NotFound
            The study is not here.
        """
        detail = self._views.detail(study_uid)
        line = self._worklist.line(study_uid, now=now)
        assert line is not None
        rows = tuple(
            SeriesRow(
                series=series,
                decisions=tuple(d for d in detail.decisions if d.series_uid == series.series_uid),
                viewable=series.instances > series.results and self._has_pixels(series),
            )
            for series in detail.series
        )
        wanted = [series_uid, *(f.series_uid for f in line.findings)]
        earlier = self._earlier(line)
        history = self._assessments.history(study_uid)
        said = {r.tracking_uid: r for r in history if r.current and r.verdict != "withdrawn"}
        saved = self._saved.of_study(study_uid)
        return StudyPage(
            line=line,
            series=rows,
            shown=self._shown(study_uid, rows, wanted),
            cards=tuple(
                replace(
                    self._card(detail, f, earlier),
                    assessment=said.get(f.tracking_uid),
                    saved=_matches(saved, f.tracking_uid),
                )
                for f in line.findings
            ),
            overlays=overlays_of(detail.results),
            results=detail.results,
            deliveries=detail.deliveries,
            workitems=detail.workitems,
            history=history,
            saved=saved,
        )

    def _has_pixels(self, series: SeriesView) -> bool:
        return series.modality not in {"SR", "SEG", "PR", "KO", "DOC", "RTSTRUCT", "REG"}

    def _shown(
        self, study_uid: str, rows: Sequence[SeriesRow], wanted: Sequence[str]
    ) -> Shown | None:
        viewable = [row.series for row in rows if row.viewable]
        viewable.sort(key=lambda s: -s.instances)
        there = {series.series_uid for series in viewable}
        first = [uid for uid in wanted if uid in there]
        for uid in dict.fromkeys([*first, *(series.series_uid for series in viewable)]):
            try:
                slices = self._pictures.slices(study_uid, uid)
            except (NotFound, InputError):
                continue
            return Shown(
                series_uid=uid,
                slices=len(slices.headers),
                window=default_window(slices),
                presets=presets_of(slices.headers[0].series.modality),
                grey=is_grey(slices.headers[0]),
            )
        return None

    def _card(
        self, study: StudyDetail, finding: FindingRecord, earlier: Sequence[EarlierFinding]
    ) -> FindingCard:
        package = self._package(finding)
        try:
            slices = self._pictures.slices(study.study_uid, finding.series_uid)
        except (NotFound, InputError):
            slices = Slices(headers=())
        place = slices.place_of(finding.key_instance)
        return FindingCard(
            finding=finding,
            model=package.manifest if package else None,
            same_model=package is not None and finding.model_digest in {"", package.digest},
            place=place,
            evidence=self._evidence(study, finding, slices),
            changes=changes(finding, earlier),
            assessment=None,
        )

    def _package(self, finding: FindingRecord) -> Package | None:
        """Return the version that made a finding, or else the one that is served now."""
        for digest in (finding.model_digest, ""):
            with suppress(NotFound, PackageInvalid):
                return self._registry.get(finding.model, digest)
        return None

    def _evidence(
        self, study: StudyDetail, finding: FindingRecord, slices: Slices
    ) -> tuple[int, ...]:
        """Return slices that show the finding, spread over all that do."""
        uids = set(finding.evidence)
        if finding.segment_number is not None:
            keys = self._outlined(study, finding)
            places = [n for n, header in enumerate(slices.headers) if header.image_key in keys]
        else:
            places = [n for n, h in enumerate(slices.headers) if h.instance_uid in uids]
        step = max(1, len(places) // _EVIDENCE_SHOWN)
        return tuple(places[step // 2 :: step][:_EVIDENCE_SHOWN])

    def _segmentation(self, study: StudyDetail, finding: FindingRecord) -> SegmentMasks | None:
        """Return the masks of the segmentation that the finding is in."""
        for result in study.results:
            mine = (result.workitem_uid, result.model) == (finding.workitem_uid, finding.model)
            if mine and result.kind == "SEG":
                return self._pictures.masks(result.instance_uid)
        return None

    def _outlined(self, study: StudyDetail, finding: FindingRecord) -> frozenset[str]:
        """Return the keys of the images that the finding's segment lies on."""
        masks = self._segmentation(study, finding)
        if masks is None or finding.segment_number is None:
            return frozenset()
        return masks.images(finding.segment_number)

    def _earlier(self, line: Line) -> tuple[EarlierFinding, ...]:
        """Return findings of earlier studies of the same patient ID, newest study first."""
        study = line.study
        if not study.patient_id:
            return ()
        tenant, before = self._index.tenant, (study.study_date, study.study_time)
        query = (
            sa.select(studies.c.study_uid, studies.c.study_date, studies.c.study_time)
            .where(studies.c.tenant == tenant, studies.c.patient_id == study.patient_id)
            .where(studies.c.study_uid != study.study_uid)
            .order_by(studies.c.study_date.desc(), studies.c.study_time.desc())
        )
        with self._index.engine.connect() as db:
            rows = db.execute(query).all()
        older = [r for r in rows if r.study_date and (r.study_date, r.study_time) < before]
        return tuple(
            EarlierFinding(study_uid=row.study_uid, date=row.study_date, finding=finding)
            for row in older[:_PRIORS_LOOKED_AT]
            for finding in self._journal.current_findings(row.study_uid)
        )


def _matches(saved: Sequence[SavedObject], tracking_uid: str) -> tuple[SavedMatch, ...]:
    """Return what was saved of a finding, newest first."""
    return tuple(m for each in saved for m in each.matches if m.tracking_uid == tracking_uid)
