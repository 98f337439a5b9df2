import pytest
from pydicom import Dataset

from imaging.header import header_of
from imaging.region import regions_named, regions_of
from tests.builders import mr_series


@pytest.mark.parametrize(
    ("description", "regions"),
    [
        ("MR Schädel nativ", "HEAD"),
        ("HEAD^ROUTINE_BRAIN", "HEAD"),
        ("t1_mprage_HIRN", "HEAD"),
        ("IRM encéphale", "HEAD"),
        ("IRM tete", "HEAD"),
        ("RM cráneo simple", "HEAD"),
        ("RM encefalo senza mdc", "HEAD"),
        ("RM do crânio", "HEAD"),
        ("MRI hersenen blanco", "HEAD"),
        ("МРТ головного мозга", "HEAD"),
        ("头颅平扫", "HEAD"),
        ("頭部単純CT", "HEAD"),
        ("Head and Neck CTA", "HEAD NECK"),
        ("CT Hals", "NECK"),
        ("颈部增强", "NECK"),
        ("TDM thorax sans injection", "CHEST"),
        ("КТ легких", "CHEST"),
        ("胸腹部增强CT", "CHEST ABDOMEN"),
        ("CT TAP", "CHEST ABDOMEN PELVIS"),
        ("CT Oberbauch", "ABDOMEN"),
        ("TC addome e pelvi", "ABDOMEN PELVIS"),
        ("盆腔MRI", "PELVIS"),
        ("MRT LWS", "SPINE"),
        ("C-spine", "SPINE"),
        ("Thoracic spine", "SPINE"),
        ("颈椎MRI", "SPINE"),
        ("胸椎", "SPINE"),
        ("IRM genou", "EXTREMITY"),
        ("膝关节", "EXTREMITY"),
        ("mammo screening", "BREAST"),
        ("뇌 MRI", "HEAD"),
        ("흉부CT", "CHEST"),
        ("요추", "SPINE"),
        ("副鼻腔", "HEAD"),
        ("胸腰椎", "SPINE"),
        ("TDM thoracique", "CHEST"),
        ("Scanner abdomino-pelvien", "ABDOMEN PELVIS"),
        ("CT stroke", "HEAD"),
        ("CTPA", "CHEST"),
    ],
)
def test_words_in_eleven_languages(description: str, regions: str) -> None:
    assert " ".join(regions_named("", description)) == regions


@pytest.mark.parametrize(
    "description",
    [
        "headache protocol", "femoral head MRI", "head first supine", "Head of pancreas",
        "Hüftkopf", "tête fémorale", "cabeza del páncreas", "股骨头坏死", "胰头", "宫颈",
        "术后 手术", "자궁경부",
        "Series 3", "Thoraxis", "",
    ],
)  # fmt: skip
def test_words_that_only_look_like_a_region(description: str) -> None:
    assert regions_named("", description) == ()


@pytest.mark.parametrize(
    ("body_part", "regions"),
    [
        ("BRAIN", "HEAD"),
        ("SKULL", "HEAD"),
        ("HEADNECK", "HEAD NECK"),
        ("CSPINE", "SPINE"),
        ("CHESTABDPELVIS", "CHEST ABDOMEN PELVIS"),
        ("KNEE", "EXTREMITY"),
        ("WHOLEBODY", "WHOLEBODY"),
        ("", ""),
    ],
)
def test_body_part_examined(body_part: str, regions: str) -> None:
    assert " ".join(regions_named(body_part)) == regions


def test_the_header_decides_until_two_descriptions_contradict_it() -> None:
    assert regions_named("KNEE", "brain") == ("EXTREMITY",)
    assert regions_named("KNEE", "brain", "", "MRI head") == ("HEAD",)
    assert regions_named("KNEE", "brain", "knee left", "MRI head") == ("EXTREMITY",)
    assert regions_named("KNEE", "brain", "", "chest") == ("EXTREMITY",)


def test_a_description_of_the_series_comes_before_that_of_the_study() -> None:
    assert regions_named("", "Abdomen", "", "Chest and abdomen") == ("ABDOMEN",)


def test_a_coded_region_decides() -> None:
    (image, *_) = mr_series((3, 4, 4), BodyPartExamined="HEAD")
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "51185008", "SCT", "Chest"
    image.AnatomicRegionSequence = [item]
    assert regions_of(header_of(image)) == ("CHEST",)
