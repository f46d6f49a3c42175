"""What to call the classes of a folder that no table names.

A folder is often called by a wnid, by a number, or by either before a name. The id of a class stays
the folder's name; only the name that goes into prompts is found here:

    n01440764                    "tench" as ImageNet calls it (wordnet, openai)
    n02085620-Chihuahua          "Chihuahua" (after_id)
    001.Black_footed_Albatross   "Black footed Albatross" (after_id)
    17                           a number: classes.tsv has to say what it is
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipeline.common.errors import UserError, listed
from pipeline.common.letter_forms import alike
from pipeline.images.classes import ClassEntry
from pipeline.prepare.folders import plain_name
from pipeline.prepare.wnids import class_entries

DisplayNames = Literal["id", "wordnet", "openai", "after_id"]
WNID = re.compile(r"n\d{8}(?!\d)")
BEFORE_NAME = re.compile(r"(?:n\d{8}|\d+)[\s._-]+(?=\D)")  # what after_id drops
LIKE_IDS = (
    (WNID, "are wnids", "display_names: wordnet or openai gives ImageNet's names"),
    (re.compile(r"(?:class|category|label|cls|id|c)?[\s._-]*\d+", re.IGNORECASE), "are numbers",
     "a classes.tsv says what they mean"),
    (re.compile(BEFORE_NAME.pattern + r".+"), "begin with a number or a wnid",
     "display_names: after_id drops it"),
)  # fmt: skip
SHOWN = 3


def named(ids: Sequence[str], display_names: DisplayNames, where: Path) -> list[ClassEntry]:
    """Classes with the names that go into prompts.

    Args:
        where: the folder with the class folders, for messages.

    Raises:
        UserError: ids have no wnid of ImageNet-1k, or none has anything before its name.
    """
    if display_names == "id":
        return [ClassEntry(class_id, plain_name(class_id)) for class_id in ids]
    if display_names == "after_id":
        if ids and not any(BEFORE_NAME.match(class_id) for class_id in ids):
            raise UserError(
                f"{where}: display_names: after_id: no class begins with a number or a wnid before "
                f"its name ('{ids[0]}'); take id"
            )
        return [ClassEntry(i, plain_name(BEFORE_NAME.sub("", i, count=1))) for i in ids]
    wnids = [match[0] if (match := WNID.match(class_id)) else class_id for class_id in ids]
    entries = class_entries(wnids, display_names, where) if wnids else []
    return [ClassEntry(class_id, entry.name) for class_id, entry in zip(ids, entries, strict=True)]


def id_note(names: Sequence[str], cure: str | None = None) -> list[str]:
    """A line if most of `names`, which go into prompts as they are, look like ids.

    Args:
        cure: what to do, for a source without `display_names`.
    """
    for pattern, what, usual_cure in LIKE_IDS:
        like_ids = [name for name in names if pattern.fullmatch(name)]
        if like_ids and 2 * len(like_ids) >= len(names):
            return [
                f"{len(like_ids)} class names {what}, which tell CLIP nothing of the class "
                f"({listed(like_ids, SHOWN)}); {cure or usual_cure}"
            ]
    return []


def case_note(ids: Sequence[str]) -> list[str]:
    """A line if classes differ in case or Unicode form only."""
    names = alike(ids)
    if not names:
        return []
    return [
        f"{len(names)} classes differ from another in case or Unicode form only "
        f"({listed(names, SHOWN)}): "
        "their folders are one on some file systems"
    ]
