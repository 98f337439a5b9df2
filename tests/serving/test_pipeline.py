import shutil
from collections import Counter

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.routing import Rule
from imaging.header import header_of, read_dataset
from imaging.identity import derived_uid
from imaging.real_world import SUV_BY_WEIGHT
from serving.study_view import StudyViews
from tests.builders import mr_series
from tests.imaging.test_units import pet as pet_header
from tests.models.networks import CLASSIFICATION, SEGMENTATION, classifier, write_package
from tests.serving.bench import MODEL, NEEDY, SHAPE, Bench, ball, breaking, ct, mr, peer, said

NOTHING = SEGMENTATION + "threshold = 1.0\n"  # which no probability is above
KINDS = Counter({"SEG": 1, "SR": 1, "KEY_IMAGE": 1})


def kinds(bench: Bench, study_uid: str) -> Counter[str]:
    return Counter(r.kind for r in bench.journal.results(study_uid=study_uid))


def test_a_study_becomes_results(bench: Bench):
    images = mr()
    study = bench.analysed(images)
    item = bench.workitem(study)
    assert (item.state, item.stage, item.reason_code) == ("COMPLETED", "ended", "")
    assert item.started_at
    assert item.ended_at
    assert item.started_at <= item.ended_at
    assert kinds(bench, study) == KINDS
    for result in bench.journal.results(study_uid=study):
        assert (result.state, result.problems, result.model) == ("valid", (), MODEL)
        ds = bench.dataset(result)
        assert (ds.StudyInstanceUID, ds.PatientID) == (study, images[0].PatientID)
        assert ds.SeriesInstanceUID != images[0].SeriesInstanceUID
    (finding,) = bench.journal.findings(study)
    voxels = int((ball() > 500).sum())
    assert finding.measurements[0].value == pytest.approx(voxels / 1000)
    assert "Research use only, unverified" in finding.statement
    stages = {"read", "analyse", "model", "encode", "store"}
    assert set(item.timings) == {f"{MODEL}/{stage}" for stage in stages}


def test_the_mask_lies_on_what_is_bright(bench: Bench):
    ds = bench.dataset(bench.results(bench.analysed(mr()))["SEG"])
    expected = [plane for plane in ball() > 500 if plane.any()]
    assert np.array_equal(ds.pixel_array.astype(bool), expected)


def test_a_structure_that_is_not_found_does_not_keep_the_others_from_the_result(make):
    bench = make()
    again = SEGMENTATION[SEGMENTATION.index("[[labels]]") :]
    other = again.replace("number = 1", "number = 2\nchannel = 0").replace('"Tissue"\n', '"Bone"\n')
    bench.install(NOTHING + other)
    study = bench.analysed(mr())
    lost, found = bench.journal.findings(study)
    assert (lost.abstained.code, found.measurements[0].value) == (
        "NOTHING_FOUND",
        (ball() > 500).sum() / 1000,
    )
    (segment,) = bench.dataset(bench.results(study)["SEG"]).SegmentSequence
    assert (segment.SegmentNumber, segment.SegmentLabel) == (1, "Bone")


def test_the_results_do_not_change_what_the_study_holds(bench: Bench):
    study = bench.receive(mr())
    digest = bench.index.content_digest(study)
    bench.run(bench.ticket(study))
    assert bench.index.content_digest(study) == digest
    assert kinds(bench, bench.analysed(mr())) == KINDS


# A step is repeated after a crash


def rows(bench: Bench, study_uid: str) -> tuple[object, ...]:
    """Everything noted of a study but times."""
    journal = bench.journal
    results = [r.model_dump(exclude={"created_at"}) for r in journal.results(study_uid=study_uid)]
    deliveries = journal.deliveries(study_uid=study_uid)
    return (
        sorted(results, key=lambda r: r["instance_uid"]),
        journal.findings(study_uid),
        journal.decisions(study_uid),
        [d.model_dump(exclude={"planned_at"}) for d in deliveries],
    )


def test_repeated_steps_write_the_same(make):
    bench = make(peers=(peer(),))
    bench.install()
    study = bench.receive(mr())
    ticket = bench.ticket(study)
    bench.run(ticket)
    first = rows(bench, study)
    files = {r.instance_uid: bench.dataset(r) for r in bench.results(study).values()}
    assert len(first[3]) == 3

    bench.restarted()
    (assignment,) = bench.pipeline.plan(ticket)["assignments"]
    assert bench.pipeline.plan(ticket)["assignments"] == [assignment]
    assert bench.pipeline.read(assignment) == bench.pipeline.read(assignment)
    assert bench.pipeline.conclude(ticket) == bench.pipeline.conclude(ticket) == []
    assert rows(bench, study) == first
    assert {r.instance_uid: bench.dataset(r) for r in bench.results(study).values()} == files


def test_a_notice_is_made_once_however_often_it_is_asked_for(make):
    bench = make(peers=(peer(),))
    study = bench.receive(mr())
    ticket = bench.ticket(study)
    bench.run(ticket)
    first = rows(bench, study)
    bench.restarted()
    (uid,) = bench.pipeline.conclude(ticket)
    assert rows(bench, study) == first
    assert uid == bench.results(study)["NOTICE"].instance_uid
    assert bench.dataset(bench.results(study)["NOTICE"]).StudyInstanceUID == study


def test_two_installations_give_the_same_uids(tmp_path):
    found = []
    for name in ("one", "two"):
        bench = Bench(tmp_path / name)
        bench.install()
        study = bench.analysed(mr())
        found.append({r.instance_uid for r in bench.results(study).values()})
    assert found[0] == found[1]


# What changes


def test_late_slices_give_new_results_that_name_their_predecessors(bench: Bench):
    images = mr((7, 16, 16))
    study = bench.analysed(images[:5])
    old = bench.results(study)
    bench.analysed(images[5:])
    new = bench.results(study)
    assert set(new) == set(old) == set(KINDS)
    uids = [{r.instance_uid for r in results.values()} for results in (old, new)]
    assert not uids[0] & uids[1]
    superseded = {
        r.instance_uid: r.superseded_by
        for r in bench.journal.results(study_uid=study)
        if r.superseded_by
    }
    assert superseded == {old[kind].instance_uid: new[kind].instance_uid for kind in KINDS}
    sr = bench.dataset(new["SR"])
    (predecessor,) = sr.PredecessorDocumentsSequence
    (series,) = predecessor.ReferencedSeriesSequence
    (document,) = series.ReferencedSOPSequence
    assert document.ReferencedSOPInstanceUID == old["SR"].instance_uid
    assert "PredecessorDocumentsSequence" not in bench.dataset(old["SR"])
    assert {item.state for item in bench.journal.workitems(study_uid=study)} == {"COMPLETED"}


def test_other_weights_give_new_results(bench: Bench):
    study = bench.analysed(mr())
    old = bench.results(study)
    bench.install(SEGMENTATION.replace('version = "1.0"', 'version = "1.1"'))
    bench.run(bench.ticket(study, workitem_uid="again"))
    new = bench.results(study)
    assert not {r.instance_uid for r in old.values()} & {r.instance_uid for r in new.values()}
    assert kinds(bench, study) == Counter(dict.fromkeys(KINDS, 2))


def test_analysing_again_takes_the_same_results_over(bench: Bench):
    study = bench.analysed(mr())
    old = bench.results(study)
    again = bench.ticket(study, workitem_uid="again")
    bench.run(again)
    new = bench.results(study)
    assert {r.instance_uid for r in old.values()} == {r.instance_uid for r in new.values()}
    assert {r.workitem_uid for r in new.values()} == {"again"}
    assert kinds(bench, study) == KINDS


def test_a_notice_is_superseded_when_a_model_reads_the_study(empty: Bench):
    study = empty.analysed(mr())
    assert set(empty.results(study)) == {"NOTICE"}
    empty.install()
    empty.run(empty.ticket(study, workitem_uid="again"))
    assert set(empty.results(study)) == set(KINDS)


def test_a_notice_supersedes_an_earlier_one(empty: Bench):
    images = mr((7, 16, 16))
    study = empty.analysed(images[:5])
    old = empty.results(study)["NOTICE"]
    empty.analysed(images[5:])
    assert kinds(empty, study) == Counter({"NOTICE": 2})
    assert empty.results(study)["NOTICE"].instance_uid != old.instance_uid


def test_an_outline_does_not_outlast_a_report_that_abstains(bench: Bench):
    images = mr((7, 16, 16))
    study = bench.analysed(images[:5])
    old = bench.results(study)
    bench.install(NOTHING)
    bench.analysed(images[5:])
    new = bench.results(study)
    assert set(new) == {"SR", "KEY_IMAGE"}
    superseded = {r.instance_uid: r.superseded_by for r in bench.journal.results(study_uid=study)}
    assert superseded[old["SEG"].instance_uid] == new["SR"].instance_uid


def test_findings_stand_when_the_model_fails_later_and_are_named_when_it_works(bench: Bench):
    images = mr((9, 16, 16))
    study = bench.analysed(images[:5])
    old = bench.results(study)["SR"]
    bench.install(SEGMENTATION, breaking())
    bench.analysed(images[5:7])
    assert set(bench.results(study)) == {*KINDS, "NOTICE"}
    bench.install()
    bench.analysed(images[7:])
    assert set(bench.results(study)) == set(KINDS)
    sr = bench.dataset(bench.results(study)["SR"])
    assert old.instance_uid in str(sr.PredecessorDocumentsSequence)


# What cannot be read


def test_a_model_that_fails_gives_a_notice_with_the_reason(make):
    bench = make(peers=(peer(),))
    bench.install(SEGMENTATION, breaking())
    study = bench.analysed(mr())
    results = bench.results(study)
    assert set(results) == {"NOTICE"}
    assert (results["NOTICE"].model, results["NOTICE"].state) == (MODEL, "valid")
    text = said(bench.dataset(results["NOTICE"]))
    assert "INFERENCE_FAILED" in text
    assert "the network failed on an input of shape" in text
    assert bench.workitem(study).state == "COMPLETED"
    assert not bench.journal.findings(study)
    (delivery,) = bench.journal.deliveries(study_uid=study)
    assert delivery.instance_uid == results["NOTICE"].instance_uid


def test_pixels_that_cannot_be_decoded_give_a_notice(bench: Bench):
    images = mr()
    study = bench.receive(images)
    for instance in bench.index.instances_of(study):
        path = bench.parts.archive.file(instance.path)
        whole = path.read_bytes()
        path.write_bytes(whole[: whole.index(images[0].PixelData[:4], 1000) + 10])
    bench.run(bench.ticket(study))
    assert set(bench.results(study)) == {"NOTICE"}


def test_a_model_whose_mask_is_needed_must_be_installed(bench: Bench):
    bench.install(NEEDY)
    bench.parts.registry.remove(MODEL)
    study = bench.analysed(mr())
    decision = bench.decision(study, "needy")
    assert not decision.chosen
    assert [r.code for r in decision.reasons] == ["NEEDS_MODEL"]
    assert MODEL in decision.reasons[0].text
    assert set(bench.results(study)) == {"NOTICE"}


def test_a_study_is_read_by_the_version_that_it_was_planned_with(bench: Bench, tmp_path):
    bench.parts.registry.add(write_package(tmp_path / "c", CLASSIFICATION, classifier()))
    old = bench.parts.registry.get(MODEL).digest
    study = bench.receive(mr((12, 16, 16)))
    ticket = bench.ticket(study)
    plan = bench.pipeline.plan(ticket)
    bench.install(SEGMENTATION.replace('version = "1.0"', 'version = "1.1"'))  # in its place
    for assignment in plan["assignments"]:
        bench.pipeline.read(assignment)
    bench.pipeline.conclude(ticket)
    versions = {f.model: f.model_digest for f in bench.journal.findings(study)}
    assert versions == {
        MODEL: old,
        "bright-slices": bench.parts.registry.get("bright-slices").digest,
    }
    assert bench.parts.registry.get(MODEL).digest != old
    next_plan = bench.pipeline.plan(ticket)
    now = {MODEL: bench.parts.registry.get(MODEL).digest}
    assert now in [assignment["digests"] for assignment in next_plan["assignments"]]


def test_work_from_before_versions_had_stages_is_read_by_the_served_one(bench: Bench):
    study = bench.receive(mr())
    (assignment,) = bench.pipeline.plan(bench.ticket(study))["assignments"]
    del assignment["digests"]
    assert len(bench.pipeline.read(assignment)) == 3


def test_a_model_gets_the_mask_of_another(bench: Bench, tmp_path):
    bench.parts.registry.add(write_package(tmp_path / "c", CLASSIFICATION, classifier()))
    study = bench.analysed(mr((12, 16, 16)))
    assert {f.model for f in bench.journal.findings(study)} == {MODEL, "bright-slices"}
    assert kinds(bench, study) == Counter({"SEG": 1, "SR": 2, "KEY_IMAGE": 2})


def test_a_mask_of_a_model_that_abstained_is_not_used(bench: Bench, tmp_path):
    bench.parts.registry.add(write_package(tmp_path / "c", CLASSIFICATION, classifier()))
    bench.install(NOTHING)
    study = bench.analysed(mr((12, 16, 16)))
    (finding,) = bench.journal.findings(study)
    assert finding.abstained is not None
    assert finding.abstained.code == "NOTHING_FOUND"
    assert not finding.measurements
    results = bench.journal.results(study_uid=study)
    (notice,) = (r for r in results if r.kind == "NOTICE")
    assert notice.model == "bright-slices"
    assert "abstained" in said(bench.dataset(notice))
    assert "SEG" not in kinds(bench, study)


def test_a_broken_package_is_no_model(bench: Bench):
    (bench.settings.models_folder / MODEL / "model.onnx").unlink()
    study = bench.analysed(mr())
    assert bench.workitem(study).reason_text == "no model is installed"


# Studies that no model reads


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (ct(), "no installed model reads CT HEAD"),
        (ct(BodyPartExamined="LEG"), "no installed model reads CT EXTREMITY"),
    ],
)
def test_a_study_no_model_reads_gets_a_notice(bench: Bench, images, text):
    study = bench.analysed(images)
    assert set(bench.results(study)) == {"NOTICE"}
    item = bench.workitem(study)
    assert (item.state, item.reason_code, item.reason_text) == ("COMPLETED", "NO_MODEL", text)
    assert text in said(bench.dataset(bench.results(study)["NOTICE"]))
    assert [r.code for r in bench.decision(study).reasons] == ["MODALITY"]


def test_without_models_a_notice_says_so(empty: Bench):
    study = empty.analysed(mr())
    assert empty.workitem(study).reason_text == "no model is installed"
    assert not empty.journal.decisions(study)


def test_notices_can_be_switched_off(make):
    bench = make(analysis={"notices": False}, peers=(peer(),))
    study = bench.analysed(ct())
    assert not bench.results(study)
    assert bench.workitem(study).reason_code == "NO_MODEL_INSTALLED"
    assert not bench.journal.deliveries(study_uid=study)


def test_a_rule_switches_notices_off(make):
    bench = make(rules=(Rule(name="quiet", modalities=("CT",), notice=False),))
    assert not bench.results(bench.analysed(ct()))
    assert set(bench.results(bench.analysed(mr()))) == {"NOTICE"}


def test_a_rule_forbids_a_model(make):
    bench = make(rules=(Rule(name="none", senders=("PACS",), models=()),))
    bench.install()
    study = bench.analysed(mr())
    decision = bench.decision(study)
    assert (decision.chosen, decision.reasons[0].code) == (False, "RULE")
    assert "none" in decision.reasons[0].text
    assert not bench.results(study)  # what no rule wants read needs no excuse
    assert bench.workitem(study).reason_code == "NO_MODEL_ALLOWED"
    other = bench.receive(mr(SeriesInstanceUID="1.2.3", StudyInstanceUID="1.2"), sender="OTHER")
    bench.run(bench.ticket(other))
    assert set(bench.results(other)) == set(KINDS)


def test_a_study_without_images_gets_nothing(bench: Bench):
    seg = bench.results(bench.analysed(mr()))
    ds = bench.dataset(seg["SR"])
    ds.StudyInstanceUID = derived_uid("only", "a", "report")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = derived_uid("a", "report")
    ds.SeriesInstanceUID = derived_uid("series", "of", "a", "report")
    study = bench.analysed([ds])
    assert bench.workitem(study).reason_code == "NO_IMAGES"
    assert bench.workitem(study).state == "COMPLETED"
    assert not bench.journal.results(study_uid=study)
    assert not bench.journal.decisions(study)


def test_an_unusable_series_says_why(bench: Bench):
    study = bench.analysed([image for n, image in enumerate(mr((9, 16, 16))) if n != 4])
    decision = bench.decision(study)
    assert not decision.chosen
    item = bench.workitem(study)
    assert item.reason_code == decision.reasons[0].code == "MISSING_SLICES"
    assert set(bench.results(study)) == {"NOTICE"}


# How it arrived


def test_an_incomplete_series_is_not_read(bench: Bench):
    images = mr()
    series = images[0].SeriesInstanceUID
    study = bench.analysed(
        images, completeness="limit", arrival_text="not all arrived", short={series: [5, 9]}
    )
    decision = bench.decision(study)
    assert (decision.chosen, [r.code for r in decision.reasons]) == (False, ["INCOMPLETE"])
    assert bench.workitem(study).reason_code == "INCOMPLETE"
    text = said(bench.dataset(bench.results(study)["NOTICE"]))
    assert "5 of 9 images arrived before the waiting limit" in text


def test_a_whole_series_beside_an_incomplete_one_is_read(bench: Bench):
    first = mr()
    second = mr((6, 16, 16), StudyInstanceUID=first[0].StudyInstanceUID)
    study = bench.receive([*first, *second])
    short = {first[0].SeriesInstanceUID: [5, 9]}
    plan = bench.run(bench.ticket(study, completeness="limit", arrival_text="text", short=short))
    (assignment,) = plan["assignments"]
    assert assignment["series_uid"] == second[0].SeriesInstanceUID
    assert set(bench.results(study)) == set(KINDS)


def test_an_unconfirmed_arrival_is_told_in_the_report(bench: Bench):
    text = "the PACS gave no answer; nothing new for 10 s"
    study = bench.analysed(mr(), completeness="quiet", arrival_text=text)
    assert text in said(bench.dataset(bench.results(study)["SR"]))


def test_two_patients_stay_apart(bench: Bench):
    first = bench.receive(mr())
    other = mr_series(
        (5, 16, 16),
        voxels=ball() / 2,
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4",
        PatientID="PH-2",
        PatientName="Other^Olaf",
    )
    second = bench.receive(other)
    for study in (first, second):
        bench.run(bench.ticket(study))
    owners = {
        study: {
            (bench.dataset(r).PatientID, str(bench.dataset(r).PatientName))
            for r in bench.results(study).values()
        }
        for study in (first, second)
    }
    assert owners == {first: {("PH-1", "Phantom^Phyllis")}, second: {("PH-2", "Other^Olaf")}}


# Where it goes


def test_results_go_to_every_peer_that_gets_them(make):
    bench = make(peers=(peer("pacs"), peer("second"), peer("ct", deliver=False)))
    bench.install()
    study = bench.receive(mr())
    plan = bench.run(bench.ticket(study))
    assert plan["destinations"] == ["pacs", "second"]
    deliveries = bench.journal.deliveries(study_uid=study)
    assert Counter(d.destination for d in deliveries) == {"pacs": 3, "second": 3}
    assert {d.state for d in deliveries} == {"waiting"}


@pytest.mark.parametrize(("wanted", "count"), [(("second",), 3), ((), 0)])
def test_a_rule_names_the_destinations(make, wanted, count):
    rules = (Rule(name="r", destinations=wanted),)
    bench = make(peers=(peer("pacs"), peer("second")), rules=rules)
    bench.install()
    study = bench.analysed(mr())
    deliveries = bench.journal.deliveries(study_uid=study)
    assert [d.destination for d in deliveries] == [*wanted] * count


def test_the_sender_s_odd_values_hold_nothing_back(bench: Bench):
    study = bench.analysed(mr(StudyDate="20241399", PatientSex="FEMALE"))
    assert {r.state for r in bench.results(study).values()} == {"valid"}


def test_a_result_that_breaks_a_check_is_held(make):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    bench = make(peers=(peer(),))
    bench.install()
    images = mr((7, 16, 16))
    study = bench.analysed(images[:5])
    bench.install(SEGMENTATION.replace('type = ["85756007", "SCT"', f'type = ["1", "{"X" * 20}"'))
    bench.analysed(images[5:])
    newest = bench.workitem(study).workitem_uid
    results = [r for r in bench.journal.results(study_uid=study) if r.workitem_uid == newest]
    assert {r.kind: r.state for r in results} == {"SEG": "held", "SR": "held", "KEY_IMAGE": "valid"}
    assert all("Length invalid" in r.problems[0] for r in results if r.state == "held")
    deliveries = [d for d in bench.journal.deliveries(study_uid=study) if d.workitem_uid == newest]
    (key_image,) = (r.instance_uid for r in results if r.kind == "KEY_IMAGE")
    assert [d.instance_uid for d in deliveries] == [key_image]
    # What was delivered before still counts: nothing took its place.
    old = {r.kind: r for r in bench.journal.results(study_uid=study) if r.workitem_uid != newest}
    assert {kind for kind, r in old.items() if r.superseded_by} == {"KEY_IMAGE"}


# What happened to the values before the model saw them


def pet(**header) -> list[Dataset]:
    """A PET of the ball on a background of half its activity: SUV 0.58 and 0.29."""
    images = mr_series(SHAPE, voxels=(ball() + 1000) / 2)
    for image in images:
        image.update(pet_header(**header))
        image.RescaleSlope, image.RescaleIntercept = 2, 0
    return images


def wanting_suv() -> str:
    needs = f'modalities = ["PT"]\nunit = "{SUV_BY_WEIGHT}"'
    manifest = SEGMENTATION.replace('modalities = ["MR"]', needs)
    return manifest.replace('scaling = "maximum"', 'scaling = "none"')


def test_loss_is_told_in_the_report_and_with_the_decision(bench: Bench):
    study = bench.analysed(mr(LossyImageCompression="01", LossyImageCompressionRatio="12"))
    words = "compressed with loss before they arrived (unknown, 12 : 1)"
    assert f"{words} (LOSSY_INPUT)" in said(bench.dataset(bench.results(study)["SR"]))
    detail = StudyViews(bench.index, bench.journal).detail(study)
    (decision,) = detail.decisions
    assert [why.code for why in decision.reasons] == ["CHOSEN", "LOSSY_INPUT"]
    assert words in decision.reasons[1].text


def test_a_model_that_wants_suv_gets_it(empty: Bench):
    """Its threshold lies between the SUV of background and ball, far below either's activity."""
    empty.install(wanting_suv())
    study = empty.analysed(pet())
    (finding,) = empty.journal.findings(study)
    assert finding.measurements[0].value == pytest.approx((ball() > 500).sum() / 1000)
    text = said(empty.dataset(empty.results(study)["SR"]))
    assert "values are SUV by body weight" in text
    assert "(SUV_APPLIED)" in text


def test_pet_that_cannot_be_suv_is_not_read_and_says_why(empty: Bench):
    empty.install(wanting_suv())
    study = empty.analysed(pet(PatientWeight=None))
    text = said(empty.dataset(empty.results(study)["NOTICE"]))
    assert "NO_SUV_FACTOR" in text
    assert "PatientWeight" in text


# Names


@pytest.mark.parametrize(
    ("terms", "raw", "name"),
    [
        (["GB18030"], "王^小东".encode("gb18030"), "王^小东"),
        (["", "ISO 2022 IR 58"], b"\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab", "王^小东"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], b"\xd4\xcf\xc0\xde=\x1b$B;3ED\x1b(J", "ﾔﾏﾀﾞ=山田"),
        (["", "ISO 2022 IR 149"], b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf", "홍^길동"),
        (["ISO_IR 127"], "قباني^لنزار".encode("iso8859_6"), "قباني^لنزار"),
        (["NONSENSE"], "Иванов".encode(), "Иванов"),
    ],
)
def test_a_name_is_shown_and_comes_back_from_every_result(bench: Bench, terms, raw, name):
    images = mr()
    for image in images:
        image.SpecificCharacterSet = terms
        tag = Tag("PatientName")
        padded = raw + b" " * (len(raw) % 2)
        image[tag] = RawDataElement(tag, "PN", len(padded), padded, 0, False, True)
    study = bench.analysed(images)
    assert StudyViews(bench.index, bench.journal).detail(study).patient_name == name
    results = bench.results(study)
    assert set(results) == set(KINDS)
    for result in results.values():
        path = bench.parts.archive.file(bench.index.instance(result.instance_uid).path)
        assert header_of(read_dataset(path)).patient.name == name


# Memory


def test_a_volume_that_would_not_fit_is_refused_before_it_is_read(make):
    bench = make(analysis={"memory_gb": 1e-5})
    bench.install()
    study = bench.analysed(mr((5, 64, 64)))
    assert bench.workitem(study).reason_code == "TOO_LARGE"
    notice = bench.results(study)["NOTICE"]
    assert "the series is too large: it needs" in said(bench.dataset(notice))


def test_volumes_of_an_earlier_study_are_let_go(bench: Bench):
    first = bench.analysed(mr())
    assert len(bench.pipeline._volumes._values) == 1
    bench.analysed(mr(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1"))
    (key,) = bench.pipeline._volumes._values
    assert key[0] == bench.index.content_digest("1.2.3") != bench.index.content_digest(first)
