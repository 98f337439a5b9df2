"""An old PACS refuses what it does not know; it gets the findings in another form."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

from tests.dicom_node.rig import free_port
from tests.serving.bench import Bench, ct, mr, peer, said
from tests.serving.test_courier import RETRIES

SEG, ENHANCED, TID_1500, BASIC = (
    f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("66.4", "88.22", "88.34", "88.11")
)


class OldPacs:
    def __init__(self, *unknown: str) -> None:
        self.got: list[str] = []
        self.port = free_port()
        self.ae = AE(ae_title="PACS")
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax not in unknown:
                self.ae.add_supported_context(str(context.abstract_syntax))
        handler = (evt.EVT_C_STORE, self._store)
        self.ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[handler])

    def _store(self, event: evt.Event) -> int:
        self.got.append(str(event.request.AffectedSOPClassUID))
        return 0


@contextmanager
def old(*unknown: str) -> Iterator[OldPacs]:
    pacs = OldPacs(*unknown)
    yield pacs
    pacs.ae.shutdown()


def planned(bench: Bench) -> list[str]:
    return sorted(r.instance_uid for r in bench.journal.results() if r.kind != "TEXT")


def states(bench: Bench) -> dict[str, str]:
    kinds = {r.instance_uid: r.kind for r in bench.journal.results()}
    return {kinds[d.instance_uid]: d.state for d in bench.journal.deliveries()}


@pytest.fixture
def site(analysed: Callable[..., Bench]) -> Callable[..., Bench]:
    def made(pacs: OldPacs, **changes: object) -> Bench:
        configured = replace(peer(port=pacs.port), **changes)
        return analysed(peers=(configured,), delivery=RETRIES)

    return made


def test_one_without_seg_gets_the_findings_in_words_too(site):
    with old(SEG) as pacs:
        bench = site(pacs)
        assert bench.courier().attempt("pacs", planned(bench), 0) is None
        assert states(bench) == {
            "SEG": "refused",
            "SR": "delivered",
            "KEY_IMAGE": "delivered",
            "TEXT": "delivered",
        }
        (refused,) = bench.journal.deliveries(state="refused")
        assert refused.last_error.endswith("; key image and text SR sent instead")
        assert BASIC in pacs.got
        sent = len(pacs.got)
        assert bench.courier().attempt("pacs", planned(bench), 1) is None
        assert len(pacs.got) == sent


def test_one_that_knows_neither_seg_nor_new_reports_gets_both_stand_ins(site):
    """Also where its outputs leave the key image out."""
    with old(SEG, TID_1500) as pacs:
        bench = site(pacs, outputs=("seg", "sr"))
        for item in bench.journal.deliveries():
            if bench.journal.result(item.instance_uid).kind == "KEY_IMAGE":
                bench.journal.cancel_delivery(item, "2.25.1")
        (key,) = (r for r in bench.journal.results() if r.kind == "KEY_IMAGE")
        bench.journal.record_result(key.model_copy(update={"superseded_by": None}))
        assert bench.courier().attempt("pacs", planned(bench), 0) is None
        assert states(bench) == {
            "SEG": "refused",
            "SR": "refused",
            "KEY_IMAGE": "superseded",
            "TEXT": "delivered",
        }
        assert pacs.got == [BASIC]
    text = bench.dataset(next(r for r in bench.journal.results() if r.kind == "TEXT"))
    assert "Research use only" in said(text)


def test_words_are_bilingual_where_the_settings_say_so(site):
    with old(TID_1500) as pacs:
        bench = site(pacs)
        bench.restarted(analysis={"language": "both"})
        assert bench.courier().attempt("pacs", planned(bench), 0) is None
    text = said(bench.dataset(next(r for r in bench.journal.results() if r.kind == "TEXT")))
    assert "体积" in text
    assert "仅供研究使用，未经验证。" in text
    assert "Research use only, unverified." in text


def test_one_that_wants_words_gets_them_from_the_start(make):
    with old() as pacs:
        bench: Bench = make(peers=(replace(peer(port=pacs.port), outputs=("text",)),))
        bench.install()
        bench.analysed(mr())
        assert bench.courier().attempt("pacs", planned(bench), 0) is None
        assert pacs.got == [BASIC]
        assert bench.courier().attempt("pacs", planned(bench), 1) is None
        assert pacs.got == [BASIC]
    assert states(bench) == {"TEXT": "delivered"}


def test_a_notice_is_told_in_words_and_is_no_analysis(make):
    from serving.study_view import StudyViews  # noqa: PLC0415

    with old(ENHANCED) as pacs:
        bench: Bench = make(peers=(peer(port=pacs.port),))
        bench.install()
        study_uid = bench.analysed(ct())
        assert bench.courier().attempt("pacs", planned(bench), 0) is None
        assert states(bench) == {"NOTICE": "refused", "TEXT": "delivered"}
        assert pacs.got == [BASIC]
    assert not StudyViews(bench.index, bench.journal).detail(study_uid).analysed


def test_one_for_which_nothing_stands_in_gets_nothing_else(site):
    with old(SEG) as pacs:
        bench = site(pacs, instead=())
        assert bench.courier().attempt("pacs", planned(bench), 0) is None
        assert states(bench) == {"SEG": "refused", "SR": "delivered", "KEY_IMAGE": "delivered"}


def test_one_that_refuses_everything_is_not_asked_for_ever(site):
    everything = [str(c.abstract_syntax) for c in AllStoragePresentationContexts]
    with old(*everything[1:]) as pacs:
        bench = site(pacs)
        assert bench.courier().attempt("pacs", planned(bench), 0) is None
        assert set(states(bench).values()) == {"refused"}
        assert bench.courier().attempt("pacs", planned(bench), 1) is None
        assert pacs.got == []
