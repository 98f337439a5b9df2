import tarfile
from pathlib import Path

import pytest

from imaging.frames import read_headers
from imaging.header import InstanceHeader, header_of
from imaging.mr import dimension, echo, weighting
from tests.builders import mr_series


def mr(**header: object) -> InstanceHeader:
    plain = {"InversionTime": None, "MRAcquisitionType": "2D", "StudyDescription": ""}
    (image, *_) = mr_series((3, 4, 4), **(plain | header))
    return header_of(image)


@pytest.mark.parametrize(
    ("expected", "header"),
    [
        ("T1", {"RepetitionTime": 8, "EchoTime": 3, "ScanningSequence": "GR"}),
        ("T1", {"RepetitionTime": 500, "EchoTime": 12, "ScanningSequence": "SE"}),
        ("T1", {"RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900,
                "ScanningSequence": ["GR", "IR"], "FlipAngle": 9}),
        ("T1", {"RepetitionTime": 2000, "EchoTime": 20, "InversionTime": 800,
                "ScanningSequence": ["SE", "IR"]}),
        ("T2", {"RepetitionTime": 4000, "EchoTime": 100, "ScanningSequence": "SE"}),
        ("T2", {"RepetitionTime": 3200, "EchoTime": 409, "ScanningSequence": "SE",
                "MRAcquisitionType": "3D"}),
        ("FLAIR", {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500,
                   "ScanningSequence": ["SE", "IR"]}),
        ("STIR", {"RepetitionTime": 4000, "EchoTime": 60, "InversionTime": 160,
                  "ScanningSequence": ["SE", "IR"]}),
        ("PD", {"RepetitionTime": 3000, "EchoTime": 15, "ScanningSequence": "SE"}),
        ("PD", {"RepetitionTime": 2800, "EchoTime": 40, "ScanningSequence": "SE",
                "SeriesDescription": "pd_tse_fs_sag"}),
        ("OTHER", {"RepetitionTime": 2800, "EchoTime": 40, "ScanningSequence": "SE"}),
        ("OTHER", {"RepetitionTime": 7500, "EchoTime": 318, "InversionTime": 3000,
                   "ScanningSequence": ["SE", "IR"], "SeriesDescription": "t2_space_dir"}),
        ("SWI", {"RepetitionTime": 31, "EchoTime": 7.2, "ScanningSequence": "GR", "FlipAngle": 17,
                 "MRAcquisitionType": "3D", "SeriesDescription": "SWIp"}),
        ("DWI", {"RepetitionTime": 5000, "EchoTime": 70, "ScanningSequence": "EP",
                 "DiffusionBValue": 1000.0}),
        ("DWI", {"RepetitionTime": 5000, "EchoTime": 70, "SeriesDescription": "ep2d_diff"}),
        ("ADC", {"RepetitionTime": 5000, "EchoTime": 70, "ScanningSequence": "EP",
                 "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "NORM"]}),
        ("SWI", {"RepetitionTime": 28, "EchoTime": 20, "ScanningSequence": "GR", "FlipAngle": 15,
                 "MRAcquisitionType": "3D"}),
        ("T2*", {"RepetitionTime": 620, "EchoTime": 20, "ScanningSequence": "GR",
                 "FlipAngle": 20}),
        ("TOF", {"RepetitionTime": 22, "EchoTime": 3.7, "ScanningSequence": "GR", "FlipAngle": 18,
                 "MRAcquisitionType": "3D", "SequenceName": "*fl3d1r_t50"}),
        ("TOF", {"RepetitionTime": 25, "EchoTime": 4, "AngioFlag": "Y"}),
        ("PERFUSION", {"RepetitionTime": 1500, "EchoTime": 30, "ScanningSequence": "EP",
                       "SeriesDescription": "ep2d_perf"}),
        ("OTHER", {"RepetitionTime": 2000, "EchoTime": 30, "ScanningSequence": "EP"}),
        ("OTHER", {"RepetitionTime": 5, "EchoTime": 2.5, "ScanningSequence": "GR", "FlipAngle": 60,
                   "SequenceVariant": ["SK", "SS"]}),
        ("PD", {"RepetitionTime": 15, "EchoTime": 3, "ScanningSequence": "GR", "FlipAngle": 4}),
        ("T1", {"RepetitionTime": None, "EchoTime": None, "SeriesDescription": "Sag T1 MPRAGE"}),
        ("FLAIR", {"RepetitionTime": None, "EchoTime": None, "SeriesDescription": "T2 FLAIR"}),
        ("unknown", {"RepetitionTime": None, "EchoTime": None, "SeriesDescription": "Series 3"}),
    ],
)  # fmt: skip
def test_weighting_is_known_by_what_the_scanner_did(
    expected: str, header: dict[str, object]
) -> None:
    assert weighting(mr(**header)) == expected


@pytest.mark.parametrize(
    ("expected", "header"),
    [
        ("T2", {"RepetitionTime": 4000, "EchoTime": 100, "ScanningSequence": "SE",
                "SeriesDescription": "T1 MPRAGE"}),
        ("T1", {"RepetitionTime": 500, "EchoTime": 12, "ScanningSequence": "SE",
                "SeriesDescription": "DWI"}),
        ("T1", {"RepetitionTime": 500, "EchoTime": 12, "ScanningSequence": "SE",
                "SeriesDescription": "flair"}),
    ],
)  # fmt: skip
def test_a_name_does_not_overrule_the_timing(expected: str, header: dict[str, object]) -> None:
    assert weighting(mr(**header)) == expected


def test_enhanced_objects_say_it_themselves() -> None:
    enhanced = {"AcquisitionContrast": "PROTON_DENSITY", "EchoPulseSequence": "SPIN"}
    header = mr(**enhanced, ScanningSequence=None, RepetitionTime=500, EchoTime=10)
    assert (weighting(header), echo(header)) == ("PD", "spin echo")


@pytest.mark.parametrize(
    ("expected", "header"),
    [
        ("spin echo", {"ScanningSequence": ["SE", "IR"]}),
        ("gradient echo", {"ScanningSequence": ["GR", "IR"]}),
        ("spin echo", {"ScanningSequence": "RM", "EchoTrainLength": 12}),
        ("unknown", {"ScanningSequence": "EP", "EchoTrainLength": 64}),
        ("unknown", {"ScanningSequence": None, "EchoTrainLength": 1}),
        ("gradient echo", {"ScanningSequence": None, "EchoTrainLength": 64, "RepetitionTime": 7}),
    ],
)
def test_echo(expected: str, header: dict[str, object]) -> None:
    assert echo(mr(**({"RepetitionTime": 3000} | header))) == expected


def test_dimension() -> None:
    assert dimension(mr(MRAcquisitionType="3D")) == "3D"
    assert dimension(mr(MRAcquisitionType=None, SeriesDescription="t2_tse2d_tra")) == "2D"
    assert dimension(mr(MRAcquisitionType=None)) == "unknown"


@pytest.mark.parametrize(
    ("folder", "weighted", "encoded"),
    [
        ("mr_t1_philips_mprage", "T1", "3D"),
        ("mr_t1_siemens_sag_hfs", "T1", "2D"),
    ],
)
def test_real_series(
    shared_data: Path, tmp_path: Path, folder: str, weighted: str, encoded: str
) -> None:
    with tarfile.open(shared_data / folder / "series.tar.xz") as archive:
        member = next(member for member in archive if member.isfile())
        archive.extract(member, tmp_path, filter="data")
    (header, *_) = read_headers(tmp_path / member.name)
    assert (weighting(header), dimension(header)) == (weighted, encoded)
    assert echo(header) == "gradient echo"
