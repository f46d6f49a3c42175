"""Images of any size and mode, brought to what a model takes by its own config.

They are decoded as everywhere in this project (`pipeline.images.decoding`) and resized as
`preprocess_cfg` of the model says, by open_clip's own transform. Image sets of params.yaml are
packed at one size for all models, so that a file's accuracy there may differ in the last digit.
"""

import io
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import Compose, Normalize

from pipeline.common.errors import UserError, printable
from pipeline.images.decoding import LARGEST, UNREADABLE, Encoded, read_bytes, reason, to_rgb
from saft.inference.models import Model

ImageLike = str | Path | Image.Image
KEYS = ("interpolation", "resize_mode", "fill_color")  # of preprocess_cfg, that decide pixels


class Picture(NamedTuple):
    """name: its path, or its place in a list; image: RGB; remarks: what had to be converted."""

    name: str
    image: Image.Image
    remarks: tuple[str, ...] = ()


def read(image: ImageLike, number: int = 0) -> Picture:
    """Decode an image file, or convert an image that is open, to RGB.

    Args:
        number: its place in a list, for messages about one without a file.

    Raises:
        UserError: it is no image, is damaged, or has pixels whose range is unknown.
    """
    if not isinstance(image, ImageLike):
        kind = type(image).__name__
        raise UserError(f"image {number}: {kind} is no image; give a path or a PIL image")
    if not isinstance(image, Image.Image) and not os.fspath(image):
        raise UserError(f"image {number}: an empty name; name an image file")
    name = f"image {number}" if isinstance(image, Image.Image) else printable(str(image))
    try:
        if isinstance(image, Image.Image):
            return Picture(name, *to_rgb(image))
        path = Path(os.path.expanduser(image))  # which leaves a ~ that is nobody's home
        _check_ends(path)
        with Image.open(io.BytesIO(read_bytes(Encoded(path)))) as file:
            return Picture(name, *to_rgb(file))
    except UNREADABLE as error:
        raise UserError(f"{name}: cannot be read as an image: {reason(error)}") from None


def read_all(images: ImageLike | Sequence[ImageLike]) -> list[Picture]:
    """`read` of one image or of several.

    Raises:
        UserError: one cannot be read, or there is none.
    """
    if isinstance(images, ImageLike) or not isinstance(images, Iterable):
        images = [images]
    pictures = [read(image, number) for number, image in enumerate(images)]
    if not pictures:
        raise UserError("no image is given; name one at least")
    return pictures


def _check_ends(path: Path) -> None:
    """Raise OSError for what may have no end: a pipe, a device."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a folder says what it is
        raise OSError("a pipe or device, not a file")


def preprocessed(pictures: Sequence[Picture], model: Model) -> np.ndarray:
    """uint8 (N, 3, S, S), RGB: what the model takes, before [0, 1] and normalisation.

    Raises:
        UserError: an image is too long and thin to be brought to a square.
    """
    side = model.encoder.image_size
    transform = transform_of(model)
    for picture in pictures:
        short, long = sorted(picture.image.size)
        if side * side * long > LARGEST * short:  # a strip of one pixel's width fills the memory
            raise UserError(f"{picture.name}: {short} x {long} pixels are too long and thin")
    pixels = [transform(picture.image) for picture in pictures]
    return np.stack([np.rint(255 * values.numpy()).astype(np.uint8) for values in pixels])


def transform_of(model: Model) -> Compose:
    """An RGB image -> float32 (3, S, S) in [0, 1]: open_clip's transform without its last step."""
    config = model.clip.config["preprocess_cfg"]
    values = {key: config[key] for key in KEYS if config.get(key) is not None}
    whole = image_transform_v2(PreprocessCfg(size=model.encoder.image_size, **values), False)
    return Compose([step for step in whole.transforms if not isinstance(step, Normalize)])
