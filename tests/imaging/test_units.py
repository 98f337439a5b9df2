"""Values in the unit that a model wants: PET as SUV, real world value maps, refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from imaging.errors import PixelsUnreadable
from imaging.frames import headers_of, read_headers
from imaging.header import header_of
from imaging.needs import Need, misfits
from imaging.read import load_volume
from imaging.real_world import ACTIVITY, HOUNSFIELD, SUV_BY_WEIGHT
from imaging.reasons import Reason
from imaging.stack import Stack, stacks_of
from imaging.suv import Uptake, uptake_of
from imaging.units import in_unit, units_offered
from tests.builders import ct_series, mr_series, save
from tests.enhanced import enhanced

SHAPE = (4, 8, 8)
# 350 MBq after one hour of fluorine 18 are 239.6 MBq, of 70 kg
FACTOR = 70_000 / 239.62e6
ADC = "mm2/s"


def pet(**header: object) -> Dataset:
    """What a PET header says of dose and time."""
    ds = Dataset()
    ds.Modality, ds.Units, ds.DecayCorrection = "PT", "BQML", "START"
    ds.CorrectedImage, ds.PatientWeight = ["DECY", "ATTN"], 70
    ds.SeriesDate = ds.AcquisitionDate = "20240131"
    ds.SeriesTime, ds.AcquisitionTime = "113000", "113000.25"
    isotope = Dataset()
    isotope.RadionuclideTotalDose, isotope.RadionuclideHalfLife = 350e6, 6586.2
    isotope.RadiopharmaceuticalStartTime = "103000.00"
    ds.RadiopharmaceuticalInformationSequence = [isotope]
    for keyword, value in header.items():
        target = isotope if keyword.startswith("Radio") else ds
        setattr(target, keyword, value)
    return ds


def pet_series(**header: object) -> list[Dataset]:
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE) - 1024
    images = ct_series(SHAPE, voxels=voxels, RescaleIntercept=0, RescaleSlope=2)
    for image in images:
        image.update(pet(**header))
    return images


def map_to(unit: str, slope: float = 0.001, **changes: object) -> Dataset:
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator = unit, "UCUM"
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 4095
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, 0.5
    item.LUTLabel, item.MeasurementUnitsCodeSequence = "MAP", [code]
    for keyword, value in changes.items():
        setattr(item, keyword, value)
    return item


def stack_of(images, folder: Path) -> Stack:
    headers = [header for path in save(images, folder) for header in read_headers(path)]
    (stack,) = stacks_of(headers)
    assert isinstance(stack, Stack), stack
    return stack


# The SUV factor


def test_suv_factor_by_body_weight():
    found = uptake_of(pet())
    assert isinstance(found, Uptake)
    assert found.per_unit == pytest.approx(FACTOR, rel=1e-4)
    late = uptake_of(pet(SeriesTime="003000", AcquisitionTime="003500",
                         RadiopharmaceuticalStartTime="233000"))  # fmt: skip
    assert late == found
    administered = uptake_of(pet(DecayCorrection="ADMIN"))
    assert isinstance(administered, Uptake)
    assert administered.per_unit == pytest.approx(70_000 / 350e6)
    assert uptake_of(pet(Units="GML")) == Uptake(per_unit=1.0, unit=SUV_BY_WEIGHT)


def test_a_series_time_set_anew_is_led_back_to_by_the_frame():
    """A frame of two minutes that is 61 s past the start in the mean began with it."""
    found = uptake_of(pet(SeriesTime="140000", AcquisitionTime="113000", ActualFrameDuration=120000,
                          FrameReferenceTime=59874))  # fmt: skip
    assert isinstance(found, Uptake)
    assert found.per_unit == pytest.approx(FACTOR, rel=1e-4)


def test_ge_keeps_the_start_of_the_scan_apart():
    ds = pet(SeriesTime="140000", AcquisitionTime="113500")
    ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240131113000.00")
    found = uptake_of(ds)
    assert isinstance(found, Uptake)
    assert found.per_unit == pytest.approx(FACTOR, rel=1e-4)


def test_philips_counts_have_factors_of_their_own():
    ds = pet(Units="CNTS", PatientWeight=None)
    block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0.000381")
    assert uptake_of(ds) == Uptake(per_unit=0.000381, unit="{counts}")
    counts = pet(Units="CNTS")
    block = counts.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "UN", b"0 ")
    block.add_new(0x09, "UN", b"1.5 ")
    found = uptake_of(counts)
    assert isinstance(found, Uptake)
    assert found.per_unit == pytest.approx(1.5 * FACTOR, rel=1e-4)


LACKS = [
    {"Units": "CNTS"},
    {"Units": "GML", "SUVType": "UNHEARD"},
    {"PatientWeight": 0},
    {"PatientWeight": None},
    {"DecayCorrection": "NONE"},
    {"CorrectedImage": ["ATTN"]},
    {"SeriesTime": "120000"},  # later than the acquisition: set anew by a later reconstruction
    {"RadionuclideTotalDose": 0},
    {"RadionuclideHalfLife": None},
    {"RadiopharmaceuticalStartTime": ""},
]


@pytest.mark.parametrize("lack", LACKS)
def test_no_suv_factor_from_a_header_that_leaves_something_to_guess(lack):
    found = uptake_of(pet(**lack))
    assert isinstance(found, Reason)
    assert found.code == "NO_SUV_FACTOR"
    assert found.text_zh != found.text


# Whole stacks


def test_pet_is_read_as_it_is_and_as_suv(tmp_path: Path):
    stack = stack_of(pet_series(), tmp_path)
    plain, suv = load_volume(stack), load_volume(stack, unit=SUV_BY_WEIGHT)
    assert plain.notes == ()
    assert plain.voxels[0, 0, :3].tolist() == [0, 2, 4]
    assert [note.code for note in suv.notes] == ["SUV_APPLIED"]
    np.testing.assert_allclose(suv.voxels, plain.voxels * FACTOR, rtol=1e-4)
    assert units_offered(stack.instances) == (ACTIVITY, SUV_BY_WEIGHT)


def test_a_model_that_wants_suv_refuses_pet_without_a_factor(tmp_path: Path):
    wants = Need(modalities=("PT",), unit=SUV_BY_WEIGHT)
    assert misfits(wants, stack_of(pet_series(), tmp_path / "a")) == ()
    without = stack_of(pet_series(PatientWeight=None), tmp_path / "b")
    (why,) = misfits(wants, without)
    assert why.code == "NO_SUV_FACTOR"
    assert "PatientWeight" in why.text
    with pytest.raises(PixelsUnreadable, match="PatientWeight"):
        load_volume(without, unit=SUV_BY_WEIGHT)
    assert units_offered(without.instances) == (ACTIVITY,)


def test_slices_whose_factors_differ_have_none(tmp_path: Path):
    images = pet_series()
    images[2].PatientWeight = 80
    (why,) = misfits(Need(modalities=(), unit=SUV_BY_WEIGHT), stack_of(images, tmp_path))
    assert why.code == "NO_SUV_FACTOR"


def test_ct_is_in_hounsfield_units_and_in_no_other(tmp_path: Path):
    stack = stack_of(ct_series(SHAPE), tmp_path)
    assert units_offered(stack.instances) == (HOUNSFIELD,)
    assert misfits(Need(modalities=(), unit=HOUNSFIELD), stack) == ()
    (why,) = misfits(Need(modalities=(), unit=SUV_BY_WEIGHT), stack)
    assert why.code == "UNIT"
    density = stack_of(ct_series(SHAPE, RescaleType="MGML"), tmp_path / "density")
    assert [w.code for w in misfits(Need(modalities=(), unit=HOUNSFIELD), density)] == ["UNIT"]


def test_each_slice_has_its_own_real_world_map(tmp_path: Path):
    images = mr_series(SHAPE, voxels=np.full(SHAPE, 100))
    for number, image in enumerate(images, 1):
        image.RealWorldValueMappingSequence = [map_to("ms"), map_to(ADC, number / 1000)]
    volume = load_volume(stack_of(images, tmp_path), unit=ADC)
    np.testing.assert_allclose(volume.voxels[:, 0, 0], [0.6, 0.7, 0.8, 0.9])
    assert [note.code for note in volume.notes] == ["REAL_WORLD_VALUES"]


@pytest.mark.parametrize("shared", [False, True])
def test_frames_have_the_maps_of_their_groups(shared):
    whole = enhanced(mr_series(SHAPE))
    if shared:
        whole.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = [map_to(ADC)]
    else:
        for number, group in enumerate(whole.PerFrameFunctionalGroupsSequence):
            group.RealWorldValueMappingSequence = [map_to(ADC, 1 + number)]
    slopes = [header.image.real_world[0].slope for header in headers_of(whole)]
    assert slopes == ([0.001] * 4 if shared else [1, 2, 3, 4])


def test_enhanced_pet_becomes_suv_by_its_map_of_activity():
    whole = enhanced(mr_series(SHAPE))
    whole.update(pet(DecayCorrectionDateTime="20240131113000", AttenuationCorrected="YES",
                     DecayCorrected="YES",
                     RadiopharmaceuticalStartDateTime="20240131103000"))  # fmt: skip
    del whole.Units, whole.DecayCorrection, whole.CorrectedImage, whole.SeriesTime
    whole.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = [
        map_to(ACTIVITY, 2.0, RealWorldValueIntercept=0.0)
    ]
    (stack,) = stacks_of(headers_of(whole))
    assert isinstance(stack, Stack)
    suv = in_unit(stack, SUV_BY_WEIGHT)
    assert isinstance(suv, Stack), suv
    slope, intercept = suv.instances[0].image.rescale or (0, 1)
    assert (slope, intercept) == (pytest.approx(2 * FACTOR, rel=1e-4), 0.0)


def test_stored_values_that_no_map_covers_are_refused(tmp_path: Path):
    voxels = np.full(SHAPE, 100)
    voxels[1, 0, 0] = 300
    images = mr_series(SHAPE, voxels=voxels)
    for image in images:
        image.RealWorldValueMappingSequence = [map_to(ADC, RealWorldValueLastValueMapped=299)]
    stack = stack_of(images, tmp_path / "a")
    with pytest.raises(PixelsUnreadable, match="not mapped"):
        load_volume(stack, unit=ADC)
    for image in images:
        image.PixelPaddingValue = 300
    volume = load_volume(stack_of(images, tmp_path / "b"), unit=ADC)
    assert volume.voxels.max() == pytest.approx(0.6)


@pytest.mark.parametrize(
    "broken",
    [
        {"RealWorldValueSlope": None},
        {"RealWorldValueSlope": 0.0},
        {"MeasurementUnitsCodeSequence": []},
        {"RealWorldValueFirstValueMapped": None},
    ],
)
def test_a_map_that_is_not_whole_is_none(broken):
    (image,) = mr_series((1, 8, 8))
    image.RealWorldValueMappingSequence = [map_to(ADC, **broken)]
    assert header_of(image).image.real_world == ()


def test_slices_that_would_be_converted_in_different_ways_are_refused(tmp_path: Path):
    images = pet_series()
    images[0].RealWorldValueMappingSequence = [map_to(SUV_BY_WEIGHT)]
    stack = stack_of(images, tmp_path)
    assert isinstance(in_unit(stack, SUV_BY_WEIGHT), Reason)
    assert in_unit(replace(stack, instances=stack.instances[1:]), SUV_BY_WEIGHT) != stack
