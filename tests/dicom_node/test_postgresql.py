"""The same on PostgreSQL, where several processes write at once."""

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.arrival import Arrival, ArrivalSettings
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.records import Added, StudyFilter
from imaging.errors import Conflict, OtherPatient
from imaging.identity import derived_uid
from tests.dicom_node.rig import image, in_parallel, store

STUDY, SERIES = derived_uid("study"), derived_uid("study", "series")


@pytest.fixture
def engine(postgresql_url: str) -> Iterator[sa.Engine]:
    engine = schema.connect(postgresql_url)
    in_parallel(4, lambda _: schema.upgrade(engine))
    yield engine
    engine.dispose()


def test_migrations_give_the_tables_that_the_code_uses(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_instances_are_taken_in_once_by_all_processes(engine: sa.Engine, archive: Archive) -> None:
    nodes = [Ingest(archive, Index(engine), time.time) for _ in range(2)]  # one lock each
    in_parallel(4, lambda i: [store(nodes[i % 2], image(n)) for n in range(i, i + 10)])
    assert Index(engine).study(STUDY).received == 13
    assert Index(engine).counts().instances == 13
    assert store(nodes[0], image(5)).added is Added.DUPLICATE
    with pytest.raises(Conflict):
        store(nodes[0], image(5, StudyDescription="Neck"))
    with pytest.raises(OtherPatient):
        store(nodes[1], image(99, PatientID="P2"))
    assert {aside.code for aside in Index(engine).set_aside()} == {"CONFLICT", "OTHER_PATIENT"}


def test_arrival_and_lookup(ingest: Ingest, index: Index) -> None:
    store(ingest, image(1, StudyDescription="a\0b"))
    arrival = Arrival(
        index,
        lambda _: {SERIES: 1},
        lambda _: None,
        settings=ArrivalSettings(),
        clock=lambda: 1e12,
    )
    arrival.step()
    assert index.study(STUDY).completeness == "confirmed"
    assert index.studies(StudyFilter(text="jane", modality="CT", state="complete")).total == 1
    (series,) = index.series_of(STUDY)
    assert series.instances == 1
