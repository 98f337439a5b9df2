import gzip
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import imagecodecs
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)

from imaging.header import read_header
from imaging.pixels import stored_plane
from tests.builders import ct_series
from tests.dicom_node.rig import image
from tests.enhanced import enhanced
from tests.imaging.encoded import J2K_LOSSLESS, JPEG_LS, RLE, jpeg_2000, one, picture, rle
from tests.serving.dicomweb_site import Site, parts_of, running

STUDY, SERIES = "1.2.3", "1.2.3.1"
OCTETS, STORED = 'multipart/related; type="application/octet-stream"', "; transfer-syntax=*"
MPEG4 = "1.2.840.10008.1.2.4.102"


def named(ds: Dataset, instance: str, series: str = SERIES) -> Dataset:
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = STUDY, series, instance
    ds.PatientID = "PH-1"
    return ds


def codestream(syntax: str, stored: Any) -> bytes:
    if syntax == RLE:
        return rle(stored)
    return jpeg_2000(stored, 12) if syntax == J2K_LOSSLESS else imagecodecs.jpegls_encode(stored)


PICTURE = picture(12, signed=False)
COMPRESSED = {RLE: "1.2.3.5.1", JPEG_LS: "1.2.3.5.2", J2K_LOSSLESS: "1.2.3.5.3"}
NATIVE = {
    ImplicitVRLittleEndian: "1.2.3.4.1",
    ExplicitVRBigEndian: "1.2.3.4.2",
    DeflatedExplicitVRLittleEndian: "1.2.3.4.3",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("retrieve"))
    head = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
    made.keep(ct_series((3, 16, 16), voxels=np.arange(3 * 256).reshape(3, 16, 16), **head))
    for syntax, uid in NATIVE.items():
        samples = PICTURE.byteswap() if syntax == ExplicitVRBigEndian else PICTURE
        ds = named(one(ExplicitVRLittleEndian, samples.tobytes(), PICTURE, 12), uid, "1.2.3.4")
        made.keep([ds], syntax)
    for syntax, uid in COMPRESSED.items():
        ds = named(one(syntax, codestream(syntax, PICTURE), PICTURE, 12), uid, "1.2.3.5")
        made.keep([ds], syntax)
    made.keep([named(enhanced(ct_series((4, 8, 8), voxels=np.arange(256).reshape(4, 8, 8))),
                     "1.2.3.6.1", "1.2.3.6")])  # fmt: skip
    made.keep([bits("1.2.3.7.1"), pdf("1.2.3.7.3")])
    made.keep([video("1.2.3.7.2")], MPEG4)
    with running(made):
        yield made


def bits(uid: str) -> Dataset:
    """Two frames of 5 x 3 single bits: the second begins within a byte."""
    ds = image(SOPClassUID=SegmentationStorage, Rows=3, Columns=5, NumberOfFrames=2)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.PixelData = np.packbits(FRAME_BITS.reshape(-1), bitorder="little").tobytes()
    return named(ds, uid, "1.2.3.7")


FRAME_BITS = np.random.default_rng(3).integers(0, 2, (2, 15), np.uint8)


def video(uid: str) -> Dataset:
    """Frames that nobody here decodes."""
    return named(one(MPEG4, VIDEO, PICTURE, 12, NumberOfFrames=9), uid, "1.2.3.7")


def pdf(uid: str) -> Dataset:
    ds = image()
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(ds, keyword)
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = PDF
    return named(ds, uid, "1.2.3.7")


VIDEO = b"\0\0\1\xb3video "
PDF = b"%PDF-1.4 " + b"x" * 5001
ONE = f"/studies/{STUDY}/series/{SERIES}"


def instance(series: str, uid: str) -> str:
    return f"/studies/{STUDY}/series/{series}/instances/{uid}"


def first(site: Site) -> str:
    return site.get(f"{ONE}/instances")[0]["00080018"]["Value"][0]


def read(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


# Metadata


def test_metadata_hold_every_attribute_but_pixels(site: Site):
    answer = site.client.get(f"{ONE}/metadata", headers={"Accept": "application/dicom+json"})
    assert answer.headers["content-type"] == "application/dicom+json"
    found = answer.json()
    assert [each["00200013"]["Value"] for each in found] == [[1], [2], [3]]
    source = read(site.raw(f"{ONE}/instances/{first(site)}", "application/dicom").content)
    assert set(found[0]) == {f"{int(element.tag):08X}" for element in source}
    decoded = Dataset.from_json(found[0], bulk_data_uri_handler=lambda *_: source.PixelData)
    assert [e for e in decoded if e.keyword not in {"PixelData", "SpecificCharacterSet"}] == [
        e for e in source if e.keyword not in {"PixelData", "SpecificCharacterSet"}
    ]


def test_metadata_of_a_study_and_of_an_instance(site: Site):
    assert len(site.get(f"/studies/{STUDY}/metadata")) == 3 + 3 + 3 + 1 + 3
    (alone,) = site.get(f"{ONE}/instances/{first(site)}/metadata")
    assert alone == site.get(f"{ONE}/metadata")[0]


def test_metadata_are_answered_without_the_files(site: Site):
    before = site.get(f"{ONE}/metadata")
    folder = site.parts.archive.folder / "default" / STUDY / SERIES
    hidden = folder.rename(folder.with_name("hidden"))
    try:
        assert site.get(f"{ONE}/metadata") == before
        uid = before[0]["00080018"]["Value"][0]
        assert "not here any more" in problem(
            site.client.get(f"{ONE}/instances/{uid}/frames/1"), 404
        )
        problem(site.client.get(ONE), 404)
    finally:
        hidden.rename(folder)


def test_metadata_outlive_the_process_and_follow_new_instances(tmp_path: Path):
    site = Site(tmp_path)
    head = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
    slices = ct_series((4, 8, 8), **head)
    site.keep(slices[:2])
    with running(site):
        assert len(site.get(f"{ONE}/metadata")) == 2
        tag = site.client.get(f"{ONE}/metadata").headers["etag"]
        same = site.client.get(f"{ONE}/metadata", headers={"If-None-Match": tag})
        assert (same.status_code, same.content) == (304, b"")
    again = Site(tmp_path)
    (tmp_path / "data/instances/default" / STUDY / SERIES).rename(tmp_path / "away")
    with running(again):
        assert len(again.get(f"{ONE}/metadata")) == 2  # from the database alone
        (tmp_path / "away").rename(tmp_path / "data/instances/default" / STUDY / SERIES)
        again.keep(slices[2:])
        assert [each["00200013"]["Value"] for each in again.get(f"{ONE}/metadata")] == [
            [1], [2], [3], [4]]  # fmt: skip
        changed = again.client.get(f"{ONE}/metadata", headers={"If-None-Match": tag})
        assert changed.status_code == 200


def test_metadata_compressed_or_not_are_the_same(site: Site):
    plain = site.client.get(f"{ONE}/metadata", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with site.client.stream(
        "GET", f"{ONE}/metadata", headers={"Accept-Encoding": "gzip"}
    ) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content


# Instances


def test_a_study_comes_as_it_is_stored(site: Site):
    found = parts_of(
        site.raw(f"/studies/{STUDY}", 'multipart/related; type="application/dicom"' + STORED)
    )
    assert len(found) == 13
    stored = {row.instance_uid: row for row in site.parts.index.instances_of(STUDY)}
    for head, body in found:
        row = stored[head["content-location"].rsplit("/", 1)[1]]
        assert (
            head["content-type"] == f"application/dicom; transfer-syntax={row.transfer_syntax_uid}"
        )
        assert body == site.parts.archive.read(row.path)


@pytest.mark.parametrize(
    "accept", ["*/*", "application/dicom; transfer-syntax=*", "multipart/related" + STORED]
)
def test_one_instance_as_it_is_stored(site: Site, accept: str):
    uid = COMPRESSED[JPEG_LS]
    answer = site.raw(instance("1.2.3.5", uid), accept)
    alone = accept.startswith("application/dicom")
    body = answer.content if alone else parts_of(answer)[0][1]
    assert read(body).file_meta.TransferSyntaxUID == JPEG_LS


@pytest.mark.parametrize(
    "accept",
    [
        "application/dicom",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
        'multipart/related; type="application/dicom"',
        "multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90, application/dicom;q=0.5",
    ],
)
@pytest.mark.parametrize("syntax", [JPEG_LS, RLE, *NATIVE])
def test_one_instance_is_transcoded_when_asked(site: Site, accept: str, syntax: str):
    uid = (COMPRESSED | NATIVE)[syntax]
    answer = site.raw(instance("1.2.3.5" if syntax in COMPRESSED else "1.2.3.4", uid), accept)
    body = answer.content if accept.startswith("application/dicom") else parts_of(answer)[0][1]
    ds = read(body)
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert ds.SOPInstanceUID == uid
    assert np.array_equal(ds.pixel_array, PICTURE)


def test_what_cannot_be_given_is_not_acceptable(site: Site):
    path = instance("1.2.3.5", COMPRESSED[JPEG_LS])
    for accept in (
        f"application/dicom; transfer-syntax={J2K_LOSSLESS}",
        "image/png",
        "application/dicom;q=0",
        "multipart/related; type=application/dicom+xml",
    ):
        assert "can be given" in problem(site.client.get(path, headers={"Accept": accept}), 406)
    answer = site.client.get(f"/studies/{STUDY}", headers={"Accept": "application/dicom"})
    problem(answer, 406)  # several instances are no single part
    assert site.client.get(f"{path}?accept=application/dicom;transfer-syntax=*").status_code == 200


# Frames


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_compressed_frame_is_its_codestream(site: Site, syntax: str):
    path = instance("1.2.3.5", COMPRESSED[syntax]) + "/frames/1"
    ((head, body),) = parts_of(site.raw(path, OCTETS + STORED))
    assert head["content-type"] == f"application/octet-stream; transfer-syntax={syntax}"
    sent = codestream(syntax, PICTURE)
    assert body == sent + b"\0" * (len(sent) % 2)
    for accept in (OCTETS, "application/octet-stream"):
        answer = site.raw(path, accept)
        plain = parts_of(answer)[0][1] if accept == OCTETS else answer.content
        assert plain == PICTURE.tobytes()
    images = {RLE: "image/dicom-rle", JPEG_LS: "image/jls", J2K_LOSSLESS: "image/jp2"}
    ((head, again),) = parts_of(site.raw(path, f'multipart/related; type="{images[syntax]}"'))
    assert head["content-type"] == f"{images[syntax]}; transfer-syntax={syntax}"
    assert again == body


@pytest.mark.parametrize("syntax", NATIVE)
def test_a_native_frame_is_its_samples(site: Site, syntax: str):
    path = instance("1.2.3.4", NATIVE[syntax]) + "/frames/1"
    answer = site.raw(path, "application/octet-stream")
    assert answer.content == PICTURE.tobytes()
    stored = site.raw(path, "application/octet-stream" + STORED)
    swapped = syntax == ExplicitVRBigEndian
    assert stored.content == (PICTURE.byteswap().tobytes() if swapped else PICTURE.tobytes())


def test_several_frames_in_the_order_asked_for(site: Site):
    path = instance("1.2.3.6", "1.2.3.6.1")
    found = [body for _, body in parts_of(site.raw(f"{path}/frames/3,1,4", OCTETS + STORED))]
    row = site.parts.index.instance("1.2.3.6.1")
    assert row is not None
    header = read_header(site.parts.archive.file(row.path))
    assert found == [stored_plane(replace(header, frame=n)).tobytes() for n in (2, 0, 3)]
    assert len(parts_of(site.raw(f"{path}/frames/1"))[0][1]) == 128


def test_frames_of_single_bits_are_packed_anew(site: Site):
    for number in (1, 2):
        answer = site.raw(
            instance("1.2.3.7", "1.2.3.7.1") + f"/frames/{number}", "application/octet-stream"
        )
        packed = np.packbits(FRAME_BITS[number - 1], bitorder="little").tobytes()
        assert answer.content == packed


def test_frames_that_are_not_there(site: Site):
    path = instance("1.2.3.6", "1.2.3.6.1")
    assert "has frames 1 to 4" in problem(site.client.get(f"{path}/frames/5"), 404)
    assert "has frames 1 to 4" in problem(site.client.get(f"{path}/frames/0"), 404)
    for wrong in ("x", "1,", "1-2", "1e9", "-1"):
        assert "not a list of frame numbers" in problem(
            site.client.get(f"{path}/frames/{wrong}"), 400
        )
    problem(site.client.get(f"{path}/frames/1", headers={"Accept": "image/jls"}), 406)
    assert "no frames" in problem(
        site.client.get(instance("1.2.3.7", "1.2.3.7.3") + "/frames/1"), 404
    )


def test_a_video_is_given_as_it_is_stored_or_not_at_all(site: Site):
    path = instance("1.2.3.7", "1.2.3.7.2")
    assert VIDEO in site.raw(path, "application/dicom" + STORED).content
    assert VIDEO in site.raw(path, "application/dicom").content
    plain = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    problem(site.client.get(path, headers={"Accept": plain}), 406)
    answer = site.client.get(f"{path}/frames/1", headers={"Accept": OCTETS + STORED})
    assert "cannot be told apart" in problem(answer, 400)
    assert VIDEO in site.raw(f"{path}/bulkdata/7FE00010").content


# Bulk data


def test_bulk_data_are_fetched_by_their_address(site: Site):
    (metadata,) = site.get(instance("1.2.3.7", "1.2.3.7.3") + "/metadata")
    address = metadata["00420011"]["BulkDataURI"].removeprefix("/dicomweb")
    answer = site.raw(
        address, 'multipart/related; type="application/pdf", application/octet-stream;q=0.5'
    )
    ((head, body),) = parts_of(answer)
    assert (head["content-type"], body) == ("application/pdf", PDF + b"\0" * (len(PDF) % 2))
    alone = site.raw(address, "application/pdf")
    assert (alone.headers["content-type"], alone.content) == ("application/pdf", body)
    assert "not a bulk value" in problem(site.client.get(address[:-8] + "00100010"), 404)


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    "path",
    ["/studies/9.9", f"/studies/{STUDY}/series/9.9", f"{ONE}/instances/9.9",
     "/studies/9.9/metadata", f"/studies/{STUDY}/series/9.9/metadata",
     f"{ONE}/instances/9.9/metadata", f"{ONE}/instances/9.9/frames/1",
     "/studies/9.9/series/9.9/instances/9.9/bulkdata/7FE00010"],
)  # fmt: skip
def test_what_is_not_here_is_not_found(site: Site, path: str):
    assert "is not here" in problem(site.client.get(path), 404)


def test_names_are_never_markup(tmp_path: Path):
    site = Site(tmp_path)
    evil = "<script>alert(1)</script>"
    site.keep([image(PatientName=evil, StudyDescription='"}]' + evil)])
    with running(site):
        (study,) = site.get("/studies")
        assert study["00100010"]["Value"] == [{"Alphabetic": evil}]
        assert study["00081030"]["Value"] == ['"}]' + evil]
        wrong = site.client.get(f"/studies?StudyDate={evil}")
        assert wrong.headers["content-type"] == "application/problem+json"


# A real client


def test_dicomweb_client_retrieves(site: Site):
    client = DICOMwebClient(site.url)
    assert len(client.retrieve_series_metadata(STUDY, SERIES)) == 3
    assert len(client.retrieve_study(STUDY)) == 13
    assert len(client.retrieve_series(STUDY, "1.2.3.5")) == 3
    uid = COMPRESSED[JPEG_LS]
    plain = client.retrieve_instance(
        STUDY, "1.2.3.5", uid, media_types=(("application/dicom", ExplicitVRLittleEndian),)
    )
    assert np.array_equal(plain.pixel_array, PICTURE)
    frames = client.retrieve_instance_frames(STUDY, "1.2.3.6", "1.2.3.6.1", [2, 3])
    assert [len(frame) for frame in frames] == [128, 128]
    metadata = client.retrieve_instance_metadata(STUDY, "1.2.3.7", "1.2.3.7.3")
    address = site.url.removesuffix("/dicomweb") + metadata["00420011"]["BulkDataURI"]
    assert client.retrieve_bulkdata(address)[0].startswith(b"%PDF")
