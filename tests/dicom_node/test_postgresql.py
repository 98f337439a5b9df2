"""The same on PostgreSQL, where several processes write at once."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

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
from tests.dicom_node.rig import free_port, image, in_parallel, listens, store, wait_for

_VERSIONS = Path("/usr/lib/postgresql")
_NO_SYNC = ("-c", "fsync=off", "-c", "shared_buffers=16MB")
STUDY, SERIES = derived_uid("study"), derived_uid("study", "series")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    binaries = sorted(_VERSIONS.glob("*/bin"))
    as_root = os.geteuid() == 0
    if not binaries or (as_root and shutil.which("runuser") is None):
        pytest.skip("PostgreSQL is not installed")
    prefix = ["runuser", "-u", "postgres", "--"] if as_root else []
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if as_root:
            shutil.chown(folder, "postgres")
        files = f"{folder}/db"
        initdb = [*prefix, str(binaries[-1] / "initdb"), "-D", files, "-U", "wetread", "-N"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        listen = ("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}")
        postgres = [str(binaries[-1] / "postgres"), "-D", files, "-p", str(port)]
        server = subprocess.Popen(
            [*prefix, *postgres, *listen, *_NO_SYNC], stderr=subprocess.DEVNULL, cwd=folder
        )
        wait_for(lambda: listens(port), seconds=20)
        time.sleep(0.5)  # it listens shortly before it answers
        yield f"postgresql://wetread@127.0.0.1:{port}/postgres"
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = schema.connect(url)
    in_parallel(4, lambda _: schema.upgrade(engine))
    yield engine
    with engine.begin() as connection:
        for table in schema.metadata.tables.values():
            connection.execute(sa.delete(table))
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
