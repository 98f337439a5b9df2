import pytest

from imaging.terms import code_named


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spleen", "78961009"),
        ("kidney_left", "64033007"),
        ("Left Kidney", "64033007"),
        ("lungs", "39607008"),
        ("inferior_vena_cava", "64131007"),
        ("urinary_bladder", "89837001"),
        ("AdrenalGland", "23451007"),
        ("tumour", "108369006"),
    ],
)
def test_a_structure_is_found_by_its_name(name, value):
    found = code_named(name)
    assert found
    assert (found.value, found.scheme) == (value, "SCT")


@pytest.mark.parametrize("name", ["", "WT", "blob", "concepts", "label 1"])
def test_what_is_not_known_gets_no_code(name):
    assert code_named(name) is None
