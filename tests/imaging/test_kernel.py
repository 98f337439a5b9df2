import pytest

from imaging.header import header_of
from imaging.kernel import kernel_kind
from tests.builders import ct_series


def kind(kernel: object, description: str = "") -> str:
    (image, *_) = ct_series((3, 4, 4), ConvolutionKernel=kernel, SeriesDescription=description)
    return kernel_kind(header_of(image))


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        ("H30s B30f B41s J30s I31f Br40d Hr40f Bf37f", "soft"),  # Siemens
        ("B70f B60f H70h Hr68 Br64 I70f U70f U90u", "bone"),
        ("B80f Bl57d Bl64", "lung"),
        ("STANDARD SOFT STND STD+ DETAIL CHST", "soft"),  # GE
        ("BONE BONEPLUS EDGE", "bone"),
        ("LUNG", "lung"),
        ("A B C UB", "soft"),  # Philips
        ("D E YD", "bone"),
        ("L", "lung"),
        ("FC03 FC13 FC18 FC26 FC64 FC18-H", "soft"),  # Canon
        ("FC30 FC81", "bone"),
        ("FC51 FC52 FC86", "lung"),
        ("B_SOFT_B H_SOFT_A", "soft"),  # United Imaging
        ("B_SHARP_C H_VSHARP_C", "bone"),
        ("ZZ12 XYZ", "unknown"),
    ],
)
def test_names_of_the_vendors(kernels: str, expected: str) -> None:
    assert {kernel: kind(kernel) for kernel in kernels.split()} == dict.fromkeys(
        kernels.split(), expected
    )


def test_strength_of_iterative_kernels_does_not_matter() -> None:
    assert kind(["I30f", "3"]) == "soft"
    assert kind(["Br59", "3"]) == "unknown"


def test_descriptions_where_the_name_says_nothing() -> None:
    assert kind(None, "Thorax Lungenfenster") == "lung"
    assert kind(None, "头颅骨窗") == "bone"
    assert kind(None, "Schädel Weichteil") == "soft"
    assert kind(None) == "unknown"
    assert kind("STANDARD", "bone") == "soft"
