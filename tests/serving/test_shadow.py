"""A version reads in the shadow of the served one: compared, never seen, never in the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
import sqlalchemy as sa

from dicom_node import schema
from dicom_node.schema_shadow import shadow_readings as table
from imaging.errors import Conflict
from models.stages import By, Stage
from serving.__main__ import main as wetread
from serving.analyser import build_shadow
from serving.analyser_process import AnalyserProcess
from serving.sections import RetentionSettings
from serving.shadow.comparison import Classes, Comparison, Measured, Outline
from serving.shadow.readings import Reading, Said
from serving.shadow.statistics import figures, kappa
from serving.shadow.versions import comparisons
from serving.worker import build_shadow_runner
from tests.dicom_node.rig import wait_for
from tests.models.networks import SEGMENTATION, published, segmenter, write_package
from tests.serving.bench import MODEL, Bench, ball, breaking, mr
from tests.serving.test_api import Web, close, problem

_KILLED = """
import os, signal, sys
from pathlib import Path
from serving.parts import Parts
from serving.settings import Settings
from serving.worker import build_shadow_runner
parts = Parts(Settings.model_validate_json(sys.argv[1]))
begin = parts.shadow_readings.begin
def killed(*arguments):
    begin(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
parts.shadow_readings.begin = killed
build_shadow_runner(parts).look()
"""


def coarse() -> onnx.ModelProto:
    """A network whose outlines are one voxel too large."""
    node = onnx.helper.make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=[3] * 3, pads=[1] * 6, strides=[1] * 3
    )
    return published([node], [None] * 5, [None] * 5)


class Shade(Bench):
    """An installation with a served version and one in its shadow."""

    def shadow(self, network: onnx.ModelProto | None = None, version: str = "1.1") -> str:
        manifest = SEGMENTATION.replace('version = "1.0"', f'version = "{version}"')
        folder = self.settings.data_folder.parent / version
        package = write_package(folder, manifest, network or coarse())
        digest = self.parts.registry.add(package, Stage.CANDIDATE).digest
        self.parts.registry.shadow(MODEL, digest, By(who="anna"))
        return digest

    def study(self) -> str:
        study_uid = self.analysed(mr())
        close(self, study_uid)
        return study_uid

    def look(self) -> int:
        """Make the readings in this process."""
        runner, reader = build_shadow_runner(self.parts), build_shadow(self.parts, self.pipeline)
        number = 0
        while (found := runner._next()) is not None:
            assert self.parts.shadow_readings.begin(*found)
            said = Said.model_validate(reader.read(found[0]))
            self.parts.shadow_readings.keep(found[0], said)
            number += 1
        return number

    def figures(self, digest: str):
        return comparisons(self.parts.registry, self.parts.shadow_readings, MODEL, wanted=digest)[0]

    def everything_else(self) -> list[object]:
        """Return all rows but those of shadow readings, and all files of the archive."""
        with self.index.engine.connect() as db:
            rows = [
                list(db.execute(sa.select(each)).all())
                for name, each in sorted(schema.metadata.tables.items())
                if name != table.name
            ]
        return [*rows, sorted(self.settings.instances_folder.rglob("*"))]


@pytest.fixture
def bench(tmp_path: Path) -> Shade:
    made = Shade(tmp_path)
    made.install()
    return made


def test_a_study_is_read_by_both_and_only_the_served_version_is_seen(bench: Shade):
    digest = bench.shadow()
    bench.study()
    before = bench.everything_else()
    assert build_shadow_runner(bench.parts).look() == 1  # in a process of its own
    assert bench.everything_else() == before
    found = bench.figures(digest)
    inside, outside = int((ball() > 0).sum()), 5 * 10 * 10
    (dice,) = found.dice
    assert (dice.name, dice.number) == ("Tissue", 1)
    assert dice.mean == pytest.approx(2 * inside / (inside + outside))
    (volume,) = (m for m in found.measured if m.unit == "ml")
    ((mean, difference),) = volume.points
    assert difference / mean == pytest.approx(2 * (outside - inside) / (outside + inside))
    assert build_shadow_runner(bench.parts).look() == 0


def test_what_was_read_before_the_shadow_began_or_after_it_ended_is_left(bench: Shade):
    bench.study()
    digest = bench.shadow()
    assert bench.look() == 0
    bench.parts.registry.shadow(MODEL, digest, By(), stop=True)
    bench.journal.schedule("again", study_uid="1", content_digest="d", priority=5)
    assert bench.look() == 0


def test_nothing_is_read_while_a_study_waits(bench: Shade):
    bench.shadow()
    bench.study()
    bench.journal.schedule("urgent", study_uid="1.9", content_digest="d", priority=5)
    assert build_shadow_runner(bench.parts).look() == 0
    bench.journal.end("urgent", "CANCELED", None)
    assert bench.look() == 1


def test_its_failure_is_counted_and_touches_nothing(bench: Shade):
    digest = bench.shadow(breaking())
    study_uid = bench.study()
    assert bench.look() == 1
    found = bench.figures(digest)
    assert (found.compared, found.failed) == (0, {"INFERENCE_FAILED": 1})
    item = bench.workitem(study_uid)
    assert (item.state, item.reason_code) == ("COMPLETED", "")
    assert "NOTICE" not in bench.results(study_uid)
    assert bench.look() == 0  # it would fail again


def test_a_reading_that_was_killed_is_made_again_and_counts_once(bench: Shade):
    digest = bench.shadow()
    bench.study()
    script = [sys.executable, "-c", _KILLED, bench.settings.model_dump_json()]
    killed = subprocess.run(script, cwd=Path(__file__).parents[2], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert bench.figures(digest).compared == 0
    assert bench.look() == 1
    (reading,) = bench.parts.shadow_readings.of(MODEL, digest)
    assert (reading.state, reading.attempts) == ("compared", 2)


def test_what_kills_its_process_again_and_again_is_given_up(bench: Shade):
    digest = bench.shadow()
    bench.study()
    readings, runner = bench.parts.shadow_readings, build_shadow_runner(bench.parts)
    for _ in range(5):
        found = runner._next()
        assert found is not None
        readings.begin(*found)
    assert runner._next() is None
    assert bench.figures(digest).failed == {"POISON": 1}


def test_it_goes_with_the_study(bench: Shade):
    digest = bench.shadow()
    study_uid = bench.study()
    found = build_shadow_runner(bench.parts)._next()
    assert found is not None
    assert bench.look() == 1
    bench.restarted(retention=RetentionSettings(max_age_days=1, keep_unassessed=False))
    (gone,) = bench.parts.retention.run(time.time() + 2 * 86400)
    assert gone.study_uid == study_uid
    assert bench.parts.shadow_readings.of(MODEL, digest) == ()
    assert not bench.parts.shadow_readings.begin(*found)  # nor does it come back
    bench.parts.shadow_readings.keep(found[0], Said(why="TIME_LIMIT"))  # it was under way
    assert bench.parts.shadow_readings.of(MODEL, digest) == ()


def test_it_takes_only_the_processor_time_that_nobody_wants(bench: Shade):
    process = AnalyserProcess(bench.settings, lambda: None, aside=True)
    try:
        assert process.wait_until_ready()
        wait_for(lambda: os.sched_getscheduler(process.pid) == os.SCHED_IDLE)
    finally:
        process.kill()


def test_a_shadow_needs_something_served_beside_it(bench: Shade):
    registry = bench.parts.registry
    digest = bench.shadow()
    with pytest.raises(Conflict, match="nothing to compare"):
        registry.shadow(MODEL, "1.0", By())
    with pytest.raises(Conflict, match="shadow already"):
        registry.shadow(MODEL, digest, By())
    registry.promote(MODEL, digest, By(), gate=None)
    assert not list(build_shadow_runner(bench.parts).shadows())
    assert [v.stage for v in registry.versions(MODEL)] == [Stage.RETIRED, Stage.SERVED]


def test_what_it_is_compared_with_is_told_apart(bench: Shade):
    first = bench.parts.registry.get(MODEL).digest
    digest = bench.shadow()
    bench.study()
    newer = write_package(
        bench.settings.data_folder.parent / "1.2",
        SEGMENTATION.replace('version = "1.0"', 'version = "1.2"'),
        segmenter(),
    )
    second = bench.parts.registry.add(newer, Stage.SERVED).digest
    assert bench.look() == 1
    beside = comparisons(bench.parts.registry, bench.parts.shadow_readings, MODEL, wanted=digest)
    assert [each.served for each in beside] == [first]  # which read it, whatever is served now
    assert first != second


def test_command_and_rest_tell_the_same(bench: Shade, tmp_path: Path, capsys):
    digest = bench.shadow()
    bench.study()
    bench.look()
    file = tmp_path / "wetread.toml"
    file.write_text('data_folder = "data"\n')
    given = ["--settings", str(file), "models"]
    assert wetread([*given, "compare", MODEL]) == 0
    said = capsys.readouterr().out
    assert f"{MODEL} {digest[:12]} beside " in said
    assert "1 readings compared" in said
    assert "Dice 0.555" in said
    (told,) = Web(bench).get(f"/api/models/{MODEL}/comparison")
    assert round(told["dice"][0]["mean"], 3) == 0.555
    assert wetread([*given, "shadow", f"{MODEL}@1.1", "--stop"]) == 0
    assert "1.1" in capsys.readouterr().out
    assert wetread([*given, "shadow", f"{MODEL}@1.0"]) == 1


def test_versions_are_steered_over_rest(bench: Shade):
    web, digest = Web(bench), bench.shadow(segmenter())
    path = f"/api/models/{MODEL}"
    stages = {v["version"]: v["stage"] for v in web.get(f"{path}/versions")}
    assert stages == {"1.0": "served", "1.1": "shadow"}
    detail = problem(web.ask("POST", f"{path}/promote?version=1.1"), 409)
    assert "scripts.promote" in detail
    asked = f"{path}/promote?version={digest[:12]}&without_evidence=a%20test"
    assert web.ask("POST", asked).json()["version"] == "1.1"
    last = web.get(f"{path}/history")[-1]
    assert (last["action"], last["why"], last["evidence"]) == ("promote", "a test", "none")
    assert last["who"]
    assert web.ask("POST", f"{path}/rollback?why=worse").json()["version"] == "1.0"
    assert web.ask("POST", f"{path}/shadow?version=1.1").status_code == 200
    assert web.ask("POST", f"{path}/shadow?version=1.1&stop=true").status_code == 200
    assert web.ask("POST", f"{path}/retire?version=1.1").status_code == 200
    problem(web.ask("POST", f"{path}/promote?version=9"), 404)
    problem(web.ask("GET", "/api/models/none/versions"), 404)


def reading(**said) -> Reading:
    return Reading(workitem_uid="w", series_uid="s", stack="0", digest="d", study_uid="1",
                   model="m", served="x", state="compared", why="", attempts=1, at=1.0,
                   comparison=Comparison(**said))  # fmt: skip


def test_kappa_is_that_of_cohen():
    assert kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    assert kappa([[25, 0], [0, 25]]) == 1
    assert kappa([[7]]) is None


def test_bland_altman_and_dice_over_many_readings():
    served, shadow = [10.0, 20.0, 30.0, 40.0], [11.0, 19.0, 33.0, 41.0]
    readings = [
        reading(
            measured=(Measured(name="Brain: Volume", unit="ml", served=a, shadow=b),),
            outlines=(Outline(name="Brain", dice=b / 50),),
            classes=(Classes(name="kind", served="A", shadow="A" if b > 15 else "B"),),
        )
        for a, b in zip(served, shadow, strict=True)
    ]
    found = figures("m", "d", "x", readings=readings)
    (volume,) = found.measured
    assert volume.bias == pytest.approx(1.0)  # of 1, -1, 3, 1
    assert volume.high == pytest.approx(1.0 + 1.96 * (8 / 3) ** 0.5)
    assert volume.points[2] == (31.5, 3.0)
    (dice,) = found.dice
    assert (dice.number, dice.least, dice.mean) == (4, 0.22, pytest.approx(0.52))
    (kind,) = found.classes
    assert (kind.agreement, kind.classes, kind.table) == (0.75, ("A", "B"), ((3, 1), (0, 0)))
