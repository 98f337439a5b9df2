"""Reports on paper, read back by another program."""

from io import BytesIO

import pytest
from pypdf import PdfReader

from serving.room.fonts import HAN, HANGUL, KANA, PLAIN, marked
from tests.serving.bench import mr
from tests.serving.test_api import Web, close, study_of

SCRIPTS = "Łukasz^Ünal=王^小东=김^희중 Ж"


def printed(web: Web, study: str, language: str = "en") -> PdfReader:
    answer = web.ask("GET", f"/api/studies/{study}/report.pdf?lang={language}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    return PdfReader(BytesIO(answer.content))


def text_of(report: PdfReader) -> str:
    return " ".join(" ".join(page.extract_text() for page in report.pages).split())


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["Research use only", "Volume: ", " ml", "Not assessed by a reader.", "read: "]),
        ("zh", ["仅供研究使用", "体积: ", " ml", "阅片者尚未评估", "已读"]),
    ],
)
def test_a_report_says_what_the_page_says(pages: Web, language: str, words: list[str]):
    study = study_of(pages.bench)
    report = printed(pages, study, language)
    text = text_of(report)
    for word in words:
        assert word in text
    finding = pages.bench.journal.current_findings(study)[0]
    assert finding.model_digest in text.replace(" ", "")
    assert study in text
    assert [image.image.size for image in report.pages[0].images] == [(768, 768)]


def test_names_in_any_script_and_mark_up_come_out_as_they_are(pages: Web):
    images = mr(
        StudyInstanceUID="1.4",
        SeriesInstanceUID="1.4.1",
        SpecificCharacterSet="ISO_IR 192",
        PatientName=SCRIPTS,
        StudyDescription="<b>a & b</b>",
    )
    for number, image in enumerate(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.4.1.{number}"
    close(pages.bench, pages.bench.analysed(images))
    text = text_of(printed(pages, "1.4"))
    assert "Łukasz, Ünal" in text
    assert "王, 小东" in text
    assert "<b>a & b</b>" in text


def test_each_character_is_set_in_a_font_that_has_it():
    wanted = ((PLAIN, "Ł Ж "), (HAN, "王"), (KANA, "やま"), (HANGUL, "김"), (PLAIN, "??"))
    assert marked("Ł Ж 王やま김\N{ARABIC LETTER MEEM}\N{THAI CHARACTER KO KAI}") == "".join(
        f'<font name="{font}">{text}</font>' for font, text in wanted
    )


def test_no_report_of_what_is_not_here(pages: Web):
    assert pages.ask("GET", "/api/studies/9.9/report.pdf").status_code == 404
