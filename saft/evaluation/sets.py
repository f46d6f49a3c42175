"""Image sets as they are named on the command line: sets of params.yaml, or folders of images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common.errors import UserError
from pipeline.common.params import validate
from saft.evaluation import paths


class NamedSet(NamedTuple):
    """name: in evaluate.datasets; section: its entry of `prepare.sets`, None where it has one."""

    name: str
    section: dict[str, Any] | None


def parse(text: str, sets: Mapping[str, Any], size: int) -> NamedSet:
    """The image set that `text` names; a folder's name has its content's fingerprint.

    Args:
        sets: `prepare.sets`.
        size: side of the images of a folder, in pixels: what the models take.

    Raises:
        UserError: there is no such set and no such folder, or it is no folder of class folders.
    """
    if not text.strip():
        raise UserError("--sets: an empty word; write sets and folders between single commas")
    if text in sets:
        return NamedSet(text, None)
    folder = paths.existing(text)
    if folder is None or not folder.is_dir():
        raise UserError(
            f"--sets: '{text}' is no folder and none of the sets {', '.join(sets)}; a folder holds "
            "a folder of images for each class"
        )
    section = _image_folder(folder, size)
    _check_folder(section)
    return NamedSet(
        paths.with_fingerprint(paths.plain_name(folder.name, "images"), folder), section
    )


def _check_folder(section: Mapping[str, Any]) -> None:
    """Raise UserError unless the source can list the images: two classes, an image in each."""
    from pipeline.datasets import imagefolder  # with numpy and Pillow

    imagefolder.open_source(validate(section, imagefolder.Params, "--sets"))


def _image_folder(folder: Path, size: int) -> dict[str, Any]:
    """All images of a folder of class folders."""
    return {
        "source": "imagefolder",
        "root": str(folder),
        "names": None,
        "classes": None,
        "images_per_class": None,
        "skip": 0,
        "size": size,
        "resize": "crop",
    }
