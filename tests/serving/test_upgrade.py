"""The data folder of older code, with work in flight, is opened by today's code and finished."""

import subprocess
import sys
import tarfile
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node import schema
from imaging.identity import AETitle
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver
from serving.settings import load
from tests.dicom_node.rig import free_port, wait_for
from tests.serving.bench import Bench, mr
from tests.serving.test_operations import complete

soon = partial(wait_for, seconds=280)
_FIXTURE = Path(__file__).parents[1] / "fixtures" / "upgrade" / "state.tar.xz"
_WAITING, _HALF_READ, _SCHEDULED, _ARRIVING = "1.2.3.1", "1.2.3.2", "1.2.3.50", "1.2.3.51"
_TOML = """
data_folder = "data"
[delivery]
first_retry_s = 0.2
longest_retry_s = 0.5
look_s = 0.2
identity = "ignore"
[[peers]]
name = "pacs"
ae_title = "RECEIVER"
host = "127.0.0.1"
port = {port}
query = true
deliver = true
"""


@pytest.mark.timeout(600)
def test_work_in_flight_of_the_first_schema_is_finished(tmp_path: Path):
    with tarfile.open(_FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    file = tmp_path / "data" / "wetread.sqlite"
    with schema.connect(f"sqlite:///{file}").connect() as db:
        assert db.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "0001"

    plan = PacsPlan(
        folder=tmp_path / "pacs",
        dicom_port=free_port(),
        http_port=1,
        forward_to=AETitle("NOBODY"),
        forward_port=1,
    )
    settings = tmp_path / "wetread.toml"
    settings.write_text(_TOML.format(port=plan.dicom_port))
    pacs, bench = Receiver(plan), Bench(tmp_path, peers=load(settings, {}).peers)
    before = {result.instance_uid for result in bench.journal.results(study_uid=_WAITING)}
    uid = {"StudyInstanceUID": _ARRIVING, "SeriesInstanceUID": f"{_ARRIVING}.1"}
    bench.receive(mr(**uid))  # all five slices; two are here
    complete(bench, _ARRIVING)

    command = [sys.executable, "-m", "serving", "--settings", settings, "worker"]
    with (tmp_path / "log").open("ab") as log, subprocess.Popen(command, stderr=log) as worker:
        soon(lambda: Counter(d.state for d in bench.journal.deliveries()) == {"proven": 12})
        worker.kill()
    assert Counter(item.state for item in bench.journal.workitems()) == {"COMPLETED": 4}
    for study in (_WAITING, _HALF_READ, _SCHEDULED, _ARRIVING):
        results = {result.instance_uid for result in bench.journal.results(study_uid=study)}
        assert pacs.instances(study) == results
        assert Counter(r.kind for r in bench.journal.results(study_uid=study)) == {
            "SEG": 1,
            "SR": 1,
            "KEY_IMAGE": 1,
        }
    assert {r.instance_uid for r in bench.journal.results(study_uid=_WAITING)} == before
    pacs.stop()
