import shutil
import socket

from serving.health import Health, answers
from serving.slots import RETENTION_SLOT
from tests.dicom_node.rig import free_port
from tests.serving.bench import Bench


def health(bench: Bench) -> dict[str, str]:
    return Health(bench.settings, bench.index, bench.parts.archive).parts()


def test_all_is_well(make):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bench = make(node={"port": listener.getsockname()[1]}, storage={"min_free_gb": 0})
        with bench.parts.slots.taken("worker-0"):
            assert set(health(bench).values()) == {"ok"}


def test_whoever_removes_studies_is_no_worker(make):
    bench = make()
    with bench.parts.slots.taken(RETENTION_SLOT):
        assert health(bench)["worker"] == "no worker runs"


def test_every_problem_is_named(make):
    port = free_port()
    bench = make(node={"port": port}, storage={"min_free_gb": 1e9})
    found = health(bench)
    assert found["database"] == "ok"
    assert found["worker"] == "no worker runs"
    assert str(port) in found["node"]
    assert "space" in found["storage"]


def test_a_database_that_is_gone_is_named(make):
    bench = make()
    bench.index.engine.dispose()
    shutil.rmtree(bench.settings.data_folder)
    assert "the database does not answer" in health(bench)["database"]


def test_all_interfaces_are_asked_by_loopback():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert answers("0.0.0.0", port)
        assert answers("127.0.0.1", port)
    assert not answers("127.0.0.1", free_port())
