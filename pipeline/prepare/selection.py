"""Which classes and images of a source become the set."""

import random
from collections.abc import Sequence

from pipeline.common.errors import UserError
from pipeline.common.text_files import spelled_as


def select_classes(
    class_ids: Sequence[str], selection: list[str] | str | None, where: str
) -> list[str]:
    """The classes to use, out of `class_ids`: all for None, a slice such as "0:100", or a list.

    Raises:
        UserError: not a slice, an empty choice, or an id that is not there.
    """
    if selection is None:
        return list(class_ids)
    if isinstance(selection, str):
        first, colon, last = selection.partition(":")
        if not colon or not (first + last).isdecimal():
            raise UserError(f"{where}: classes = '{selection}': expected a slice such as 0:100")
        selected = class_ids[int(first or 0) : int(last) if last else None]
        if not selected:
            raise UserError(f"{where}: the slice {selection} of {len(class_ids)} classes is empty")
        return list(selected)
    if not selection:
        raise UserError(f"{where}: classes is an empty list; null means all")
    known_ids = set(class_ids)
    selection = spelled_as(selection, known_ids)
    absent = [class_id for class_id in selection if class_id not in known_ids]
    if absent:
        raise UserError(f"{where}: there is no class '{absent[0]}' ({len(absent)} absent in all)")
    return selection


def without_images(
    labels: Sequence[int], ids: Sequence[str], class_ids: Sequence[str]
) -> list[str]:
    """Those of `class_ids` that no image has, where the label of image i is `ids[labels[i]]`."""
    present = {ids[label] for label in set(labels)}
    return [class_id for class_id in class_ids if class_id not in present]


def sample_images(
    labels: Sequence[int],
    ids: Sequence[str],
    class_ids: Sequence[str],
    skip: int,
    per_class: int | None,
    where: str,
) -> list[int]:
    """Image numbers, class by class in the order of `class_ids`, in rising order within each.

    Files are often named in the order in which they were taken: a shuffle with the class id as
    seed makes any prefix a random sample, and sets with different `skip` disjoint.

    Raises:
        UserError: a chosen class has no image, or none after `skip`.
    """
    numbers_of: dict[str, list[int]] = {class_id: [] for class_id in class_ids}
    for number, label in enumerate(labels):
        if ids[label] in numbers_of:
            numbers_of[ids[label]].append(number)
    sampled = []
    for class_id, numbers in numbers_of.items():
        if not numbers:
            raise UserError(f"{where}: class '{class_id}' has no image")
        shuffled = list(numbers)
        random.Random(class_id).shuffle(shuffled)
        chosen_numbers = shuffled[skip : None if per_class is None else skip + per_class]
        if not chosen_numbers:
            raise UserError(
                f"{where}: class '{class_id}' has only {len(numbers)} images, none left after "
                f"skip {skip}"
            )
        sampled += sorted(chosen_numbers)
    return sampled
