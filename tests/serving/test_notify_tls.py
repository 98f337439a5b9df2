"""Who is told over TLS is verified, and may ask who tells; certificates are made by openssl."""

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.commands.check import _target
from serving.notify.target import Target
from serving.settings import Settings, load
from tests.dicom_node.certificates import Authority, Pair, openssl
from tests.serving.bench import Bench, mr
from tests.serving.receivers import Web, serving
from tests.serving.test_notify import QUICK, hook, only, tell
from tests.serving.test_notify_hl7 import ris, target

ELSEWHERE = "subjectAltName=DNS:elsewhere.example"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"), "hospital")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def analysed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysed")
    bench = Bench(folder, notify=(target(1),))
    bench.install()
    bench.analysed(mr())
    bench.parts.index.engine.dispose()
    return folder


def showing(pair: Pair, asks: Authority | None = None) -> ssl.SSLContext:
    """What a server needs that shows a certificate, and asks for one of an authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    if asks:
        context.load_verify_locations(asks.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def ours(pair: Pair) -> dict[str, Path]:
    return {"certificate_file": pair.certificate, "certificate_key_file": pair.key}


def test_a_ris_that_the_authority_vouches_for_is_told(analysed, hospital: Authority):
    with ris("AA", tls=showing(hospital.sign("ris"))) as receiver:
        bench = analysed(notify=(target(receiver.port, tls=True, ca_file=hospital.file),))
        tell(bench)
    assert len(receiver.got) == 1
    assert (only(bench).state, only(bench).answer) == ("delivered", "MSA AA")


@pytest.mark.parametrize(
    ("signed_by", "how", "why"),
    [
        ("stranger", {}, "CERTIFICATE_VERIFY_FAILED"),
        ("hospital", {"names": ELSEWHERE}, "CERTIFICATE_VERIFY_FAILED"),
        ("hospital", {"days": 0}, "CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_nobody_else_is_told_anything(analysed, hospital, request, signed_by, how, why):
    pair = request.getfixturevalue(signed_by).sign(f"not-{len(how)}-{signed_by}", **how)
    with ris("AA", tls=showing(pair)) as receiver:
        bench = analysed(notify=(target(receiver.port, tls=True, ca_file=hospital.file),))
        tell(bench)
    assert not receiver.got
    assert (only(bench).state, only(bench).words) == ("waiting", f"TLS fails: {why}")


def test_a_ris_without_tls_is_told_nothing(analysed, hospital: Authority):
    with ris("AA") as receiver:
        wanted = target(receiver.port, tls=True, ca_file=hospital.file)
        bench = analysed(notify=(wanted,), delivery=QUICK)
        tell(bench)
    assert not receiver.got
    assert only(bench).state == "waiting"


def test_a_ris_that_asks_for_a_certificate_is_shown_ours(analysed, hospital, stranger):
    tls = showing(hospital.sign("asking"), asks=hospital)
    with ris("AA", tls=tls) as receiver:
        how = {"tls": True, "ca_file": hospital.file}
        bench = analysed(notify=(target(receiver.port, **how),), delivery=QUICK)
        for wrong in ({}, ours(stranger.sign("us"))):
            bench.restarted(notify=(target(receiver.port, **how, **wrong),))
            bench.parts.messages.start_over()
            tell(bench)
            assert only(bench).state == "waiting"
        assert not receiver.got
        right = target(receiver.port, **how, **ours(hospital.sign("us")))
        bench.restarted(notify=(right,))
        bench.parts.messages.start_over()
        tell(bench)
    assert len(receiver.got) == 1
    assert only(bench).state == "delivered"


def test_a_web_receiver_that_asks_for_a_certificate_is_shown_ours(analysed, hospital):
    tls = showing(hospital.sign("web"), asks=hospital)
    with serving(Web(204, {}), tls=tls) as receiver:
        how = {"ca_file": hospital.file}
        bench = analysed(notify=(hook(receiver.url, **how),), delivery=QUICK)
        tell(bench)
        assert only(bench).state == "waiting"
        bench.restarted(notify=(hook(receiver.url, **how, **ours(hospital.sign("we"))),))
        bench.parts.messages.start_over()
        tell(bench)
    assert len(receiver.got) == 1
    assert only(bench).state == "delivered"


def test_check_looks_at_our_certificate(analysed, hospital: Authority, tmp_path: Path):
    with ris("AA") as receiver:
        pair = hospital.sign("checked")
        assert not _target(target(receiver.port, **ours(pair))).problem
        gone = target(receiver.port, certificate_file=tmp_path / "none")
        assert "cannot be used" in _target(gone).problem
        locked = tmp_path / "locked.key"
        openssl("rsa", "-aes256", "-passout", "pass:word", "-in", pair.key, "-out", locked)
        files = {"certificate_file": pair.certificate, "certificate_key_file": locked}
        encrypted = target(receiver.port, tls=True, **files)
        assert "the key is encrypted" in _target(encrypted).problem
        bench = analysed(notify=(encrypted,))
        tell(bench)
    assert "the key is encrypted" in only(bench).words


def test_certificates_lie_beside_the_settings(tmp_path: Path):
    file = tmp_path / "wetread.toml"
    entry = '[[notify]]\nname = "ris"\nkind = "hl7"\nhost = "ris.example"\nport = 2575\n'
    pair = 'certificate_file = "we.pem"\ncertificate_key_file = "we.key"\n'
    file.write_text(f"{entry}{pair}")
    found: Target = load(file, {}).notify[0]
    files = tmp_path / "we.pem", tmp_path / "we.key"
    assert (found.certificate_file, found.certificate_key_file) == files
    known = {"name": "ris", "kind": "hl7", "host": "ris.example", "port": 2575}
    with pytest.raises(ValidationError, match="needs certificate_file"):
        Settings.model_validate({"notify": [{**known, "certificate_key_file": "we.key"}]})
