"""One encoded image to square RGB pixels, as the reference's torchvision transforms do.

Greyscale, palette, CMYK and alpha images become RGB as PIL converts them (alpha is dropped);
16-bit grey is scaled, where PIL alone would clip it to white; an EXIF rotation is not applied,
as torchvision's loaders do not. A truncated, empty or foreign file raises, and so do pixels whose
range is unknown: nothing is padded or guessed. Whatever loses something of the file is remarked on.

JPEGs are decoded at full size: at libjpeg's 1/2, 1/4 and 1/8 (`Image.draft`) between 10 and 93 %
of the values after the resize differ, by up to 32 (measured by `pytest -k smaller_scale`).
"""

import io
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.common.errors import first_line

ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif", ".ppm",
    ".pgm", ".pnm", ".tif", ".tiff", ".tga", ".mpo", ".avif", ".jp2", ".j2k", ".jpf", ".jpx",
    ".j2c", ".jpc",
})  # fmt: skip
# the formats of those endings, in PIL's words, that a file's first bytes tell
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF", "PPM", "TIFF", "AVIF", "JPEG2000")
# what PIL raises on broken files
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
ORIENTATION = 274  # the EXIF tag
FULL_RANGE = ("PNG", "PPM")  # formats whose wide integers PIL gives as 0..65535
DARK = 4  # 16-bit images whose values all lie below this part of the range are remarked on
LARGEST = Image.MAX_IMAGE_PIXELS or 89_478_485  # pixels of an image that is resized before a crop
STRIP = 1 << 20  # pixels that are scaled at once

Resize = Literal["stretch", "crop", "native"]


class Encoded(NamedTuple):
    """Where the bytes of an image file are stored: a file, or a part of one (a member of a tar)."""

    path: Path
    offset: int = 0
    length: int | None = None


class Decoded(NamedTuple):
    """pixels: uint8 (3, S, S), RGB; remarks: what had to be converted, usually nothing."""

    pixels: np.ndarray
    remarks: tuple[str, ...] = ()


def decode(encoded: Encoded, size: int, resize: Resize) -> Decoded:
    """Read, decode and resize one image file; see `fit`.

    Raises:
        OSError, SyntaxError, ValueError, DecompressionBombError: see `reason`.
    """
    return decode_bytes(read_bytes(encoded), size, resize)


def decode_bytes(content: bytes, size: int, resize: Resize) -> Decoded:
    """Decode and resize the bytes of an image file; see `decode`."""
    with Image.open(io.BytesIO(content)) as file:
        image, remarks = to_rgb(file)
    return Decoded(fit(image, size, resize), remarks)


def fit(image: Image.Image, size: int, resize: Resize) -> np.ndarray:
    """An RGB image as uint8 (3, size, size), bilinear with antialiasing.

    stretch: to size x size; crop: shorter side to size * 8 / 7 (256 for 224), centre crop;
    native: as it is.

    Raises:
        ValueError: `native`, and the image is not size x size.
    """
    if resize == "native" and image.size != (size, size):
        width, height = image.size
        raise ValueError(f"{width} x {height} pixels, resize: native needs {size} x {size}")
    if resize == "stretch":
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    elif resize == "crop":
        image = _crop(image, size)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Any mode to RGB, with remarks on what that meant.

    Raises:
        ValueError: floating-point or 32-bit pixels, whose range is unknown.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels, save it with 8 or 16 bits")
    if image.mode == "I" and image.format not in FULL_RANGE:
        raise ValueError("32-bit or signed integer pixels, save it with 8 or 16 bits")
    wide_colour = _is_wide(image) and not image.mode.startswith("I")  # loading it forgets that
    remarks = []
    if _orientation(image) in range(2, 9):
        remarks.append("EXIF rotation not applied")
    if image.mode.startswith("I"):
        remarks.append("16-bit grey scaled to 8 bits")
        image = _eight_bits(image)
        remarks += _darkness(image)
    elif image.mode == "CMYK":
        remarks.append("CMYK converted")
    elif image.mode.upper().endswith("A") or "transparency" in image.info:
        remarks.append("transparency dropped")
        image = image.convert("RGBA")  # a palette's transparent entry, without PIL's warning
    image = image.convert("RGB")
    if wide_colour:
        remarks += ["16-bit colour scaled to 8 bits", *_darkness(image)]
    return image, tuple(remarks)


def _is_wide(image: Image.Image) -> bool:
    """Whether the file of an image that is not yet loaded has 16 bits per channel."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _darkness(scaled: Image.Image) -> list[str]:
    """A remark if an image of 16 bits, here scaled to 8, uses the lowest part of the range only,
    as 12-bit data does; none if it is all black."""
    if 0 < np.asarray(scaled).max() <= 256 // DARK:
        return ["16-bit values in the lowest quarter of the range, dark (12-bit data?)"]
    return []


def is_image(path: Path) -> bool:
    """Whether a file whose name does not tell begins as an image does that can be read."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Image.DecompressionBombError:
        return True
    except UNREADABLE:
        return False


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, in strips: as floats a large image would fill the memory."""
    width, height = image.size
    scaled = np.empty((height, width), dtype=np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        grey = np.asarray(strip, dtype=np.float64) / 257
        scaled[top : top + rows] = grey.round().clip(0, 255)
    return Image.fromarray(scaled)


def reason(error: Exception) -> str:
    """Why an image cannot be read, in words without a path or an object."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image file"
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, a decompression bomb"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return first_line(error)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata says nothing about the pixels
        return 1


def read_bytes(encoded: Encoded) -> bytes:
    """The bytes of an image file.

    Raises:
        OSError: no such file, an empty one, or fewer bytes than there should be.
    """
    with encoded.path.open("rb") as file:
        file.seek(encoded.offset)
        content = file.read() if encoded.length is None else file.read(encoded.length)
    if not content:
        raise OSError("empty file")
    if encoded.length is not None and len(content) != encoded.length:
        raise OSError(f"{len(content)} of {encoded.length} bytes")
    return content


def _crop(image: Image.Image, size: int) -> Image.Image:
    # as torchvision's Resize(256) and CenterCrop(224), whose roundings these are
    short = round(size * 8 / 7)
    width, height = image.size
    if width <= height:
        new = (short, int(short * height / width))
    else:
        new = (int(short * width / height), short)
    if new[0] * new[1] > LARGEST:  # a strip of one pixel's width would fill the memory
        raise ValueError(f"{width} x {height} pixels are too long and thin to be cropped")
    image = image.resize(new, Image.Resampling.BILINEAR)
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))
