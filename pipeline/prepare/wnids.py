"""Names of ImageNet's classes by wnid, without having ImageNet.

timm ships WordNet's lemmas for the 1,000 wnids, open_clip the names OpenAI evaluated with, both
in the order of the sorted wnids.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pipeline.common.errors import UserError
from pipeline.images.classes import ClassEntry
from pipeline.prepare.catalogue import CatalogueParams, Listing
from pipeline.prepare.directories import class_folders
from pipeline.prepare.folders import listing_of, plain_name


class WnidParams(CatalogueParams):
    """`prepare.sets.<set>` of a set whose classes are wnids."""

    names: Literal["wordnet", "openai"] = "wordnet"
    """wordnet: the first lemma, as the reference; openai: the names of OpenAI's evaluation."""


def all_wnids() -> list[str]:
    """The 1,000 wnids of ImageNet-1k, sorted: the index of one is its label there."""
    from timm.data import ImageNetInfo

    return list(ImageNetInfo("imagenet-1k").label_names())


def class_entries(
    wnids: Sequence[str], names: Literal["wordnet", "openai"], where: Path
) -> list[ClassEntry]:
    """Classes with their display names.

    Two wnids of one set whose lemmas are the same word (crane, cardigan, maillot) take OpenAI's
    names, which tell the bird from the machine.

    Args:
        where: the folder or table with the wnids, for messages.

    Raises:
        UserError: a wnid is not one of ImageNet-1k's.
    """
    import open_clip
    from timm.data import ImageNetInfo

    info, label_of = ImageNetInfo("imagenet-1k"), {w: i for i, w in enumerate(all_wnids())}
    unknown = [wnid for wnid in wnids if wnid not in label_of]
    if unknown:
        raise UserError(
            f"{where}: '{unknown[0]}' is no class of ImageNet-1k ({len(unknown)} in all); remove "
            "what does not belong there"
        )
    openai = {wnid: open_clip.IMAGENET_CLASSNAMES[label_of[wnid]] for wnid in wnids}
    if names == "openai":
        return [ClassEntry(wnid, openai[wnid]) for wnid in wnids]
    lemma = {wnid: plain_name(info.label_name_to_description(wnid).split(",")[0]) for wnid in wnids}
    counts = Counter(name.lower() for name in lemma.values())
    return [
        ClassEntry(wnid, openai[wnid] if counts[lemma[wnid].lower()] > 1 else lemma[wnid])
        for wnid in wnids
    ]


def wnid_folders(name: str) -> Callable[[Path, str, WnidParams], Listing]:
    """The listing of a set that is one folder `name` of class folders, <wnid>/*."""

    def listing(root: Path, split: str, params: WnidParams) -> Listing:
        folder = root / name
        return listing_of(folder, root, class_entries(class_folders(folder), params.names, folder))

    return listing
