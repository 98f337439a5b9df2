import csv
import struct
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag

from imaging.charsets import defined_term, read
from imaging.header import header_of, read_dataset
from imaging.text import declared, in_utf_8, texts_of, well_written

# As Annexes H to K of PS3.5 give them, and as the people spell their names.
NAMES = {
    "chrArab": "قباني^لنزار",
    "chrFren": "Buc^Jérôme",
    "chrFrenMulti": "Buc^Jérôme",
    "chrGerm": "Äneas^Rüdiger",
    "chrGreek": "Διονυσιος",
    "chrH31": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrI2": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti": "やまだ^たろう",
    "chrRuss": "Люкceмбypг",
    "chrX1": "Wang^XiaoDong=王^小東",
    "chrX2": "Wang^XiaoDong=王^小东",
    "c03_latin1_declared_gb_bytes": "王^小东",
}


@pytest.mark.parametrize("stem", sorted(NAMES))
def test_names_of_every_script_are_shown_right(shared_data: Path, stem: str) -> None:
    (path,) = (shared_data / "charsets").rglob(f"{stem}.dcm")
    assert header_of(read_dataset(path)).patient.name == NAMES[stem]


def test_names_are_as_the_truth_file_says(shared_data: Path) -> None:
    folder = shared_data / "charsets" / "generated"
    with (folder / "EXPECT.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    assert rows
    for row in rows:
        name = header_of(read_dataset(folder / row["file"])).patient.name
        assert name == (row["expected_text_or_empty"] or "王^小东")


@pytest.mark.parametrize(
    ("text", "codec", "terms"),
    [
        ("Иванов^Дмитрий", "iso8859_5", ["ISO_IR 144"]),
        ("Παπαδόπουλος", "iso8859_7", ["ISO_IR 126"]),
        ("שרון^דבורה", "iso8859_8", ["ISO_IR 138"]),
        ("قباني^نزار", "iso8859_6", ["ISO_IR 127"]),
        ("สมชาย^เขต", "tis_620", ["ISO_IR 166"]),
        ("Çiğdem^Işık", "iso8859_9", ["ISO_IR 148"]),
        ("Łukasz^Żółć", "iso8859_2", ["ISO_IR 101"]),
        ("镕基^朱", "gbk", ["GBK"]),
        ("𠮷田^太郎", "gb18030", ["GB18030"]),
        ("Ω≥𠮷", "utf_8", ["ISO_IR 192"]),
        ("王^小东", "utf_8_sig", ["ISO_IR 192"]),
        ("Ĥans^Ŝmid", "iso8859_3", ["ISO_IR 109"]),
        ("Ąžuolas", "iso8859_4", ["ISO_IR 110"]),
        ("Œuvre^€", "iso8859_15", ["ISO_IR 203"]),
        ("山田^太郎", "shift_jis", ["ISO 2022 IR 13"]),
        ("홍^길동", "euc_kr", ["ISO_IR 149"]),
        ("ﾘｴ^ﾔﾏﾀﾞ", "shift_jis", ["ISO_IR 13"]),
        ("김^희중", "euc_kr", ["", "ISO 2022 IR 149"]),  # no escape sequence, as some write it
    ],
)
def test_every_repertoire_is_read(text: str, codec: str, terms: list[str]) -> None:
    reading = read(text.encode(codec), terms)
    assert (reading.text, reading.as_declared) == (text, True)


@pytest.mark.parametrize(
    ("raw", "terms", "text"),
    [
        (b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", ["", "ISO 2022 IR 58"],
         "Zhang^XiaoDong=张^小东="),
        (b"\x1b$)C\xb1\xe8^\x1b$)C\xc8\xf1\xc1\xdf", ["", "ISO 2022 IR 149"], "김^희중"),
        (b"\x1b$B;3ED\x1b(B\\A", ["", "ISO 2022 IR 87"], "山田\\A"),
        (b"\x1b$(D\x30\x21\x1b(B", ["", "ISO 2022 IR 159"], "丂"),
        # The first set of the upper half is back after a delimiter.
        (b"\x1b-L\xb8\xd2\xd0\xdd^J\xe9r\xf4me", ["ISO 2022 IR 100", "ISO 2022 IR 144"],
         "Иван^Jérôme"),
    ],
)  # fmt: skip
def test_code_extensions_are_followed_and_leave_no_escape(
    raw: bytes, terms: list[str], text: str
) -> None:
    reading = read(raw, terms)
    assert (reading.text, reading.as_declared) == (text, True)


@pytest.mark.parametrize("term", ["ISO-IR 100", "ISO IR 100", "latin1", "iso_ir 100", "ISO_IR100"])
def test_misspelt_declarations_are_understood(term: str) -> None:
    assert defined_term(term) == "ISO_IR 100"
    assert read("Jérôme".encode("latin_1"), [term]).text == "Jérôme"


@pytest.mark.parametrize(
    ("raw", "terms", "text"),
    [
        ("王^小东".encode("gb18030"), ["ISO_IR 100"], "王^小东"),
        ("张^丽".encode("gb18030"), ["ISO_IR 100"], "张^丽"),
        ("CT头部平扫".encode("gb18030"), [], "CT头部平扫"),
        ("王^小东".encode(), ["ISO_IR 100"], "王^小东"),
        ("王^小东".encode(), ["GB18030"], "王^小东"),
        ("王^小东".encode("gb18030"), ["ISO_IR 192"], "王^小东"),
        ("Müller".encode(), ["ISO_IR 100"], "Müller"),
        ("Müller^Jürgen".encode("latin_1"), [], "Müller^Jürgen"),
        ("Müller".encode("latin_1"), ["NONSENSE"], "Müller"),
        ("王^小东".encode()[:-1], ["ISO_IR 192"], "王^小\ufffd"),  # cut in a character
        ("똠방^각하".encode("cp949"), ["ISO 2022 IR 149"], "똠방^각하"),
        ("髙^①".encode("cp932"), ["ISO_IR 13"], "髙^①"),
        # Not left before the delimiter; the second also ends within a character.
        (b"\x1b$B;3ED^B@O:\x1b(B", ["", "ISO 2022 IR 87"], "山田^太郎"),
        (b"\x1b$B;3E\x1b(B", ["", "ISO 2022 IR 87"], "山\ufffd"),
    ],
)
def test_what_contradicts_its_declaration_is_read_as_it_is(
    raw: bytes, terms: list[str], text: str
) -> None:
    assert read(raw, terms).text == text


@pytest.mark.parametrize(
    "text", ["Sääksjärvi^Ääni", "Ångström", "25 °C ±5 ½", "«Ünïcödé»", "Øystein^Bjørnstjerne"]
)
def test_latin_is_never_taken_for_chinese(text: str) -> None:
    assert read(text.encode("latin_1"), ["ISO_IR 100"]).text == text


def test_no_bytes_and_no_declaration_raise_or_vanish() -> None:
    terms = ["", "ISO_IR 100", "ISO_IR 192", "GB18030", "ISO 2022 IR 87", "ISO 2022 IR 58", "x"]
    for seed in range(256):
        raw = bytes((seed * k * k + 27 * k) % 256 for k in range(1, 40)) + b"\x1b"
        for term in terms:
            assert len(read(raw, [term]).text) > 0
            assert len(read(raw, [term, "ISO 2022 IR 149"]).text) > 0


def arrived(**raw: bytes) -> Dataset:
    """A data set as it arrives, Explicit VR Little Endian, with these bytes as values."""
    uids = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    values = dict.fromkeys(uids, b"1.2.840.10008.1.2.3\0") | raw
    elements = b""
    for keyword in sorted(values, key=Tag):
        tag, vr, value = Tag(keyword), dictionary_VR(keyword).encode(), values[keyword]
        value += b" " * (len(value) % 2)
        elements += struct.pack("<HH2sH", tag.group, tag.element, vr, len(value)) + value
    return dcmread(BytesIO(elements), force=True)


def test_a_backslash_inside_a_character_does_not_split_a_description() -> None:
    text = "乗\\b"  # GBK: 0x5C is the second byte of the first character
    raw = text.encode("gbk")
    assert raw.count(b"\\") == 2
    ds = arrived(SpecificCharacterSet=b"GBK", SeriesDescription=raw)
    assert texts_of(ds, "SeriesDescription") == ("乗", "b")


def test_the_same_text_in_utf_8() -> None:
    ds = arrived(SpecificCharacterSet=b"GB18030", PatientName="王^小东".encode("gb18030"))
    item = Dataset()
    item.CodeMeaning = "头部"
    ds.ProcedureCodeSequence = [item]
    copy = in_utf_8(ds, [Tag("PatientName"), Tag("ProcedureCodeSequence"), Tag("PatientAge")])
    assert copy.PatientName == "王^小东"
    assert copy.ProcedureCodeSequence[0].CodeMeaning == "头部"
    assert declared(copy) == ("ISO_IR 192",)
    assert "StudyDescription" not in copy


@pytest.mark.parametrize(
    ("term", "name", "sound"),
    [
        (b"ISO_IR 100", "Jérôme".encode("latin_1"), True),
        (b"latin1", "Jérôme".encode("latin_1"), False),
        (b"ISO_IR 192", "王".encode("gb18030"), False),
        (b"", "Jérôme".encode("latin_1"), False),
        (b"", b"Jerome", True),
    ],
)
def test_only_sound_declarations_are_copied_as_they_are(
    term: bytes, name: bytes, sound: bool
) -> None:
    ds = arrived(SpecificCharacterSet=term, PatientName=name)
    assert well_written(ds, [Tag("PatientName")]) is sound


@pytest.mark.parametrize(
    "term", [b"NONSENSE", b"ISO-IR 100", b"ISO_IR 192\\ISO 2022 IR 58", b"\xff\xfe"]
)
def test_a_broken_declaration_does_not_stop_the_reading(term: bytes) -> None:
    ds = arrived(SpecificCharacterSet=term, PatientName="Jérôme".encode("latin_1"))
    assert header_of(ds).patient.name == "Jérôme"
    assert not well_written(ds, [Tag("PatientName")])
