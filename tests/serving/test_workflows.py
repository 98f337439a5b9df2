"""The whole order of work, in a real worker process, to destinations that are up, down or gone."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imaging.errors import SetupError
from imaging.identity import AETitle
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver
from serving.assessments import AssessmentRequest
from serving.records import Workitem
from serving.settings import load
from serving.worker import run
from tests.builders import mr_series
from tests.dicom_node.rig import free_port, wait_for
from tests.models.networks import SEGMENTATION, endless
from tests.serving.bench import Bench, ball, breaking, ct, mr, said
from tests.serving.test_operations import complete

soon = partial(wait_for, seconds=60)
_TOML = """
data_folder = "data"
[delivery]
first_retry_s = 0.3
longest_retry_s = 0.6
[[peers]]
name = "pacs"
ae_title = "RECEIVER"
host = "127.0.0.1"
port = {pacs}
query = true
deliver = true
[[peers]]
name = "second"
ae_title = "RECEIVER"
host = "127.0.0.1"
port = {second}
query = true
deliver = true
"""


class Site:
    """An installation with two destinations; the second is down until it is started."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.second = folder, free_port()
        self.receivers: list[Receiver] = []
        self._workers: list[subprocess.Popen[bytes]] = []
        self.pacs = self.receiver(free_port())
        self._settings = folder / "wetread.toml"
        self._settings.write_text(_TOML.format(pacs=self.pacs.dicom_port, second=self.second))
        self.bench = Bench(folder, peers=load(self._settings, {}).peers)
        self.bench.install()

    def receiver(self, port: int) -> Receiver:
        plan = PacsPlan(
            folder=self._folder / f"received-{port}",
            dicom_port=port,
            http_port=0,
            forward_to=AETitle("NOBODY"),
            forward_port=1,
        )
        self.receivers.append(Receiver(plan))
        return self.receivers[-1]

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "serving", "--settings", self._settings, "worker"]
        with (self._folder / "worker.log").open("ab") as log:
            self._workers.append(subprocess.Popen(command, stderr=log))

    def kill_worker(self) -> None:
        self._workers[-1].kill()
        self._workers.pop().wait()

    def stop(self) -> None:
        for worker in self._workers:
            worker.terminate()
            worker.wait(10)
        for receiver in self.receivers:
            receiver.stop()

    def schedule(self, images: Any, **changes: Any) -> str:
        study = self.bench.receive(images)
        self.complete(study, **changes)
        return study

    def complete(self, study: str, **changes: Any) -> None:
        """By quiet time: these destinations take results only and hold no images."""
        complete(self.bench, study, **{"completeness": "quiet", "text": "quiet", **changes})

    def ended(self, study: str) -> Workitem:
        def item() -> Workitem:
            return self.bench.workitem(study)

        soon(lambda: item().state in {"COMPLETED", "CANCELED"})
        return item()

    def states(self, study: str) -> Counter[tuple[str, str]]:
        items = self.bench.journal.deliveries(study_uid=study)
        return Counter((d.destination, d.state) for d in items)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    made.start_worker()
    yield made
    made.stop()


def images(number: int, **header: object) -> list[Any]:
    """An MR study of its own."""
    uid = f"1.2.3.{number}"
    return mr(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", **header)


def test_results_reach_every_destination_that_is_up(site: Site):
    study = site.schedule(images(1))
    assert site.ended(study).state == "COMPLETED"
    soon(lambda: site.states(study)["pacs", "proven"] == 3)
    results = {r.instance_uid for r in site.bench.results(study).values()}
    assert site.pacs.instances(study) == results
    soon(lambda: site.states(study)["second", "waiting"] == 3)

    # It comes up while no worker runs; meanwhile one study is canceled and another waits.
    site.kill_worker()
    second = site.receiver(site.second)
    canceled, waiting = site.schedule(images(8)), site.schedule(images(9))
    site.bench.parts.operations.cancel(site.bench.workitem(canceled).workitem_uid)
    site.start_worker()
    soon(lambda: site.states(study)["second", "proven"] == 3)
    assert second.instances(study) == results
    assert site.ended(waiting).state == "COMPLETED"
    assert site.bench.workitem(canceled).state == "CANCELED"
    assert not site.bench.results(canceled)


def test_the_same_content_is_analysed_once(site: Site):
    study = site.schedule(images(2))
    site.complete(study)
    site.ended(study)
    assert len(site.bench.journal.workitems(study_uid=study)) == 1


def test_what_a_reader_says_is_delivered_as_results_are(site: Site):
    """Two verdicts in a moment make one document."""
    study = site.schedule(images(11))
    site.ended(study)
    parts, findings = site.bench.parts, site.bench.journal.current_findings(study)
    for verdict in ({"verdict": "accepted"}, {"verdict": "rejected", "reason": "WRONG_OUTLINE"}):
        wanted = AssessmentRequest.model_validate(verdict)
        made = parts.assessments.assess(findings, wanted, study_uid=study, reader="local")
        parts.operations.file_assessment(study, made[0].id)
    soon(lambda: site.states(study)["pacs", "proven"] == 4)
    filed = [r for r in site.bench.results(study).values() if r.kind == "ASSESSMENT"]
    assert len(filed) == 1
    assert filed[0].instance_uid in site.pacs.instances(study)
    assert "WRONG_OUTLINE" in said(site.bench.dataset(filed[0]))


def test_a_notice_is_delivered(site: Site):
    study = site.schedule(ct(StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.1"))
    assert site.ended(study).reason_code == "NO_MODEL"
    soon(lambda: site.states(study)["pacs", "proven"] == 1)
    assert len(site.pacs.instances(study)) == 1


def test_late_slices_bring_new_results(site: Site):
    header = {"StudyInstanceUID": "1.2.5", "SeriesInstanceUID": "1.2.5.1"}
    series = mr_series((7, 16, 16), voxels=ball((7, 16, 16)), **header)
    study = site.schedule(series[:5])
    site.ended(study)
    site.complete(site.bench.receive(series[5:]))
    site.ended(study)
    soon(lambda: site.states(study)["pacs", "proven"] == 6)
    assert len(site.bench.results(study)) == 3


def test_an_incomplete_series_is_told(site: Site):
    study = site.schedule(images(6), completeness="limit", text="text", short={"1.2.3.6.1": (5, 9)})
    item = site.ended(study)
    assert (item.state, item.reason_code) == ("COMPLETED", "INCOMPLETE")


def test_what_nobody_foresaw_ends_the_workitem_and_can_be_done_again(site: Site):
    study = site.bench.receive(images(7))
    stored = site.bench.index.instances_of(study)[0]
    path = site.bench.parts.archive.file(stored.path)
    hidden = path.rename(path.with_suffix(".hidden"))
    site.complete(study)
    item = site.ended(study)
    assert (item.state, item.reason_code) == ("CANCELED", "INTERNAL_ERROR")
    assert "see the log" in item.reason_text
    hidden.rename(path)
    again = site.bench.parts.operations.retry(item.workitem_uid)
    assert site.ended(study).workitem_uid == again.workitem_uid
    assert site.ended(study).state == "COMPLETED"
    soon(lambda: site.states(study)["pacs", "proven"] == 3)


def test_a_failing_model_does_not_hold_up_another(site: Site):
    for name, network in (("failing", breaking()), ("slow", endless())):
        manifest = SEGMENTATION.replace('name = "bright-tissue"', f'name = "{name}"')
        limited = manifest.replace("[inference]", "[inference]\ntime_limit_s = 2")
        site.bench.install(limited, network)
    study = site.schedule(images(10))
    item = site.ended(study)
    assert item.state == "COMPLETED"
    assert item.reason_code in {"TIME_LIMIT", "INFERENCE_FAILED"}  # of whichever failed last
    for name in ("failing", "slow"):
        site.bench.parts.registry.remove(name)
    results = site.bench.journal.results(study_uid=study)
    assert {(r.model, r.kind) for r in results} == {
        ("failing", "NOTICE"),
        ("slow", "NOTICE"),
        ("bright-tissue", "SEG"),
        ("bright-tissue", "SR"),
        ("bright-tissue", "KEY_IMAGE"),
    }
    soon(lambda: site.states(study)["pacs", "proven"] == 5)


def test_a_second_worker_needs_a_slot_of_its_own(empty: Bench):
    with (
        empty.parts.slots.taken("worker-0"),
        pytest.raises(SetupError, match="another process works as worker-0"),
    ):
        run(empty.settings, threading.Event())
