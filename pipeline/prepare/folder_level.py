"""Whether the folders below a root are classes, or parts of a data set that hold the classes."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.common.errors import UserError, listed
from pipeline.prepare.directories import image_names, subfolders

SPLITS = frozenset({
    "train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev",
})  # fmt: skip
SHOWN = 3


def level_notes(root: Path, ids: Sequence[str], key: str) -> list[str]:
    """A line if the class folders `ids` hold only folders of the same names, as the domains of a
    data set do.

    Args:
        key: the root as params.yaml names it, for messages.

    Raises:
        UserError: two of them are called like splits and hold class folders.
    """
    folders_in = {}
    for class_id in ids:
        folders_in[class_id] = _only_folders(root / class_id)
        if len(folders_in[class_id]) < 2 and class_id.lower() not in SPLITS:
            return []  # most sets end here, after a look at their first class
    splits = [class_id for class_id in ids if class_id.lower() in SPLITS]
    with_classes = [split for split in splits if len(folders_in[split]) > 1]
    if len(splits) > 1 and with_classes:
        raise UserError(
            f"{root}: the folders {listed(splits, SHOWN)} are parts of a data set, not classes; "
            f"take one of them, such as root: {os.path.join(key, with_classes[0])}"
        )
    shared = set.intersection(*folders_in.values())
    if len(shared) > 1 and 2 * len(shared) >= len(set.union(*folders_in.values())):
        return [
            f"the class folders {listed(ids, SHOWN)} hold no images but folders of the same names "
            f"({listed(sorted(shared), SHOWN)}); if these are the classes, take one of those, such "
            f"as root: {os.path.join(key, ids[0])}"
        ]
    return []


def _only_folders(folder: Path) -> set[str]:
    """Names of the folders in `folder`; none if there are images beside them."""
    return set() if image_names(folder) else set(subfolders(folder))
