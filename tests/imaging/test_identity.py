import pytest

from imaging.errors import MalformedInstance, SetupError
from imaging.identity import ae_title, checked_uid, derived_uid, is_uid


def test_derived_uids_are_valid_stable_and_distinct():
    assert is_uid(derived_uid("a", "b"))
    assert derived_uid("a", "b") == derived_uid("a", "b")
    assert derived_uid("a", "b") != derived_uid("ab")
    assert derived_uid("a", "b") == "2.25.226600496752341684710075084222649428660"


@pytest.mark.parametrize("text", ["", None, "../../etc", "1.2.x", "1" * 65, "1..2", "12"])
def test_what_is_not_a_uid_is_refused(text):
    with pytest.raises(MalformedInstance):
        checked_uid(text, "UID")


def test_leading_zeros_pass_but_are_not_valid():
    assert checked_uid("1.02.3", "UID") == "1.02.3"
    assert not is_uid("1.02.3")


@pytest.mark.parametrize("text", ["", " ", "A" * 17, "A\\B", "A\nB", "ÄÖ"])
def test_bad_ae_titles_are_refused(text):
    with pytest.raises(SetupError):
        ae_title(text)


def test_spaces_around_an_ae_title_do_not_count():
    assert ae_title(" WETREAD ") == "WETREAD"
