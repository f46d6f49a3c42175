"""Fuzz the decoding of images: `python -m tests.faults.fuzz_decoding --seconds 300`.

Whatever the bytes are, they decode to pixels of the size asked for, or raise what `prepare` takes
for an unreadable image, with a reason of one line.
"""

import io
import warnings
from typing import Any

import numpy as np
import typer
from PIL import Image

from pipeline.images.decoding import UNREADABLE, Resize, decode_bytes, reason
from tests.faults.fuzzing import command

SIZE = 16
PIXELS = 1_000_000  # of an image; what only takes long because it is large is no finding
RESIZES: tuple[Resize, ...] = ("stretch", "crop", "native")


def seeds() -> list[bytes]:
    """One small image of every format and mode that is read."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, size=(24, 20, 3), dtype=np.uint8))
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("JPEG", "RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}), ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}), ("JPEG", "RGB", {"progressive": True}), ("PNG", "RGB", {}),
        ("PNG", "P", {}), ("PNG", "RGBA", {}), ("PNG", "LA", {}), ("PNG", "1", {}),
        ("PNG", "I;16", {}), ("GIF", "P", {}), ("BMP", "RGB", {}), ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True}), ("TIFF", "RGB", {}), ("PPM", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("TIFF", "F", {}), ("TIFF", "I", {}),
        ("TIFF", "RGB", {"compression": "tiff_deflate"}), ("PPM", "L", {}), ("BMP", "P", {}),
    ]  # fmt: skip
    encoded = []
    for kind, mode, options in kinds:
        stream = io.BytesIO()
        grey = mode == "I;16"
        (image.convert("L").convert("I").convert(mode) if grey else image.convert(mode)).save(
            stream, kind, **options
        )
        encoded.append(stream.getvalue())
    return encoded


def attempt(data: bytes) -> str:
    """What is wrong with the decoding of some bytes; "" if nothing is."""
    resize = RESIZES[len(data) % len(RESIZES)]
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels, remarks = decode_bytes(data, SIZE, resize)
    except UNREADABLE as error:
        words = reason(error)
        return "" if words and "\n" not in words else f"a reason of no or several lines: {words!r}"
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if pixels.shape != (3, SIZE, SIZE) or pixels.dtype != np.uint8:
        return f"pixels of shape {pixels.shape} and type {pixels.dtype}"
    return "" if all(isinstance(remark, str) for remark in remarks) else f"remarks {remarks!r}"


if __name__ == "__main__":
    typer.run(command(seeds, attempt))
