import numpy as np
import pytest

from imaging.header import header_of
from imaging.windows import auto_window, preset_window, presets_of, sender_window
from tests.builders import ct_series


def test_presets_are_for_ct_only():
    assert preset_window("brain", "CT") == (40, 80)
    assert presets_of("MR") == ()
    assert preset_window("brain", "MR") is None
    assert preset_window("nonsense", "CT") is None


def test_the_senders_window_counts_when_it_has_a_width():
    (image, narrow) = ct_series((2, 4, 4), WindowCenter="50", WindowWidth="350")
    narrow.WindowWidth = "0"
    assert sender_window(header_of(image)) == (50, 350)
    assert sender_window(header_of(narrow)) is None


def test_auto_leaves_out_the_extremes():
    values = np.concatenate([np.linspace(0, 100, 1000), [9999]]).astype(np.float32)
    centre, width = auto_window(values)
    assert centre == pytest.approx(50, abs=2)
    assert width == pytest.approx(98, abs=2)
    assert auto_window(np.zeros(10, np.float32))[1] == 1
