"""Image sets as they are named on the command line: sets of params.yaml, or folders of images."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common.errors import UserError


class NamedSet(NamedTuple):
    """name: in evaluate.datasets; section: its entry of `prepare.sets`, None where it has one."""

    name: str
    section: dict[str, Any] | None


def parse(text: str, sets: Mapping[str, Any], size: int) -> NamedSet:
    """The image set that `text` names.

    Args:
        sets: `prepare.sets`.
        size: side of the images of a folder, in pixels: what the models take.

    Raises:
        UserError: there is no such set and no such folder, or a set has the folder's name.
    """
    if text in sets:
        return NamedSet(text, None)
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"--sets: '{text}' is no folder and none of the sets {', '.join(sets)}; a folder holds "
            "a folder of images for each class"
        )
    name = re.sub(r"[^A-Za-z0-9_]+", "-", folder.absolute().name).strip("-") or "images"
    if name in sets:
        raise UserError(f"--sets: {text}: there is a set '{name}' already; rename the folder")
    return NamedSet(name, _image_folder(folder, size))


def _image_folder(folder: Path, size: int) -> dict[str, Any]:
    """All images of a folder of class folders."""
    return {
        "source": "imagefolder",
        "root": str(folder.absolute()),
        "names": None,
        "classes": None,
        "images_per_class": None,
        "skip": 0,
        "size": size,
        "resize": "crop",
    }
