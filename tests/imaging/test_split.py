"""One series that holds several stacks: named parts, and nothing hidden by taking it apart."""

import random
from struct import pack

import numpy as np
import pytest

from imaging.frames import headers_of
from imaging.header import header_of
from imaging.identity import derived_uid
from imaging.stack import Stack, Unusable, stacks_of
from tests.builders import ct_series, mr_series, placed
from tests.enhanced import enhanced

SHAPE = (6, 8, 10)
AXIAL = placed("axial", (3.0, 1.0, 1.0))


def together(*groups, renumber=True):
    """Images of one series from several, every one an instance of its own."""
    images = [image for group in groups for image in group]
    for number, image in enumerate(images, 1):
        image.SOPInstanceUID = derived_uid("split", str(number))
        image.SeriesInstanceUID = groups[0][0].SeriesInstanceUID
        image.FrameOfReferenceUID = groups[0][0].FrameOfReferenceUID
        if renumber:
            image.InstanceNumber = number
    return images


def parts(images):
    shuffled = random.Random(6).sample(images, len(images))
    return stacks_of([header_of(image) for image in shuffled])


def names(images):
    found = parts(images)
    assert all(isinstance(part, Stack) for part in found), found
    assert sum(len(part.instances) for part in found) == len(images)
    return [part.name for part in found]


def codes(images):
    return [p.reason.code if isinstance(p, Unusable) else "ok" for p in parts(images)]


def mr(**header):
    return mr_series(SHAPE, AXIAL, **header)


def ct(**header):
    return ct_series(SHAPE, AXIAL, **header)


def kind(*words):
    return ["ORIGINAL", "PRIMARY", *words]


def test_a_series_that_differs_in_nothing_has_no_name():
    assert names(mr()) == [""]


def test_echoes():
    series = together(mr(EchoTime="2.3"), mr(EchoTime="4.6"), mr(EchoTime="6.9"))
    assert names(series) == ["echo 1", "echo 2", "echo 3"]
    for part, time in zip(parts(series), (2.3, 4.6, 6.9), strict=True):
        assert {h.acquisition.echo_time_ms for h in part.instances} == {time}


def test_echo_times_that_jitter_are_one_echo():
    images = mr()
    for number, image in enumerate(images):
        image.EchoTime = f"{4.0 + 0.004 * number:.3f}"
    assert names(images) == [""]


def test_b_values_and_directions():
    directions = [[1, 0, 0], [0, 1, 0], [0.6, 0, 0.8]]
    shells = [
        mr(DiffusionBValue=1000.0, DiffusionGradientOrientation=direction)
        for direction in directions
    ]
    series = together(mr(DiffusionBValue=0.0), *shells)
    expected = ["b 0", "b 1000, direction 1", "b 1000, direction 2", "b 1000, direction 3"]
    assert names(series) == expected


def test_siemens_b_values_are_read_from_their_private_block():
    series = together(mr(), mr())
    for number, image in enumerate(series):
        block = image.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "IS", "0" if number < SHAPE[0] else "800")
    assert names(series) == ["b 0", "b 800"]


PRIVATE_B = {
    "GE": (0x0043, "GEMS_PARM_01", 0x39, "IS", ([0, 8, 0, 0], [1000000800, 8, 0, 0])),
    "Philips": (0x2001, "Philips Imaging DD 001", 0x03, "FL", (0.0, 800.0)),
    "United Imaging": (0x0065, "Image Private Header", 0x09, "FD", (0.0, 800.0)),
    "GE, VR lost": (0x0043, "GEMS_PARM_01", 0x39, "UN", (b"0\\8\\0\\0 ", b"1000000800\\8 ")),
    "Philips, VR lost": (0x2001, "Philips Imaging DD 001", 3, "UN", (bytes(4), b"\0\0HD")),
    "United Imaging, VR lost": (0x65, "Image Private Header", 9, "UN", (bytes(8), pack("<d", 800))),
}  # fmt: skip


@pytest.mark.parametrize("vendor", PRIVATE_B)
def test_b_values_of_vendors_are_read_from_their_private_blocks(vendor):
    group, creator, element, vr, values = PRIVATE_B[vendor]
    series = together(mr(), mr())
    for number, image in enumerate(series):
        block = image.private_block(group, creator, create=True)
        block.add_new(element, vr, values[number // SHAPE[0]])
    assert names(series) == ["b 0", "b 800"]


def test_complex_components_of_ge_are_read_from_their_private_block():
    series = []
    for index, image in enumerate(together(mr(), mr(), mr(), mr())):
        block = image.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x2F, "SS", index // SHAPE[0])
        series.append(image)
    assert names(series) == ["MAGNITUDE", "PHASE", "REAL", "IMAGINARY"]


def test_b_values_of_one_shell_vary():
    images = mr(DiffusionBValue=1000.0)
    for number, image in enumerate(images):
        image.DiffusionBValue = (995.0, 1000.0, 1005.0)[number % 3]
    assert names(images) == [""]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((("M", "ND"), ("P", "ND")), ["M", "P"]),
        ((("DIFFUSION", "ADC"), ("DIFFUSION", "TRACEW")), ["ADC", "TRACEW"]),
        ((("M", "INV1"), ("M", "UNI")), ["other", "UNI"]),
        ((("DIXON", "W"), ("DIXON", "F"), ("DIXON", "IN_PHASE")), ["W", "F", "IN_PHASE"]),
    ],
)
def test_image_types(words, expected):
    assert names(together(*(mr(ImageType=kind(*w)) for w in words))) == expected


def test_words_of_processing_do_not_divide_a_stack():
    images = ct()
    for image in images[:3]:
        image.ImageType = kind("AXIAL", "ADD")
    assert names(images) == [""]


def test_kernels():
    series = together(ct(ConvolutionKernel="B30f"), ct(ConvolutionKernel=["B60f", "3"]))
    assert names(series) == ["kernel B30f", "kernel B60f 3"]


@pytest.mark.parametrize(
    ("keyword", "values", "what"),
    [
        ("TemporalPositionIdentifier", (1, 2, 3), "time"),
        ("AcquisitionNumber", (1, 2), "acquisition"),
        ("InversionTime", ("700", "2500"), "inversion time"),
        ("FlipAngle", ("5", "20"), "flip angle"),
        ("NominalPercentageOfCardiacPhase", (0.0, 40.0, 75.0), "phase"),
        ("KVP", ("80", "140"), "tube voltage"),
        ("AcquisitionTime", ("101500", "101730"), "acquisition time"),
    ],
)
def test_repetitions(keyword, values, what):
    series = together(*(mr(**{keyword: value}) for value in values))
    assert names(series) == [f"{what} {n}" for n in range(1, len(values) + 1)]


def test_two_things_together():
    series = together(
        *(
            mr(TemporalPositionIdentifier=time, AcquisitionNumber=number)
            for time in (1, 2)
            for number in (1, 2)
        )
    )
    assert names(series) == [f"time and acquisition {n}" for n in (1, 2, 3, 4)]


def test_cine_phases_are_told_by_their_order_at_each_place():
    """Trigger times differ a little between slices, so equal times are no phase."""
    series = []
    for index, image in enumerate(together(mr(), mr(), mr(), mr())):
        image.TriggerTime = f"{(index // SHAPE[0]) * 50 + (index % SHAPE[0]) * 1.7:.1f}"
        series.append(image)
    assert names(series) == ["phase 1", "phase 2", "phase 3", "phase 4"]
    for phase, part in enumerate(parts(series)):
        times = [h.acquisition.trigger_time_ms for h in part.instances]
        assert all(phase * 50 <= time < (phase + 1) * 50 for time in times)


@pytest.mark.parametrize("by_place", [False, True])
def test_without_any_mark_the_numbering_tells_repetitions(by_place):
    series = together(mr(), mr())
    if by_place:
        for index, image in enumerate(series):
            image.InstanceNumber = 2 * (index % SHAPE[0]) + index // SHAPE[0] + 1
    assert names(series) == ["repetition 1", "repetition 2"]


def test_numbering_without_a_pattern_tells_nothing():
    series = together(mr(), mr())
    for image, number in zip(series, random.Random(1).sample(range(12), 12), strict=True):
        image.InstanceNumber = number
    assert codes(series) == ["DUPLICATE_SLICES"]


def test_two_orientations_are_two_stacks():
    sagittal = mr_series(SHAPE, placed("sagittal", (3.0, 1.0, 1.0)))
    assert names(together(mr(), sagittal)) == ["orientation 1", "orientation 2"]


def test_two_matrices_are_two_stacks():
    small = mr_series((6, 6, 6), AXIAL)
    assert names(together(mr(), small)) == ["8 x 10", "6 x 6"]


def test_two_acquisitions_that_overlap_are_two_stacks():
    upper = placed("axial", (3.0, 1.0, 1.0), origin_mm=(-40.0, -50.0, -18.0))
    series = together(ct(), ct_series(SHAPE, upper, AcquisitionNumber=2))
    assert names(series) == ["acquisition 1", "acquisition 2"]


def slab(below_mm, *, gap_mm=3.0, across_mm=0.0, **header):
    """Slices that end below those of `ct`."""
    origin = (-40.0 + across_mm, -50.0, -30.0 - below_mm - 5 * gap_mm)
    return ct_series(SHAPE, placed("axial", (gap_mm, 1.0, 1.0), origin_mm=origin), **header)


@pytest.mark.parametrize(
    "below",
    [slab(4.2, AcquisitionNumber=2), slab(-6.5, AcquisitionNumber=2),
     slab(5.0, gap_mm=5.0, AcquisitionNumber=2), slab(3.0, across_mm=20.0, AcquisitionNumber=2)],
    ids=["apart", "overlapping", "thicker", "beside"],
)  # fmt: skip
def test_two_acquisitions_glued_together_are_two_stacks(below):
    assert names(together(ct(), below)) == ["acquisition 1", "acquisition 2"]


def test_glued_slices_without_a_mark_stay_uneven():
    assert codes(together(ct(), slab(4.2))) == ["UNEVEN_SPACING"]


def test_a_glued_acquisition_with_a_gap_spoils_both():
    below = slab(4.2, AcquisitionNumber=2)
    del below[2]
    assert codes(together(ct(), below)) == ["UNEVEN_SPACING"]


def test_a_shift_between_interleaved_packages_is_no_pair_of_slabs():
    images = ct_series((12, 8, 8), AXIAL)
    for index, image in enumerate(images):
        image.AcquisitionNumber = index % 2 + 1
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, z + 0.8 * (index % 2)]
    assert codes(images) == ["UNEVEN_SPACING"]


def test_stacks_of_an_enhanced_instance_are_stacks_though_slices_lie_between():
    frames = [*mr(), *mr_series(SHAPE, placed("axial", (3.0, 1.0, 1.0), origin_mm=(-40, -50, 9)))]
    whole = enhanced(frames)
    for number, frame in enumerate(whole.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].StackID = str(number // SHAPE[0] + 1)
    found = stacks_of(headers_of(whole))
    assert [part.name for part in found] == ["stack 1", "stack 2"]
    assert all(isinstance(part, Stack) for part in found)
    for frame in whole.PerFrameFunctionalGroupsSequence:
        frame.FrameContentSequence[0].StackID = "1"
    assert [part.reason.code for part in stacks_of(headers_of(whole))] == ["MISSING_SLICES"]


# Nothing is hidden


def test_an_echo_with_a_gap_is_refused_and_the_other_is_not():
    second = mr(EchoTime="15")
    del second[2]
    first, other = parts(together(mr(EchoTime="5"), second))
    assert isinstance(first, Stack)
    assert isinstance(other, Unusable)
    assert (other.name, other.reason.code) == ("echo 2", "MISSING_SLICES")


@pytest.mark.parametrize("end", [0, -1])
def test_an_echo_that_ends_early_is_refused(end):
    second = mr(EchoTime="15")
    place = second.pop(end).ImagePositionPatient[2]
    first, other = parts(together(mr(EchoTime="5"), second))
    assert isinstance(first, Stack)
    assert isinstance(other, Unusable)
    assert other.reason.code == "MISSING_SLICES"
    assert f"{place:.2f}" in other.reason.text


@pytest.mark.parametrize("index", range(SHAPE[0]))
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("EchoTime", "15"),
        ("DiffusionBValue", 1000.0),
        ("ImageType", kind("P")),
        ("ConvolutionKernel", "B60f"),
    ],
)
def test_a_slice_of_another_kind_spoils_the_stack(index, keyword, value):
    images = mr()
    setattr(images[index], keyword, value)
    assert codes(images) == ["MIXED_KIND"]


@pytest.mark.parametrize("index", range(SHAPE[0]))
def test_a_slice_that_is_there_twice_is_refused(index):
    for number in (1, 99):
        images = together(mr(), mr()[index : index + 1])
        images[-1].InstanceNumber = number
        assert codes(images) == ["DUPLICATE_SLICES"]


def test_step_and_shoot_acquisitions_do_not_explain_a_repeated_place():
    images = ct_series((12, 8, 8), AXIAL)
    for index, image in enumerate(images):
        image.AcquisitionNumber = index // 4 + 1
    assert names(images) == [""]
    images[3].ImagePositionPatient = images[4].ImagePositionPatient
    assert codes(images) == ["DUPLICATE_SLICES"]


def test_a_gap_between_acquisitions_stays_a_gap():
    images = ct_series((12, 8, 8), AXIAL)
    for index, image in enumerate(images):
        image.AcquisitionNumber = index // 6 + 1
    del images[5]
    assert codes(images) == ["MISSING_SLICES"]


def test_interleaved_packages_are_one_stack():
    images = mr()
    for index, image in enumerate(images):
        image.AcquisitionNumber = index % 2 + 1
        image.AcquisitionTime = f"10150{index % 2}"
    assert names(images) == [""]


# Localizers and captures


def test_a_survey_in_three_planes_is_a_localizer():
    planes = [
        mr_series((3, 8, 8), placed(plane, (10.0, 1.0, 1.0)))
        for plane in ("axial", "sagittal", "coronal")
    ]
    assert codes(together(*planes)) == ["LOCALIZER"]


DESCRIBED = ("localizer", "AAHead_Scout", "Topogram  0.6  T20f", "3-plane Loc", "Survey_32ch",
             "LOKALIZER", "Repérage", "Localizador", "定位像", "位置決め",
             "Топограмма")  # fmt: skip


@pytest.mark.parametrize("description", DESCRIBED)
def test_localizers_are_known_by_their_description(description):
    assert codes(mr(SeriesDescription=description)) == ["LOCALIZER"]
    assert codes(mr(SeriesDescription="", ProtocolName=description)) == ["LOCALIZER"]


@pytest.mark.parametrize(
    "description",
    ["Skeletal survey", "Whole body survey", "T1 allocated", "导航定位 T1", "Block A", "Scouting"],
)
def test_words_that_only_look_alike_are_no_localizers(description):
    assert names(ct(SeriesDescription=description)) == [""]


def test_a_scout_across_the_slices_is_set_apart():
    scout = ct_series((1, 20, 30), placed("coronal", (1.0, 1.0, 0.5)))
    assert codes(together(scout, ct())) == ["ok", "LOCALIZER"]


@pytest.mark.parametrize("index", range(SHAPE[0]))
def test_a_slice_with_a_wrong_orientation_is_no_scout(index):
    images = ct()
    images[index].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    assert codes(images) == ["MIXED_ORIENTATION"]


def test_a_screen_capture_among_the_slices_is_set_apart():
    capture = ct()[:1]
    capture[0].SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    del capture[0].ImagePositionPatient, capture[0].ImageOrientationPatient
    assert codes(together(ct(), capture)) == ["ok", "SECONDARY_CAPTURE"]


def test_a_slice_without_position_is_not_set_apart():
    images = ct()
    del images[0].ImagePositionPatient
    assert codes(images) == ["NO_GEOMETRY"]


def test_the_order_of_instances_changes_nothing():
    series = together(mr(EchoTime="5"), mr(EchoTime="15"))
    headers = [header_of(image) for image in series]
    first = stacks_of(headers)
    for seed in range(4):
        again = stacks_of(random.Random(seed).sample(headers, len(headers)))
        assert [p.name for p in again] == [p.name for p in first]
        for a, b in zip(again, first, strict=True):
            assert a.instances == b.instances
            np.testing.assert_array_equal(a.grid.affine, b.grid.affine)
