"""Reading ahead: order, threads, errors, and that the reading itself happens in the thread."""

import io
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageFilter

from pipeline.clip.model import to_float_pixels
from pipeline.common.errors import UserError
from pipeline.filtering.image_features import encode_images
from pipeline.images import decoding
from pipeline.images.streaming import (
    FILE_SCHEMA,
    StreamedPixels,
    depth,
    is_streamed,
    prefetch,
)
from pipeline.training import frozen_features
from pipeline.training.batches import _epoch_order, batch_indices
from pipeline.training.objective import MethodInputs, MethodParams
from saft.check.probe import counting_encoder, tiny_inputs
from tests.support.dataset_fixtures.base import noise

IMAGES, SIDE = 23, 8
CPU = torch.device("cpu")


def readers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.mark.parametrize("ahead", [1, 2, 5, 40])
def test_values_come_in_order_whichever_is_read_first(ahead: int) -> None:
    def read(number: int) -> int:
        time.sleep(0.003 * (number % 3 == 0))
        return number * number

    assert list(prefetch(read, range(20), ahead)) == [n * n for n in range(20)]
    assert list(prefetch(read, [], ahead)) == []
    assert readers() == []


@pytest.mark.parametrize("ahead", [1, 4])
def test_the_next_ones_are_read_while_one_is_used_and_no_more(ahead: int) -> None:
    started: list[int] = []
    values = prefetch(lambda n: (started.append(n), n)[1], range(100), ahead)
    for used in range(5):
        assert next(values) == used
        deadline = time.monotonic() + 5
        while len(started) < used + 1 + ahead and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)  # a reader that goes too far would have gone by now
        assert sorted(started) == list(range(used + 1 + ahead))
    values.close()


def test_batches_are_read_at_the_same_time() -> None:
    """Each read waits for the others: with fewer threads than `depth` none would end."""
    together = threading.Barrier(3, timeout=10)
    values = prefetch(lambda n: (together.wait(), n)[1], range(3), 3)
    assert list(values) == [0, 1, 2]


def test_an_error_comes_in_the_place_of_its_value_and_ends_the_reading() -> None:
    read: list[int] = []

    def broken(number: int) -> int:
        read.append(number)
        if number == 3:
            raise UserError("n01/3.png: file not found")
        return number

    values = prefetch(broken, range(1000), 2)
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="n01/3.png"):
        next(values)
    assert max(read) <= 5
    assert readers() == []


def test_a_consumer_that_stops_early_leaves_no_thread() -> None:
    def consume() -> None:
        for number in prefetch(lambda n: n, range(10**9), 4):
            if number == 7:
                raise RuntimeError("a bad step")

    with pytest.raises(RuntimeError):
        consume()
    values = prefetch(lambda n: n, range(10**9), 4)
    next(values)
    assert readers() != []
    values.close()
    assert readers() == []


@pytest.fixture
def packed(tmp_path: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.fixture
def streamed(tmp_path: Path, packed: np.ndarray) -> StreamedPixels:
    """The same pixels, each image in a PNG file of its own."""
    columns: dict[str, list[Any]] = {name: [] for name in FILE_SCHEMA.names}
    for number, pixels in enumerate(packed):
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path)
        content = path.read_bytes()
        row = (path.name, 0, len(content), zlib.crc32(content))
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    files = pa.table(columns, FILE_SCHEMA)
    return StreamedPixels(files, tmp_path, SIDE, "native", "set")


def frozen_pass(inputs: MethodInputs) -> torch.Tensor:
    """`precompute_on_clean_images` of (embedding, labels): both, so that an order shows."""
    return frozen_features.precompute_on_clean_images(
        inputs,
        lambda _, found, labels: torch.cat([found.embedding, labels[:, None]], dim=1),
        "test",
    )


def inputs_of(pixels: np.ndarray | StreamedPixels) -> MethodInputs:
    torch.manual_seed(0)
    encoder, _ = counting_encoder()
    return tiny_inputs(encoder, MethodParams(learning_rate=None))._replace(
        pixels=pixels, labels=np.arange(IMAGES), batch_size=6
    )


def test_the_frozen_pass_copies_in_the_reading_thread(packed, monkeypatch) -> None:
    """A view of a memory map would be read by whoever uses it: the main thread."""
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        frozen_features,
        "to_float_pixels",
        lambda part, device: (seen.append(part), to_float_pixels(part, device))[1],
    )
    frozen_pass(inputs_of(packed))
    assert [len(part) for part in seen] == [6, 6, 6, 5]
    assert all(type(part) is np.ndarray and part.base is None for part in seen)
    np.testing.assert_array_equal(np.concatenate(seen), packed)


def test_the_frozen_pass_and_the_features_are_those_of_one_batch_after_the_other(
    packed, streamed
) -> None:
    inputs = inputs_of(packed)
    with torch.no_grad():
        parts = [
            inputs.encoder(to_float_pixels(packed[i : i + 6], CPU)) for i in range(0, IMAGES, 6)
        ]
    embedding = torch.cat([part.embedding for part in parts])
    labels = torch.arange(IMAGES)[:, None]
    numbers = np.arange(IMAGES)[::-2].copy()
    for pixels in (packed, streamed):
        assert torch.equal(frozen_pass(inputs_of(pixels)), torch.cat([embedding, labels], dim=1))
        features = encode_images(inputs.encoder, pixels, numbers, CPU, batch=5)
        expected = torch.nn.functional.normalize(embedding, dim=-1)[numbers]
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)


def test_only_a_streamed_set_is_read_further_ahead(packed, streamed) -> None:
    assert (is_streamed(packed), is_streamed(streamed)) == (False, True)
    assert (depth(packed), depth(streamed)) == (1, 4)


def test_the_order_of_an_epoch_is_drawn_once(monkeypatch) -> None:
    _epoch_order.cache_clear()
    draws: list[int] = []
    permutation = np.random.Generator.permutation

    class Counting(np.random.Generator):
        def permutation(self, images: int) -> np.ndarray:
            draws.append(images)
            return permutation(self, images)

    monkeypatch.setattr(np.random, "Generator", Counting)
    steps = [batch_indices(step, 1000, 100, seed=3) for step in range(20)]
    assert draws == [1000, 1000]
    for epoch in (0, 1):
        order = permutation(np.random.default_rng(np.random.Philox(key=[3, epoch])), 1000)
        for step, start in enumerate(range(0, 1000, 100), 10 * epoch):
            np.testing.assert_array_equal(steps[step], np.sort(order[start : start + 100]))
    with pytest.raises(ValueError, match="read-only"):
        _epoch_order(0, 1000, 3)[0] = 1


MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "4:2:0": ("RGB", {"subsampling": 2}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "grey": ("L", {}),
    "CMYK": ("CMYK", {}),
}


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("mode", MODES)
def test_a_jpeg_decoded_at_a_smaller_scale_has_other_pixels(mode: str, resize: Any) -> None:
    """So `Image.draft`, which would save decoding time, is not used."""
    colours, options = MODES[mode]
    picture = Image.fromarray(noise(0, 1000, 800)).filter(ImageFilter.GaussianBlur(4))
    buffer = io.BytesIO()
    picture.convert(colours).save(buffer, "JPEG", quality=90, **options)
    full_size = decoding.decode_bytes(buffer.getvalue(), 64, resize).pixels
    changed = []
    for scale in (1, 2, 4, 8):
        image = Image.open(io.BytesIO(buffer.getvalue()))
        image.draft(image.mode, (1000 // scale, 800 // scale))
        assert image.size == (1000 // scale, 800 // scale)
        pixels = decoding.fit(decoding.to_rgb(image)[0], 64, resize)
        changed.append((pixels != full_size).mean())
    assert changed[0] == 0
    assert min(changed[1:]) > 0.01
