import pytest

from imaging.header import read_header
from imaging.reasons import reason
from serving.studies import (
    StudyReader,
    arrival_notes,
    main_part,
    series_candidates,
    shortfall,
)
from serving.tickets import StudyTicket
from tests.builders import save
from tests.serving.bench import Bench, ct, mr


@pytest.fixture
def reader(bench: Bench) -> StudyReader:
    return StudyReader(bench.index, bench.parts.archive)


def ticket(**changes) -> StudyTicket:
    values = {
        "workitem_uid": "w",
        "study_uid": "1.2",
        "content_digest": "d",
        "completeness": "confirmed",
        "arrival_text": "text",
        "short": {},
    }
    return StudyTicket(**{**values, **changes})


def candidates(images, folder):
    return series_candidates([read_header(path) for path in save(images, folder)])


def test_every_image_series_is_a_candidate(bench: Bench, reader: StudyReader):
    first = mr()
    study = bench.receive(first)
    bench.receive(mr((6, 16, 16), StudyInstanceUID=study))
    bench.receive(ct((4, 16, 16), StudyInstanceUID=study))
    found = reader.candidates(study, "digest")
    assert sorted(len(c.part.instances) for c in found) == [4, 5, 6]
    assert {c.number for c in found} == {0}


def test_the_tolerances_of_the_settings_decide_what_is_sound(tmp_path):
    bench = Bench(tmp_path, geometry={"least_slices": 6})
    bench.install()
    study = bench.analysed(mr())
    (why,) = bench.decision(study).reasons
    assert (why.code, why.text) == ("FEW_SLICES", "5 slices; at least 6 are needed")


def test_our_results_are_no_candidates(bench: Bench, reader: StudyReader):
    study = bench.analysed(mr())
    assert len(reader.candidates(study, "digest")) == 1
    assert reader.traits(study).modalities == {"MR"}


def test_results_that_come_back_from_the_pacs_do_not_count(bench: Bench, reader: StudyReader):
    study = bench.analysed(mr())
    digest = bench.index.content_digest(study)
    for result in bench.results(study).values():
        bench.receive([bench.dataset(result)])
    assert bench.index.content_digest(study) == digest
    assert reader.traits(study).modalities == {"MR"}
    assert bench.index.study(study).received == 5


def test_traits_are_what_rules_look_at(bench: Bench, reader: StudyReader):
    study = bench.receive(mr(StudyDescription="Neuro follow-up"), sender="SCANNER")
    bench.receive(ct(StudyInstanceUID=study, BodyPartExamined="CHEST"))
    traits = reader.traits(study)
    assert traits.modalities == {"MR", "CT"}
    assert traits.regions == {"HEAD", "CHEST"}
    assert (traits.sender, traits.description) == ("SCANNER", "Neuro follow-up")


def test_a_new_content_is_read_anew(bench: Bench, reader: StudyReader):
    images = mr((7, 16, 16))
    study = bench.receive(images[:5])
    first = reader.candidates(study, bench.index.content_digest(study))
    bench.receive(images[5:])
    second = reader.candidates(study, bench.index.content_digest(study))
    assert [len(c.part.instances) for c in (*first, *second)] == [5, 7]


def test_an_incomplete_series_has_a_reason():
    short = {"1.2.3": [4, 9]}
    assert shortfall(ticket(short=short), "1.2.4") is None
    assert shortfall(ticket(short=short), "1.2.3") == reason("INCOMPLETE", have=4, expected=9)


@pytest.mark.parametrize(
    ("completeness", "codes"),
    [
        ("confirmed", []),
        ("quiet", ["COMPLETENESS_NOT_CONFIRMED"]),
        ("limit", ["COMPLETENESS_NOT_CONFIRMED"]),
    ],
)
def test_what_was_not_confirmed_is_told(completeness, codes):
    notes = arrival_notes(ticket(completeness=completeness))
    assert [note.code for note in notes] == codes


def test_the_main_part_has_most_images(tmp_path):
    large = candidates(ct((9, 16, 16)), tmp_path / "a")
    small = candidates(mr((6, 16, 16)), tmp_path / "b")
    assert main_part((*small, *large)) is large[0]
