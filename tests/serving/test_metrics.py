from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import exposition
from tests.serving.bench import Bench, mr, peer


def figures(bench: Bench) -> dict[tuple[str, ...], float]:
    text = exposition(bench.index, bench.parts.archive, bench.journal).decode()
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *(sample.labels[name] for name in ("what", "state") if sample.labels)): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


def test_an_empty_installation(empty: Bench):
    found = figures(empty)
    assert found["wetread_studies",] == found["wetread_instances",] == 0
    assert found["wetread_free_bytes",] > 0


def test_figures_follow_what_happens(make):
    bench = make(peers=(peer(),))
    bench.install()
    bench.analysed(mr())
    bench.receive(mr((6, 16, 16)))
    found = figures(bench)
    assert found["wetread_studies",] == 2
    assert found["wetread_studies_receiving",] == 2
    assert found["wetread_instances",] == 5 + 3 + 6
    assert found["wetread_stored_bytes",] > 11 * 16 * 16 * 2
    assert found["wetread_work", "workitems", "COMPLETED"] == 1
    assert found["wetread_work", "results", "valid"] == 3
    assert found["wetread_work", "deliveries", "waiting"] == 3


def test_no_patient_is_named(bench: Bench):
    bench.analysed(mr())
    text = exposition(bench.index, bench.parts.archive, bench.journal).decode()
    assert "Phantom" not in text
    assert "PH-1" not in text
