from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from numpy.typing import NDArray
from PIL import Image

from tests.builders import ct_series
from tests.dicom_node.rig import image
from tests.enhanced import enhanced
from tests.imaging.encoded import EXPLICIT, one
from tests.serving.dicomweb_site import Site, parts_of, running
from tests.serving.test_dicomweb_retrieve import named
from tests.serving.test_dicomweb_search import problem

STUDY = "1.2.3"
HU = np.tile(np.linspace(-1000, 1000, 32), (16, 1))  # dark on the left
COLOURS = np.zeros((8, 8, 3), np.uint8)
COLOURS[:, :4, 0], COLOURS[:, 4:, 2] = 200, 100


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("pictures"))
    slices = ct_series((2, 16, 32), voxels=np.stack([HU, HU]), WindowCenter=0, WindowWidth=2000)
    for number, ds in enumerate(slices):
        made.keep([named(ds, f"1.2.3.1.{number}", "1.2.3.1")])
    slices[0].PhotometricInterpretation = "MONOCHROME1"
    made.keep([named(slices[0], "1.2.3.2.1", "1.2.3.2")])
    made.keep([named(one(EXPLICIT, COLOURS.tobytes(), COLOURS, 8), "1.2.3.3.1", "1.2.3.3")])
    frames = enhanced(ct_series((3, 8, 8), voxels=np.arange(192).reshape(3, 8, 8)))
    made.keep([named(frames, "1.2.3.4.1", "1.2.3.4")])
    report = image()
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(report, keyword)
    made.keep([named(report, "1.2.3.5.1", "1.2.3.5")])
    with running(made):
        yield made


def address(series: int, instance: int = 1) -> str:
    return f"/studies/{STUDY}/series/1.2.3.{series}/instances/1.2.3.{series}.{instance}"


def shown(site: Site, path: str, accept: str = "image/png") -> NDArray[Any]:
    answer = site.raw(path, accept)
    assert answer.headers["content-type"] == accept
    return np.asarray(Image.open(BytesIO(answer.content)))


def test_an_image_in_the_window_of_its_sender(site: Site):
    grey = shown(site, f"{address(1)}/rendered")
    assert grey.shape == (16, 32)
    assert np.array_equal(grey[0], np.sort(grey[0]))
    expected = np.clip((HU[0].round() + 0.5) / 1999 + 0.5, 0, 1) * 255
    assert np.abs(grey[0] - expected).max() <= 1
    assert np.array_equal(shown(site, f"{address(2)}/rendered"), 255 - grey)  # MONOCHROME1


def test_windows_that_are_asked_for(site: Site):
    bone = shown(site, f"{address(1)}/rendered?window=500,1000")
    assert (bone[0, :16] == 0).all()
    assert bone[0, -1] == 255
    exact = shown(site, f"{address(1)}/rendered?window=0,2000,linear-exact")
    assert np.abs(exact[0] - (HU[0].round() / 2000 + 0.5) * 255).max() <= 1
    curve = shown(site, f"{address(1)}/rendered?window=0,1000,sigmoid")
    assert np.abs(curve[0] - 255 / (1 + np.exp(-4 * HU[0].round() / 1000))).max() <= 1
    step = shown(site, f"{address(1)}/rendered?window=0,1")
    assert set(np.unique(step)) == {0, 255}


def test_sizes_regions_and_mirrors(site: Site):
    assert shown(site, f"{address(1)}/rendered?viewport=64,64").shape == (32, 64)
    assert shown(site, f"{address(1)}/rendered?viewport=16,4").shape == (4, 8)
    right = shown(site, f"{address(1)}/rendered?viewport=16,16,16,0,16,16")
    whole = shown(site, f"{address(1)}/rendered")
    assert np.array_equal(right, whole[:, 16:])
    mirrored = shown(site, f"{address(1)}/rendered?viewport=32,16,,,-32,16")
    assert np.array_equal(mirrored, whole[:, ::-1])


def test_colours(site: Site):
    assert np.array_equal(shown(site, f"{address(3)}/rendered"), COLOURS)


def test_jpeg_is_what_anyone_gets_and_has_a_quality(site: Site):
    best = site.raw(f"{address(1)}/rendered?quality=100&annotation=patient")
    worst = site.raw(f"{address(1)}/rendered?quality=5", "image/jpeg")
    assert best.headers["content-type"] == worst.headers["content-type"] == "image/jpeg"
    assert len(worst.content) < len(best.content)
    picture = np.asarray(Image.open(BytesIO(best.content)), np.int16)
    assert np.abs(picture - shown(site, f"{address(1)}/rendered")).max() < 8


def test_frames_one_and_many(site: Site):
    one_of_them = shown(site, f"{address(4)}/frames/2/rendered")
    assert one_of_them.shape == (8, 8)
    found = parts_of(site.raw(f"{address(4)}/frames/3,2/rendered", "image/png"))
    assert [head["content-type"] for head, _ in found] == ["image/png"] * 2
    assert np.array_equal(np.asarray(Image.open(BytesIO(found[1][1]))), one_of_them)
    answer = site.client.get(f"{address(4)}/rendered")
    assert "has 3 frames" in problem(answer, 406)


def test_every_image_of_a_series_and_of_a_study(site: Site):
    assert len(parts_of(site.raw(f"/studies/{STUDY}/series/1.2.3.1/rendered"))) == 2
    assert len(parts_of(site.raw(f"/studies/{STUDY}/rendered"))) == 2 + 1 + 1 + 3


@pytest.mark.parametrize(
    "path", [f"/studies/{STUDY}", f"/studies/{STUDY}/series/1.2.3.4", address(1), address(4),
             f"{address(4)}/frames/3"],
)  # fmt: skip
def test_thumbnails_are_small_and_single(site: Site, path: str):
    picture = shown(site, f"{path}/thumbnail", "image/jpeg")
    assert max(picture.shape) == 256
    assert max(shown(site, f"{path}/thumbnail?viewport=40,40", "image/jpeg").shape) == 40


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("window=1", "centre,width"),
        ("window=1,2,cubic", "linear-exact"),
        ("window=1,-2", "above 0"),
        ("window=nan,2", "above 0"),
        ("viewport=10", "width,height"),
        ("viewport=0,0", "a width and a height"),
        ("viewport=x,1", "width,height"),
        ("viewport=99999,1", "from 1 to 8192"),
        ("viewport=9,9,20,0,20,5", "not within the image"),
        ("viewport=9,9,0,0,0,5", "from 1 to 8192"),
        ("quality=0", "from 1 to 100"),
        ("quality=high", "from 1 to 100"),
    ],
)
def test_parameters_that_cannot_be(site: Site, query: str, word: str):
    assert word in problem(site.client.get(f"{address(1)}/rendered?{query}"), 400)


def test_what_is_no_picture(site: Site):
    assert "no image" in problem(site.client.get(f"{address(5)}/rendered"), 404)
    assert problem(site.client.get(f"{address(9)}/thumbnail"), 404)
    answer = site.client.get(f"{address(1)}/rendered", headers={"Accept": "image/gif"})
    assert "image/jpeg" in problem(answer, 406)


def test_dicomweb_client_shows(site: Site):
    client = DICOMwebClient(site.url)
    uids = (STUDY, "1.2.3.1", "1.2.3.1.1")
    params = {"window": "0,2000,linear"}
    picture = client.retrieve_instance_rendered(*uids, media_types=("image/png",), params=params)
    assert Image.open(BytesIO(picture)).size == (32, 16)
