import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from serving.notify.target import Target
from serving.worker import build_recogniser
from tests.serving.bench import MODEL, mr
from tests.serving.test_api import Web, close, study_of

EVIL = "<script>alert(1)</script>"


def text_of(web: Web, path: str) -> str:
    answer = web.ask("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_worklist_and_the_study_say_what_was_found(pages: Web):
    study = study_of(pages.bench)
    listed, shown = text_of(pages, "/"), text_of(pages, f"/studies/{study}")
    assert f'href="/studies/{study}"' in listed
    assert "Tissue volume" in listed
    assert "the series meets every need of the model" in shown
    assert f'href="/models/{MODEL}"' in shown
    assert "体积" in text_of(pages, f"/studies/{study}?lang=zh")


@pytest.mark.parametrize("path", ["/", "/studies/{}", f"/models/{MODEL}"])
def test_pages_keep_a_strict_policy(pages: Web, path: str):
    """Nothing inline, nothing from elsewhere: then the policy holds and the page works."""
    answer = pages.ask("GET", path.format(study_of(pages.bench)))
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", answer.text)
    sources = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert all(source.startswith(("/", "#", "?")) for source in sources)


def test_what_senders_write_stays_text(pages: Web):
    images = mr(StudyInstanceUID="1.4", SeriesInstanceUID="1.4.1", PatientID=EVIL)
    for number, image in enumerate(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.4.1.{number}"
        image.PatientName = f'X^"{EVIL}'
        image.StudyDescription = image.SeriesDescription = image.AccessionNumber = EVIL
    close(pages.bench, pages.bench.analysed(images))
    for path in ("/", "/studies/1.4", f"/?text={EVIL}", f"/?lang={EVIL}"):
        page = text_of(pages, path)
        assert EVIL not in page
        assert "&lt;script&gt;" in page


def test_what_is_not_there_is_said_on_a_page(pages: Web):
    for path in ("/studies/9.9", "/models/none"):
        answer = pages.ask("GET", path)
        assert answer.status_code == 404
        assert "There is no such study or model." in answer.text


def test_the_language_is_kept_and_leads_back_here_only(pages: Web):
    answer = pages.ask("GET", "/language/zh?back=/studies/1?series=2")
    assert answer.headers["location"] == "/studies/1?series=2"
    assert "wetread-language=zh" in answer.headers["set-cookie"]
    for elsewhere in ("https://example.org", "//example.org", "/\\example.org"):
        sent = pages.ask("GET", f"/language/en?back={elsewhere}")
        assert sent.headers["location"] == "/"


def picture(web: Web, place: int, **look: object) -> np.ndarray:
    study = study_of(web.bench)
    (finding,) = web.bench.journal.findings(study)
    query = "&".join(f"{name}={value}" for name, value in look.items())
    path = f"/studies/{study}/series/{finding.series_uid}/{place}.jpg?{query}"
    answer = web.ask("GET", path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(BytesIO(answer.content))).astype(int)


def test_slices_with_and_without_their_outline(pages: Web):
    """The test's model outlines the bright block in the middle slices."""
    bare, drawn = picture(pages, 2, overlay=0), picture(pages, 2, overlay=1)
    coloured = np.ptp(drawn, axis=2) > 60
    assert not (np.ptp(bare, axis=2) > 60).any()
    rows, columns = np.nonzero(coloured)
    edge = bare.shape[0] // 4  # the block begins at a quarter of the image
    assert abs(rows.min() - edge) < 8
    assert abs(columns.min() - edge) < 8
    assert not (np.ptp(picture(pages, 0, overlay=1), axis=2) > 60).any()
    assert picture(pages, 2, size=256).shape[0] == 256


def test_colours_are_shown_as_they_are(pages: Web):
    (image, *_) = mr(StudyInstanceUID="1.5", SeriesInstanceUID="1.5.1")
    red = np.zeros((image.Rows, image.Columns, 3), np.uint8)
    red[..., 0] = 200
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelData = 7, red.tobytes()
    pages.bench.receive([image])
    answer = pages.ask("GET", "/studies/1.5/series/1.5.1/0.jpg")
    shown = np.asarray(Image.open(BytesIO(answer.content))).reshape(-1, 3)
    assert np.abs(np.median(shown, axis=0) - (200, 0, 0)).max() < 6
    assert 'id="windows" hidden' in text_of(pages, "/studies/1.5")


def test_a_slice_that_is_not_there(pages: Web):
    study = study_of(pages.bench)
    (finding,) = pages.bench.journal.findings(study)
    base = f"/studies/{study}/series/{finding.series_uid}"
    assert pages.ask("GET", f"{base}/99.jpg").status_code == 404
    assert pages.ask("GET", f"/studies/{study}/series/9.9/0.jpg").status_code == 404
    assert pages.ask("GET", f"{base}/0.jpg?window=../x").status_code == 422


def test_the_prior_stands_beside_todays_value(pages: Web):
    """The same patient before, with a smaller block; another patient does not count."""
    bench = pages.bench
    today = bench.index.study(study_of(bench))
    for uid, patient, date in (
        ("1.5", today.patient_id, "19990101"),
        ("1.6", "somebody else", "19990202"),
    ):
        images = mr(
            (5, 16, 16),
            StudyInstanceUID=uid,
            SeriesInstanceUID=f"{uid}.1",
            PatientID=patient,
            StudyDate=date,
            PixelSpacing=[0.5, 1.0],
        )
        for number, image in enumerate(images):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{uid}.1.{number}"
        close(bench, bench.analysed(images))
    page = text_of(pages, f"/studies/{today.study_uid}")
    assert 'href="/studies/1.5"' in page
    assert 'href="/studies/1.6"' not in page
    assert "(+100.0 %)" in page
    assert 'href="/studies/1.5"' not in text_of(pages, "/studies/1.5").split('id="findings"')[1]


def test_a_segmentation_saved_by_a_viewer_stands_beside_ours(pages: Web):
    """Half of the outlined slices were erased: that is a correction, once a worker has looked."""
    bench, study = pages.bench, study_of(pages.bench)
    (found,) = bench.journal.findings(study)
    edited = bench.dataset(bench.results(study)["SEG"])
    frames = len(edited.PerFrameFunctionalGroupsSequence)
    pixels = np.unpackbits(np.frombuffer(edited.PixelData, np.uint8), bitorder="little")
    size = edited.Rows * edited.Columns
    kept = pixels[: frames * size].reshape(frames, size).copy()
    kept[: frames // 2] = 0
    edited.PixelData = np.packbits(kept.ravel(), bitorder="little").tobytes()
    edited.SOPInstanceUID = edited.file_meta.MediaStorageSOPInstanceUID = "1.2.3.44"
    edited.SeriesInstanceUID, edited.SeriesNumber = "1.2.3.4", 99
    edited.Manufacturer = "Viewer"
    for segment in edited.SegmentSequence:
        del segment.TrackingUID, segment.TrackingID
    bench.receive([edited], sender="VIEWER")
    assert "not looked at yet" in text_of(pages, f"/studies/{study}")
    build_recogniser(bench.parts).look()
    page = text_of(pages, f"/studies/{study}")
    left = kept.sum() / pixels.sum()
    assert f"Dice {2 * left / (1 + left):.3f}" in page
    assert f"{found.measurements[0].value * left:.3g} ml" in page
    assert "by a saved object" in page


def test_the_full_viewer_is_opened_at_what_was_found(pages: Web):
    """At the outlines; where nothing was outlined, at the images that the page shows."""
    bench, study = pages.bench, study_of(pages.bench)
    seg = bench.results(study)["SEG"].series_uid
    address = f"/viewer/viewer?StudyInstanceUIDs={study}&amp;initialSeriesInstanceUID="
    assert f'{address}{seg}">Full viewer' in text_of(pages, f"/studies/{study}")
    bench.receive(mr(StudyInstanceUID="1.8", SeriesInstanceUID="1.8.1"))
    other = text_of(pages, "/studies/1.8")
    assert 'StudyInstanceUIDs=1.8&amp;initialSeriesInstanceUID=1.8.1">Full viewer' in other


def test_targets_of_notifications_are_told_apart(analysed):
    """Never reached, no longer configured, and nothing configured at all."""
    bench = analysed()
    assert "No other system is told anything." in Web(bench).ask("GET", "/notifications").text
    assert 'href="/notifications"' not in Web(bench).ask("GET", "/").text
    bench.restarted(notify=(Target(name="ris", kind="hl7", host="127.0.0.1", port=1),))
    study = study_of(bench)
    assert "nothing yet" in Web(bench).ask("GET", "/notifications").text
    with bench.index.engine.begin() as db:
        workitem = bench.workitem(study).workitem_uid
        bench.parts.messages.plan(db, "failed", study_uid=study, workitem_uid=workitem)
    (message,) = bench.parts.messages.listed()
    bench.parts.messages.note(message, "waiting", words="no answer in time", retry_in_s=5)
    shown = Web(bench).ask("GET", "/notifications").text
    assert "silent" in shown
    assert "analysis failed" in shown
    bench.restarted(notify=())
    assert "not configured" in Web(bench).ask("GET", "/notifications").text
