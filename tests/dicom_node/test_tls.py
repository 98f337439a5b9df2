"""DICOM over TLS, with DCMTK, Orthanc and openssl as the other side."""

import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom.presentation import build_context

from dicom_node.certificates import examine
from dicom_node.delivery import send
from dicom_node.peers import AssociationPolicy, Peer, PeerTls
from dicom_node.scu import association, echo
from dicom_node.tls import Reloading, TlsFiles
from imaging.errors import SetupError
from imaging.identity import ae_title
from scripts.loopback import get_json, post_json
from tests.dicom_node.certificates import Authority, Pair
from tests.dicom_node.rig import OURS, Ran, Running, free_port, image, listens, run, save, wait_for

PACS = ae_title("PACS")
Start = Callable[..., Running]


class Certificates:
    """Of a hospital, and of somebody else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, foreign = Authority(folder, "hospital"), Authority(folder, "foreign")
        self.node, self.pacs = self.authority.sign("node"), self.authority.sign("pacs")
        self.stranger = foreign.sign("stranger")
        self.expired = self.authority.sign("expired", days=0)

    def files(self, pair: Pair, **changes: str) -> TlsFiles:
        names = {"certificate": pair.certificate, "key": pair.key, "ca": self.authority.file}
        return TlsFiles(**({name: str(path) for name, path in names.items()} | changes))

    def tls(self, pair: Pair, **changes: object) -> PeerTls:
        files = self.files(pair)
        made = PeerTls(certificate=files.certificate, key=files.key, ca=files.ca)
        return replace(made, **changes)

    def dcmtk(self, tool: str, port: int, *arguments: object, pair: Pair | None = None) -> Ran:
        shown = pair or self.pacs
        tls = ("+tls", shown.key, shown.certificate, "+cf", self.authority.file)
        address = ("-aet", "PACS", "-aec", "WETREAD", "localhost", port)
        return run(tool, *tls, *address, *arguments)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(start: Start, certificates: Certificates) -> Callable[..., Running]:
    """Return what starts a node with a plain and a TLS port."""

    def started(*peers: Peer, require_client: bool = True, **changes: str) -> Running:
        policy = AssociationPolicy(ae_title=OURS, peers=peers)
        files = certificates.files(certificates.node, **changes)
        tls = Reloading(files, require_client=require_client)
        return start(policy, tls_port=0, tls=tls)

    return started


def ourselves(running: Running, tls: PeerTls | None) -> Peer:
    port = running.node.tls_port if tls else running.port
    return Peer(name="us", ae_title=OURS, host="localhost", port=port, tls=tls)


def large(number: int) -> Dataset:
    """About 1 MB: 64 PDUs of DCMTK's."""
    pixels = os.urandom(1024 * 512 * 2)
    return image(number, Rows=1024, Columns=512, PixelData=pixels)


def test_dcmtk_stores_over_tls_and_without_side_by_side(
    secure: Callable[..., Running], certificates: Certificates, tmp_path: Path
) -> None:
    running = secure()
    paths = save(tmp_path / "in", *(large(n) for n in range(4)))
    assert certificates.dcmtk("echoscu", running.node.tls_port).code == 0
    ran = certificates.dcmtk("storescu", running.node.tls_port, "-pdu", "16384", *paths[:3])
    assert ran.code == 0, ran.output
    assert running.dcmtk("storescu", paths[3]).code == 0
    stored = [running.index.instance(path.stem) for path in paths]
    assert all(stored)
    for path, each in zip(paths, stored, strict=True):
        assert each is not None
        assert running.archive.read(each.path)[-(1 << 20) :] == path.read_bytes()[-(1 << 20) :]


def test_nobody_gets_in_without_a_certificate_of_our_authority(
    secure: Callable[..., Running], certificates: Certificates
) -> None:
    running = secure()
    port = running.node.tls_port
    assert certificates.dcmtk("echoscu", port, pair=certificates.stranger).code != 0
    assert certificates.dcmtk("echoscu", port, pair=certificates.expired).code != 0
    anonymous = ("+tla", "+cf", certificates.authority.file)
    assert run("echoscu", *anonymous, "-aec", "WETREAD", "localhost", port).code != 0
    assert run("echoscu", "-aec", "WETREAD", "localhost", port).code != 0
    assert certificates.dcmtk("echoscu", port).code == 0


def test_a_client_certificate_may_be_left_out_where_it_is_not_required(
    secure: Callable[..., Running], certificates: Certificates
) -> None:
    port = secure(require_client=False).node.tls_port
    anonymous = ("+tla", "+cf", certificates.authority.file)
    assert run("echoscu", *anonymous, "-aec", "WETREAD", "localhost", port).code == 0
    assert certificates.dcmtk("echoscu", port, pair=certificates.stranger).code != 0


def negotiated(certificates: Certificates, port: int, *options: str) -> str | None:
    """Return protocol and suite that openssl agrees on with us, ``None`` when there are none."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    pair = certificates.pacs
    command = ["openssl", "s_client", "-connect", f"localhost:{port}", "-cert", pair.certificate]
    command += ["-key", pair.key, "-CAfile", certificates.authority.file, *options]
    done = subprocess.run(
        [*map(str, command)], input=b"", capture_output=True, timeout=30, check=False
    )
    found = re.search(r"New, (\S+), Cipher is (\S+)", done.stdout.decode(errors="replace"))
    return None if found is None or found[2] == "(NONE)" else f"{found[1]} {found[2]}"


def test_only_sound_versions_and_suites_are_agreed_on(
    secure: Callable[..., Running], certificates: Certificates
) -> None:
    port = secure().node.tls_port
    assert str(negotiated(certificates, port)).startswith("TLSv1.3")
    assert "GCM" in str(negotiated(certificates, port, "-tls1_2"))
    weak = ("-cipher", "ALL:@SECLEVEL=0")
    assert negotiated(certificates, port, "-tls1_1", *weak) is None
    assert negotiated(certificates, port, "-tls1", *weak) is None
    for suite in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA256"):
        assert negotiated(certificates, port, "-tls1_2", "-cipher", suite) is None
    newest = secure(minimum_version="1.3").node.tls_port
    assert negotiated(certificates, newest, "-tls1_2") is None
    assert str(negotiated(certificates, newest)).startswith("TLSv1.3")


@pytest.mark.parametrize("binding", ["fingerprint", "subject"])
def test_a_bound_peer_is_known_by_its_own_certificate_only(
    secure: Callable[..., Running], certificates: Certificates, binding: str
) -> None:
    bound = {
        "fingerprint": PeerTls(fingerprints=("0" * 64, certificates.pacs.fingerprint)),
        "subject": PeerTls(subject="pacs"),
    }[binding]
    known = Peer(name="pacs", ae_title=PACS, host="127.0.0.1", port=104, tls=bound)
    running = secure(known)
    port = running.node.tls_port
    assert certificates.dcmtk("echoscu", port).code == 0
    other = certificates.dcmtk("echoscu", port, pair=certificates.node)
    assert "Calling AE Title Not Recognized" in other.output
    plain = running.dcmtk("echoscu", "-aet", "PACS")
    assert "Calling AE Title Not Recognized" in plain.output
    assert running.dcmtk("echoscu", "-aet", "OTHER").code == 0  # a stranger of this machine


def test_a_peer_may_be_let_in_without_tls_though_we_call_it_with(
    secure: Callable[..., Running], certificates: Certificates
) -> None:
    lax = PeerTls(require=False)
    running = secure(Peer(name="pacs", ae_title=PACS, host="127.0.0.1", port=104, tls=lax))
    assert running.dcmtk("echoscu", "-aet", "PACS").code == 0


def test_new_certificates_count_for_new_associations_and_open_ones_go_on(
    start: Start, certificates: Certificates, tmp_path: Path
) -> None:
    used = Pair(certificate=tmp_path / "node.pem", key=tmp_path / "node.key")
    shutil.copy(certificates.node.certificate, used.certificate)
    shutil.copy(certificates.node.key, used.key)
    running = start(tls_port=0, tls=Reloading(certificates.files(used)))

    def us(pair: Pair) -> Peer:
        tls = certificates.tls(certificates.pacs, fingerprints=(pair.fingerprint,))
        return ourselves(running, tls)

    context = [build_context("1.2.840.10008.1.1")]
    assert echo(us(certificates.pacs), ae_title=PACS) is not None
    with association(us(certificates.node), context, PACS) as opened:
        assert opened.is_established
        shutil.copy(certificates.pacs.certificate, used.certificate)
        assert echo(us(certificates.node), ae_title=PACS) is None  # the key has not come yet
        shutil.copy(certificates.pacs.key, used.key)
        assert echo(us(certificates.pacs), ae_title=PACS) is None
        assert echo(us(certificates.node), ae_title=PACS) is not None
        assert opened.send_c_echo().Status == 0


def test_we_send_over_tls(
    secure: Callable[..., Running], certificates: Certificates, tmp_path: Path
) -> None:
    us = ourselves(secure(), certificates.tls(certificates.pacs))
    paths = save(tmp_path / "in", *(large(n) for n in range(3)))
    outcome = send(us, paths, ae_title=PACS)
    assert outcome.text == ""
    assert len(outcome.stored) == 3


def test_a_failed_call_says_why(secure: Callable[..., Running], certificates: Certificates) -> None:
    running = secure()
    tls = certificates.tls(certificates.pacs)

    def problem(peer: Peer) -> str:
        return str(echo(peer, ae_title=PACS))

    foreign = replace(tls, ca=str(certificates.folder / "foreign.pem"))
    assert "TLS: self-signed certificate" in problem(ourselves(running, foreign))
    other = replace(tls, fingerprints=("0" * 64,))
    assert "not the one of this peer" in problem(ourselves(running, other))
    stranger = certificates.stranger
    unknown = replace(tls, certificate=str(stranger.certificate), key=str(stranger.key))
    assert "TLS: tlsv1 alert unknown ca" in problem(ourselves(running, unknown))
    missing = replace(tls, certificate="/nowhere.pem", key="/nowhere.key")
    assert "TLS: no such file" in problem(ourselves(running, missing))
    plain = replace(ourselves(running, tls), port=running.port)
    assert "TLS" in problem(plain)


def test_the_name_in_a_certificate_must_be_the_host_unless_that_is_not_asked(
    secure: Callable[..., Running], certificates: Certificates
) -> None:
    elsewhere = certificates.authority.sign("elsewhere", names="subjectAltName=DNS:elsewhere")
    changes = {"certificate": str(elsewhere.certificate), "key": str(elsewhere.key)}
    us = ourselves(secure(**changes), certificates.tls(certificates.pacs))
    assert "TLS: Hostname mismatch" in str(echo(us, ae_title=PACS))
    lax = certificates.tls(certificates.pacs, verify_host=False)
    assert echo(replace(us, tls=lax), ae_title=PACS) is None


def test_examined_certificates(certificates: Certificates) -> None:
    def problems(files: TlsFiles) -> list[str]:
        return [each.problem or each.remark for each in examine(files)]

    good = certificates.files(certificates.node)
    assert problems(good) == ["", ""]
    own, authority = examine(good)
    assert own.expires_at is not None
    assert own.days_left(own.expires_at - 3.5 * 86400) == 3
    assert authority.days_left(own.expires_at) > 3000
    swapped = replace(good, key=str(certificates.pacs.key))
    assert "key values mismatch" in problems(swapped)[0]
    assert problems(certificates.files(certificates.expired))[0] == "it has expired"
    assert "vouches" in problems(certificates.files(certificates.stranger))[0]
    assert "no such file" in problems(replace(good, ca="/nowhere"))[1]
    serving_only = certificates.authority.sign("serving", extra="extendedKeyUsage=serverAuth")
    assert "purpose" in problems(certificates.files(serving_only))[0]


def test_a_listener_cannot_start_with_files_that_do_not_fit(certificates: Certificates) -> None:
    good = certificates.files(certificates.node)
    with pytest.raises(SetupError, match="mismatch"):
        Reloading(replace(good, key=str(certificates.pacs.key)))
    with pytest.raises(SetupError, match="no ca is named"):
        Reloading(replace(good, ca=""))
    assert isinstance(Reloading(replace(good, ca=""), require_client=False)(), ssl.SSLContext)


@pytest.fixture
def orthanc_tls(
    certificates: Certificates, tmp_path: Path, our_port: int, orthanc_http: int
) -> Iterator[Peer]:
    """Orthanc that takes associations over TLS only, and calls us so."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    port, folder = free_port(), tmp_path / "orthanc"
    folder.mkdir()
    modality = {"AET": OURS, "Host": "localhost", "Port": our_port, "UseDicomTls": True}
    settings = {
        "DicomAet": PACS,
        "DicomPort": port,
        "HttpPort": orthanc_http,
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates.pacs.certificate),
        "DicomTlsPrivateKey": str(certificates.pacs.key),
        "DicomTlsTrustedCertificates": str(certificates.authority.file),
        "DicomTlsRemoteCertificateRequired": True,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {"wetread": modality},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: listens(port), seconds=30)
    tls = certificates.tls(certificates.node, fingerprints=(certificates.pacs.fingerprint,))
    yield Peer(name="pacs", ae_title=PACS, host="localhost", port=port, tls=tls)
    process.terminate()
    process.wait(timeout=20)


def test_orthanc_is_sent_to_and_sends_over_tls(
    orthanc_tls: Peer,
    certificates: Certificates,
    start: Start,
    our_port: int,
    orthanc_http: int,
    tmp_path: Path,
) -> None:
    policy = AssociationPolicy(ae_title=OURS, peers=(orthanc_tls,))
    tls = Reloading(certificates.files(certificates.node))
    running = start(policy, tls_port=our_port, tls=tls)
    paths = save(tmp_path / "in", *(large(n) for n in range(3)))
    assert len(send(orthanc_tls, paths, ae_title=OURS).stored) == 3
    assert echo(replace(orthanc_tls, tls=None), ae_title=OURS) is not None
    everything = get_json(orthanc_http, "/instances")
    post_json(orthanc_http, "/modalities/wetread/store", everything)
    assert running.index.counts().instances == 3
