"""Results to a DICOMweb service, with the same promises as to an application entity."""

from dataclasses import replace

import pytest

from dicom_node.peers import Peer
from dicom_node.web_peers import WebPeer
from imaging.errors import SetupError
from serving.commands.check import check
from serving.settings import Settings, load
from tests.dicom_node.rig import free_port
from tests.serving.bench import Bench, mr

RETRIES = {"first_retry_s": 0.5, "longest_retry_s": 4.0}


def states(bench: Bench) -> set[tuple[str, str]]:
    return {(d.state, d.proof) for d in bench.journal.deliveries()}


@pytest.fixture
def away() -> WebPeer:
    return WebPeer(name="web", url=f"http://127.0.0.1:{free_port()}/dicom-web", deliver=True)


def test_results_wait_for_a_service_and_are_proven_there(make, orthanc_web: WebPeer, away: WebPeer):
    bench: Bench = make(web_peers=(away,), delivery=RETRIES)
    bench.install()
    bench.analysed(mr())
    results = sorted(d.instance_uid for d in bench.journal.deliveries())
    assert len(results) == 3
    assert bench.courier().attempt("web", results, 0) == 0.5
    assert "cannot be reached" in str(bench.courier().probe("web"))
    assert {d.state for d in bench.journal.deliveries()} == {"waiting"}
    assert "cannot be reached" in bench.journal.deliveries()[0].last_error

    bench.restarted(web_peers=(orthanc_web,))
    assert bench.courier().probe("web") is None
    assert bench.courier().attempt("web", results, 1) is None
    assert states(bench) == {("proven", "QIDO-RS")}
    assert bench.courier().attempt("web", results, 2) is None


def test_a_service_that_cannot_be_asked_gets_them_once(make, orthanc_web: WebPeer):
    bench: Bench = make(web_peers=(replace(orthanc_web, query=False),), delivery=RETRIES)
    bench.install()
    bench.analysed(mr())
    results = sorted(d.instance_uid for d in bench.journal.deliveries())
    assert bench.courier().attempt("web", results, 0) is None
    assert states(bench) == {("delivered", "STOW-RS status")}


def test_the_same_pacs_by_both_ways_has_each_result_once(make, orthanc: Peer, orthanc_web: WebPeer):
    bench: Bench = make(peers=(replace(orthanc, deliver=True),), web_peers=(orthanc_web,))
    bench.install()
    bench.analysed(mr())
    results = sorted({d.instance_uid for d in bench.journal.deliveries()})
    for name in ("pacs", "web"):
        assert bench.courier().attempt(name, results, 0) is None
    assert states(bench) == {("proven", "C-FIND"), ("proven", "QIDO-RS")}


FILE = """
[[web_peers]]
name = "web"
url = "{url}"
deliver = true
{more}
"""


def settings(tmp_path, *, url="https://pacs.example/dicom-web", more="", **environment) -> Settings:
    file = tmp_path / "wetread.toml"
    file.write_text(FILE.format(url=url, more=more))
    return load(file, environment)


def test_a_secret_comes_from_a_variable_that_the_settings_name(tmp_path):
    (peer,) = settings(tmp_path, more='secret_variable = "PACS_TOKEN"', PACS_TOKEN="t").web_peers
    assert peer.authorized() == {"Authorization": "Bearer t"}
    with pytest.raises(SetupError, match="no variable PACS_TOKEN"):
        settings(tmp_path, more='secret_variable = "PACS_TOKEN"')


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("ftp://pacs", "", "not that of a web service"),
        ("https:///dicom-web", "", "not that of a web service"),
        ("https://me:word@pacs/dicom-web", "", "secret_file"),
        ("http://pacs.example/dicom-web", 'secret_file = "token"', "in the clear"),
        ("http://pacs.example/dicom-web", 'headers = {"X-Key" = "1"}', "in the clear"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(tmp_path, url, more, words):
    with pytest.raises(SetupError, match=words):
        settings(tmp_path, url=url, more=more)


def test_names_are_told_apart_over_both_kinds(tmp_path):
    more = '[[peers]]\nname = "web"\nae_title = "X"\nhost = "x"\nport = 104'
    with pytest.raises(SetupError, match="peer 'web' is there twice"):
        settings(tmp_path, more=more)


def test_check_asks_a_service(make, orthanc_web: WebPeer, away: WebPeer, capsys):
    bench: Bench = make(web_peers=(orthanc_web, replace(away, name="away")))
    assert check(bench.settings) == 1
    said = capsys.readouterr().out
    assert "web peer web" in said
    assert "answers" in said
    assert "cannot be reached" in said
