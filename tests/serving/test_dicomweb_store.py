import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from serving.dicomweb.parts_reader import PartBegins, PartBytes, PartEnds, PartsReader
from tests.builders import ct_series
from tests.dicom_node.rig import image, part10, wait_for
from tests.serving.dicomweb_site import Site, running
from tests.serving.test_dicomweb_search import problem

KIND = 'multipart/related; type="application/dicom"; boundary=XX'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(Site(tmp_path)) as made:
        yield made


def body_of(files: Sequence[bytes], head: str = "Content-Type: application/dicom") -> bytes:
    parts = (f"--XX\r\n{head}\r\n\r\n".encode() + file + b"\r\n" for file in files)
    return b"".join(parts) + b"--XX--"


def post(site: Site, body: bytes, path: str = "/studies", kind: str = KIND) -> httpx.Response:
    return site.client.post(path, content=body, headers={"Content-Type": kind})


def store(site: Site, *datasets: Dataset, path: str = "/studies") -> httpx.Response:
    return post(site, body_of([part10(ds) for ds in datasets]), path)


def stored(answer: httpx.Response) -> list[str]:
    return [
        item["00081155"]["Value"][0]
        for item in answer.json().get("00081199", {"Value": []})["Value"]
    ]


def failures(answer: httpx.Response) -> list[tuple[int, str]]:
    failed = answer.json().get("00081198", {"Value": []})["Value"]
    return [
        (i["00081197"]["Value"][0], i.get("00000902", {"Value": [""]})["Value"][0]) for i in failed
    ]


def test_instances_are_stored_and_at_once_listed(site: Site):
    slices = ct_series((3, 8, 8))
    answer = store(site, *slices)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert stored(answer) == [ds.SOPInstanceUID for ds in slices]
    study = slices[0].StudyInstanceUID
    told = answer.json()
    assert told["00081190"]["Value"] == [f"{site.url}/studies/{study}"]
    address = told["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert httpx.get(address, headers={"Accept": "application/dicom"}).content[128:132] == b"DICM"
    assert "00081198" not in told
    assert len(site.get(f"/studies/{study}/instances")) == 3
    row = site.parts.index.study(study)
    assert (row.state, row.sender, row.received) == ("receiving", "STOW-RS", 3)


def test_lists_and_metadata_that_are_asked_again_follow_at_once(site: Site):
    study = f"/studies/{image(1).StudyInstanceUID}"
    series = f"{study}/series/{image(1).SeriesInstanceUID}"
    for count in (1, 2, 3):
        assert store(site, image(count)).status_code == 200
        for _ in range(2):
            assert site.get("/studies")[0]["00201208"]["Value"] == [count]
            assert len(site.get(f"{study}/instances")) == count
            assert len(site.get(f"{series}/metadata")) == count
    site.keep([image(1, study="second")])
    assert len(site.get("/studies")) == 2


def test_the_same_again_changes_nothing_and_other_content_is_a_duplicate(site: Site):
    assert store(site, image(1)).status_code == 200
    assert store(site, image(1)).status_code == 200
    answer = store(site, image(1, StudyDescription="other"))
    assert answer.status_code == 409
    assert failures(answer)[0][0] == 0x0111
    assert site.parts.index.study(image(1).StudyInstanceUID).received == 1


def test_each_instance_has_its_own_answer(site: Site):
    bad = part10(image(2))[:-20]
    other = image(3, PatientID="P9")
    answer = post(site, body_of([part10(image(1)), bad, b"no DICOM at all", part10(other)]))
    assert answer.status_code == 202
    assert stored(answer) == [image(1).SOPInstanceUID]
    codes = [code for code, _ in failures(answer)]
    assert codes == [0xC000, 0xC000, 0xC000]
    assert "another patient" in failures(answer)[2][1]
    noted = {item.code for item in site.parts.index.set_aside()}
    assert noted == {"MALFORMED_INSTANCE", "OTHER_PATIENT"}


def test_nothing_stored_is_a_conflict(site: Site):
    answer = post(site, body_of([b"no DICOM at all"]))
    assert (answer.status_code, len(failures(answer))) == (409, 1)


def test_a_study_in_the_address_must_be_that_of_the_instances(site: Site):
    right = image(1)
    study = f"/studies/{right.StudyInstanceUID}"
    assert store(site, right, path=study).status_code == 200
    answer = store(site, image(1, study="another"), path=study)
    assert (answer.status_code, failures(answer)[0][0]) == (409, 0xA900)


def test_what_a_viewer_writes_is_taken_leniently_and_refused_strictly(site: Site):
    """No part type, a wrong SOP class and a strange version in the file meta information."""
    file = part10(image(1))
    wrong = file.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.4\0", 1)
    body = body_of([wrong], head="X-Nothing: 1")
    strict = post(site, body, "/studies?strict=true")
    assert (strict.status_code, failures(strict)[0][0]) == (409, 0x0122)
    named = post(site, body_of([wrong]), "/studies?strict=true")
    assert failures(named)[0][0] == 0xA900
    lenient = post(site, body)
    assert lenient.status_code == 202
    item = lenient.json()["00081199"]["Value"][0]
    assert item["00081196"]["Value"] == [0xB007]
    assert item["00081150"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]
    syntax = 'application/dicom; transfer-syntax="1.2.840.10008.1.2"'
    other = post(site, body_of([file], f"Content-Type: {syntax}"), "/studies?strict=true")
    assert "transfer syntax of the part" in failures(other)[0][1]
    assert post(site, body_of([file]), "/studies?strict=true").status_code == 200


def test_strict_can_be_the_setting(tmp_path: Path):
    with running(Site(tmp_path, dicomweb={"strict": True})) as site:
        body = body_of([part10(image(1))], head="X-Nothing: 1")
        assert post(site, body).status_code == 409
        assert post(site, body, "/studies?strict=false").status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/dicom", 415),
        ("multipart/form-data; boundary=XX", 415),
        ('multipart/related; type="application/dicom+json"; boundary=XX', 415),
        ('multipart/related; type="application/dicom"', 400),
        ('MULTIPART/Related; BOUNDARY="XX"; type=Application/DICOM', 200),
    ],
)
def test_only_dicom_in_parts_is_taken(site: Site, kind: str, status: int):
    answer = post(site, body_of([part10(image(1))]), kind=kind)
    assert answer.status_code == status
    if status != 200:
        assert problem(answer, status)


def test_bodies_that_are_none(site: Site):
    assert "there is no part" in problem(post(site, b""), 400)
    assert "there is no part" in problem(post(site, b"--XX--"), 400)
    whole = body_of([part10(image(1)), part10(image(2))])
    assert "before its closing delimiter" in problem(post(site, whole[:-4]), 400)
    assert "headers of a part" in problem(post(site, b"--XX\r\nA: " + b"x" * 20000), 400)
    assert "strict must be" in problem(post(site, whole, "/studies?strict=perhaps"), 400)
    headers = {"Content-Type": KIND, "Accept": "text/html"}
    refused = site.client.post("/studies", content=whole, headers=headers)
    assert "application/dicom+json" in problem(refused, 406)


def test_what_is_too_large_is_refused(tmp_path: Path):
    limits = {"max_instance_gb": 3e-6, "max_request_gb": 2e-5}
    with running(Site(tmp_path, dicomweb=limits)) as site:
        large = image(2, ImageComments="x" * 5000)
        answer = store(site, image(1), large, image(3))
        assert answer.status_code == 202
        assert failures(answer) == [(0xA700, "an instance may have 3e-06 GB")]
        assert len(stored(answer)) == 2
        many = body_of([part10(image(n)) for n in range(40)])
        assert "send fewer" in problem(post(site, many), 413)

        def unannounced() -> Iterator[bytes]:
            yield from (many[at : at + 1000] for at in range(0, len(many), 1000))

        answer = site.client.post("/studies", content=unannounced(), headers={"Content-Type": KIND})
        assert problem(answer, 413)


def test_a_full_disk_is_said_before_anything_is_taken(tmp_path: Path):
    with running(Site(tmp_path, storage={"min_free_gb": 1e9})) as site:
        assert "free space" in problem(store(site, image(1)), 503)


def test_what_came_before_the_line_broke_is_kept(site: Site):
    body = body_of([part10(image(1)), part10(image(2))])
    with socket.create_connection(("127.0.0.1", site.port)) as line:
        head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {KIND}\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-200])
        wait_for(lambda: site.parts.index.instance(image(1).SOPInstanceUID), seconds=20)
    assert site.parts.index.instance(image(2).SOPInstanceUID) is None
    assert store(site, image(1), image(2)).status_code == 200
    folder = site.parts.archive.folder
    assert len(list(folder.rglob("*.dcm"))) == 2
    assert not list((folder / ".incoming").iterdir())


def test_many_at_once_are_all_kept(site: Site):
    def one(number: int) -> int:
        body = body_of([part10(image(n, series=f"s{number}")) for n in range(5)])
        headers = {"Content-Type": KIND}
        answer = httpx.post(f"{site.url}/studies", content=body, headers=headers, timeout=60)
        return answer.status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(one, range(6))) == {200}
    study = image(1).StudyInstanceUID
    assert site.parts.index.study(study).received == 30
    assert len(site.get(f"/studies/{study}/metadata")) == 30


# Real clients


def test_dicomweb_client_stores(site: Site):
    slices = ct_series((2, 8, 8))
    client = DICOMwebClient(site.url)
    told = client.store_instances(slices)
    assert len(told.ReferencedSOPSequence) == 2
    back = client.retrieve_instance(*(slices[0][k].value for k in (
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")))  # fmt: skip
    assert back.PixelData == slices[0].PixelData


# Reading parts


@settings(derandomize=True, max_examples=80, deadline=None)
@given(
    st.lists(st.binary(max_size=60), min_size=1, max_size=4),
    st.lists(st.integers(1, 17), min_size=1, max_size=5),
    st.binary(max_size=10).filter(lambda text: b"XX" not in text),
)
def test_parts_are_read_however_the_body_is_cut(files, steps, preamble):
    files = [file.replace(b"\r\n--XX", b"") for file in files]
    body = preamble + b"\r\n" + body_of(files) + b"\r\nepilogue"
    reader, found, at, turn = PartsReader("XX"), [], 0, 0
    while at < len(body):
        step = steps[turn % len(steps)]
        for piece in reader.feed(body[at : at + step]):
            if isinstance(piece, PartBegins):
                assert piece.headers == {"content-type": "application/dicom"}
                found.append(b"")
            elif isinstance(piece, PartBytes):
                found[-1] += piece.data
            else:
                assert isinstance(piece, PartEnds)
        at, turn = at + step, turn + 1
    assert reader.ended
    assert found == files
