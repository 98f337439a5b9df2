"""What the tests of `serving` share: a whole installation in a folder, with models made in code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pydicom import Dataset, dcmread

from dicom_node.peers import Peer
from imaging.identity import ae_title
from serving.analyser import build_pipeline
from serving.courier import Courier
from serving.parts import Parts
from serving.pipeline import Pipeline
from serving.records import DecisionRecord, Result, Workitem
from serving.settings import Settings
from serving.tickets import Plan, StudyTicket
from serving.worker import build_courier
from tests.builders import ct_series, mr_series
from tests.dicom_node.rig import store
from tests.models.networks import SEGMENTATION, segmenter, write_package

SHAPE = (5, 16, 16)
MODEL = "bright-tissue"
NEEDY = SEGMENTATION.replace('name = "bright-tissue"', 'name = "needy"').replace(
    'version = "1.0"', 'version = "1.0"\nuses = ["bright-tissue"]'
)


def ball(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float64]:
    """Dark, with a bright block in the middle."""
    voxels = np.zeros(shape)
    s, r, c = (size // 4 or 1 for size in shape)
    voxels[s:-s, r:-r, c:-c] = 1000
    return voxels


def mr(shape: tuple[int, int, int] = SHAPE, **header: object) -> list[Dataset]:
    return mr_series(shape, voxels=ball(shape), **header)


def ct(shape: tuple[int, int, int] = SHAPE, **header: object) -> list[Dataset]:
    return ct_series(shape, voxels=ball(shape), **header)


def breaking() -> onnx.ModelProto:
    """A network that loads, and fails whenever it is run."""
    shape = numpy_helper.from_array(np.array([7, 11, 13], np.int64), "shape")
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 5)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    graph = helper.make_graph([node], "breaking", [image], [result], [shape])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def peer(name: str = "pacs", *, port: int = 1, query: bool = False, deliver: bool = True) -> Peer:
    return Peer(
        name=name,
        ae_title=ae_title(name.upper()),
        host="127.0.0.1",
        port=port,
        query=query,
        deliver=deliver,
    )


class Bench:
    """An installation; the steps of the work are called by hand, in the order of the workflow."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(data_folder=folder / "data", **settings)
        self.parts = Parts(self.settings)
        self.journal, self.index = self.parts.journal, self.parts.index
        self.pipeline: Pipeline = build_pipeline(self.parts)

    def install(self, manifest: str = SEGMENTATION, network: onnx.ModelProto | None = None) -> None:
        source = self.settings.data_folder.parent / "package"
        self.parts.registry.add(write_package(source, manifest, network or segmenter()))

    def restarted(self, **changes: Any) -> None:
        """Go on as a new process does, with changed settings."""
        self.settings = Settings(**{**dict(self.settings), **changes})
        self.parts = Parts(self.settings)
        self.journal, self.index = self.parts.journal, self.parts.index
        self.pipeline = build_pipeline(self.parts)

    def receive(self, images: Sequence[Dataset], *, sender: str = "PACS") -> str:
        for image in images:
            store(self.parts.ingest, image, calling_ae=sender)
        return str(images[0].StudyInstanceUID)

    def ticket(self, study_uid: str, **changes: Any) -> StudyTicket:
        """Return the ticket of what is there of a study, and note its workitem."""
        digest = self.index.content_digest(study_uid)
        ticket = StudyTicket(
            workitem_uid=f"{study_uid}-{digest[:12]}",
            study_uid=study_uid,
            content_digest=digest,
            completeness="confirmed",
            arrival_text="the PACS counts the same instances",
            short={},
        )
        ticket.update(changes)  # type: ignore[typeddict-item]
        self.journal.schedule(
            ticket["workitem_uid"], study_uid=study_uid, content_digest=digest, priority=5
        )
        return ticket

    def run(self, ticket: StudyTicket) -> Plan:
        plan = self.pipeline.plan(ticket)
        for assignment in plan["assignments"]:
            self.pipeline.read(assignment)
        self.pipeline.conclude(ticket)
        return plan

    def analysed(self, images: Sequence[Dataset], **ticket: Any) -> str:
        study_uid = self.receive(images)
        self.run(self.ticket(study_uid, **ticket))
        return study_uid

    def workitem(self, study_uid: str) -> Workitem:
        return self.journal.workitems(study_uid=study_uid)[0]

    def decision(self, study_uid: str, model: str = MODEL) -> DecisionRecord:
        (found,) = (d for d in self.journal.decisions(study_uid) if d.model == model)
        return found

    def results(self, study_uid: str) -> dict[str, Result]:
        """Return the current results by kind."""
        found = self.journal.results(study_uid=study_uid)
        return {r.kind: r for r in found if r.superseded_by is None}

    def dataset(self, result: Result) -> Dataset:
        stored = self.index.instance(result.instance_uid)
        assert stored is not None
        return dcmread(self.parts.archive.file(stored.path))

    def courier(self) -> Courier:
        return build_courier(self.parts)


def said(ds: Dataset) -> str:
    """Return every text and code value of a structured report, a line each."""
    told = ("TextValue", "CodeValue", "LongCodeValue", "CodeMeaning")
    return "\n".join(str(element.value) for element in ds.iterall() if element.keyword in told)
