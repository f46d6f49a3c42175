"""Which classes and images of a source become the set."""

import random
from collections.abc import Sequence

from pipeline.common.errors import UserError


def choose(found: Sequence[str], wanted: list[str] | str | None, where: str) -> list[str]:
    """The class ids to use, out of the ids `found`.

    Raises:
        UserError: not a slice, an empty choice, or an id that is not there.
    """
    if wanted is None:
        return list(found)
    if isinstance(wanted, str):
        first, colon, last = wanted.partition(":")
        if not colon or not (first + last).isdecimal():
            raise UserError(f"{where}: classes = '{wanted}': expected a slice such as 0:100")
        chosen = found[int(first or 0) : int(last) if last else None]
        if not chosen:
            raise UserError(f"{where}: the slice {wanted} of {len(found)} classes is empty")
        return list(chosen)
    if not wanted:
        raise UserError(f"{where}: classes is an empty list; null means all")
    there = set(found)
    absent = [class_id for class_id in wanted if class_id not in there]
    if absent:
        raise UserError(f"{where}: there is no class '{absent[0]}' ({len(absent)} absent in all)")
    return wanted


def sample(
    labels: Sequence[int],
    ids: Sequence[str],
    chosen: Sequence[str],
    skip: int,
    per_class: int | None,
    where: str,
) -> list[int]:
    """Image numbers, class by class in the order of `chosen`, rising within each.

    Files are often named in the order of taking: a shuffle fixed by the class id makes any
    prefix a sample, and sets with different `skip` disjoint.

    Raises:
        UserError: a chosen class has no image, or none after `skip`.
    """
    own: dict[str, list[int]] = {class_id: [] for class_id in chosen}
    for number, label in enumerate(labels):
        if ids[label] in own:
            own[ids[label]].append(number)
    kept = []
    for class_id, numbers in own.items():
        if not numbers:
            raise UserError(f"{where}: class '{class_id}' has no image")
        shuffled = list(numbers)
        random.Random(class_id).shuffle(shuffled)
        part = shuffled[skip : None if per_class is None else skip + per_class]
        if not part:
            raise UserError(
                f"{where}: class '{class_id}' has only {len(numbers)} images, none left after "
                f"skip {skip}"
            )
        kept += sorted(part)
    return kept
