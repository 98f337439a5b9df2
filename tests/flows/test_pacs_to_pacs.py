"""From a real PACS, through every process, back into the PACS."""

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from scripts.demo_studies import DemoStudy
from tests.flows.conftest import Site

MR_KINDS = Counter({"SEG": 1, "SR": 2, "KEY_IMAGE": 2})


def results_of(study) -> set[str]:
    return {result["instance_uid"] for result in study["results"]}


def sources_of(study: DemoStudy) -> int:
    return len(study.paths)


def test_mr_and_ct_come_back_with_results(site: Site, mr: DemoStudy, ct: DemoStudy):
    site.pacs.store(mr.paths)
    site.pacs.store(ct.paths)
    head = site.wait(mr.study_uid, lambda s: s["state"] in {"done", "failed"})
    assert head["state"] == "done"
    assert head["completeness"] == "confirmed"
    assert head["analysed"]
    assert Counter(r["kind"] for r in head["results"]) == MR_KINDS
    in_pacs = site.pacs.instances(mr.study_uid)
    assert results_of(head) <= in_pacs
    assert len(in_pacs) == sources_of(mr) + len(head["results"])
    assert {d["proof"] for d in head["deliveries"]} == {"C-FIND"}

    brain, tumour = sorted(head["findings"], key=lambda f: f["model"])
    (volume,) = brain["measurements"]
    assert volume["unit"] == "ml"
    assert 1737 * 0.9 < volume["value"] < 1737 * 1.1
    assert tumour["concept"] == "No brain tumour detected"
    assert tumour["probability"] > 0.9

    plain = site.wait(ct.study_uid, lambda s: s["state"] in {"done", "failed"})
    assert plain["state"] == "done"
    assert not plain["analysed"]
    assert plain["reason"] == "no installed model reads CT HEAD"
    assert [r["kind"] for r in plain["results"]] == ["NOTICE"]
    assert results_of(plain) <= site.pacs.instances(ct.study_uid)
    reasons = {d["model"]: [r["code"] for r in d["reasons"]] for d in plain["decisions"]}
    assert reasons == {"brain-extraction": ["MODALITY"], "brain-tumour-class": ["MODALITY"]}

    # The PACS forwards the study again with our results in it: nothing starts anew.
    time.sleep(4)
    again = site.study(mr.study_uid)
    assert len(again["workitems"]) == 1
    assert results_of(again) == results_of(head)
    assert not again["set_aside"]


def test_analysing_again_changes_nothing_in_the_pacs(site: Site, mr: DemoStudy):
    site.pacs.store(mr.paths)
    first = site.wait(mr.study_uid, lambda s: s["state"] == "done")
    item = site.post(f"/api/studies/{mr.study_uid}/reanalyse")
    assert item["workitem_uid"] != first["workitems"][0]["workitem_uid"]
    second = site.wait(mr.study_uid, lambda s: s["state"] == "done" and len(s["workitems"]) == 2)
    assert results_of(second) == results_of(first)
    assert len(site.pacs.instances(mr.study_uid)) == sources_of(mr) + len(first["results"])


@pytest.mark.parametrize("stage", ["receiving", "analysing", "delivering"])
def test_killed_processes_lose_and_double_nothing(site: Site, mr: DemoStudy, stage: str):
    """Every process is killed at the stage, the supervisor included when nothing else is left."""
    site.pacs.store(mr.paths)
    reached = {"receiving": {"receiving", "waiting", "analysing"}, "analysing": {"analysing"},
               "delivering": {"delivering", "done"}}[stage]  # fmt: skip
    site.wait(mr.study_uid, lambda s: s["state"] in reached)
    for name in ("node", "worker", "web"):
        site.kill(name)
        time.sleep(0.3)
    site.pacs.stop()
    time.sleep(5 if stage == "receiving" else 1)  # longer than the quiet time of the settings
    site.start_pacs()
    done = site.wait(mr.study_uid, lambda s: s["state"] == "done")
    assert Counter(r["kind"] for r in done["results"]) == MR_KINDS
    in_pacs = site.pacs.instances(mr.study_uid)
    assert results_of(done) <= in_pacs
    assert len(in_pacs) == sources_of(mr) + len(done["results"])
    assert len(done["workitems"]) == 1


def test_results_in_the_pacs_are_valid(site: Site, mr: DemoStudy, tmp_path: Path):
    """What dciodvfy says of the objects as the PACS gives them back."""
    site.pacs.store(mr.paths)
    site.wait(mr.study_uid, lambda s: s["state"] == "done")
    files = [
        path
        for path in (tmp_path / "data" / "instances").rglob("*.dcm")
        if path.name.split("-")[0] in results_of(site.study(mr.study_uid))
    ]
    assert len(files) == MR_KINDS.total()
    for path in files:
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        assert "Error" not in said.stderr, said.stderr
