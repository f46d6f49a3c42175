"""16-bit grey is scaled strip by strip, to the values that all of it at once would have."""

import numpy as np
import pytest
from PIL import Image

from pipeline.images import decoding


@pytest.mark.parametrize("strip", [1, 7, 100, 10**6])
@pytest.mark.parametrize("mode", ["I", "I;16"])
def test_strips_make_no_difference(monkeypatch, strip, mode):
    monkeypatch.setattr(decoding, "STRIP", strip)
    values = np.random.default_rng(0).integers(0, 65536, size=(13, 9))
    if mode == "I":
        values[0, :3] = (-5, 70_000, 2**31 - 1)
    image = Image.fromarray(values.astype(np.int32 if mode == "I" else np.uint16))
    assert image.mode == mode
    image.format = "PNG"
    pixels = np.asarray(decoding.to_rgb(image)[0])[..., 0]
    assert np.array_equal(pixels, (values / 257).round().clip(0, 255).astype(np.uint8))
