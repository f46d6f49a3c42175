"""The describe stage's parameters, and the classes that it describes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pipeline.common.bounds import Name, Seed
from pipeline.common.errors import UserError, listed
from pipeline.common.params import Section
from pipeline.common.text_files import spelled_as
from pipeline.images.classes import ClassEntry


class DescribeParams(Section):
    """Section `describe` of params.yaml, where every key is explained."""

    dataset: Name
    backend: Name
    prompts: Name
    exemplars: Name
    per_image: bool
    confusions: Name
    gloss: Literal["none", "known"]
    only: list[str] | None
    empty_class: Literal["error", "allow"]
    seed: Seed
    options: dict[str, dict[str, Any]]


def classes_to_describe(
    classes: Sequence[ClassEntry], only: Sequence[str] | None, where: str
) -> list[ClassEntry]:
    """The classes whose ids are in `only`, in label order; None: all.

    Raises:
        UserError: an id stands twice in the class table, a class has no name, or `only` names
            no class or an unknown one.
    """
    nameless = next(
        (class_entry.class_id for class_entry in classes if not class_entry.name.strip()), None
    )
    if nameless is not None:
        raise UserError(f"{where}: class '{nameless}' has an empty name; name it")
    repeated = [key for key, count in Counter(c.class_id for c in classes).items() if count > 1]
    if repeated:
        raise UserError(f"{where}: class id '{repeated[0]}' stands there more than once")
    if only is None:
        return list(classes)
    ids = [class_entry.class_id for class_entry in classes]
    chosen = set(spelled_as(only, ids))
    unknown = sorted(chosen - set(ids))
    if unknown or not only:
        shown = [f"'{class_id}'" for class_id in unknown]
        are = "is no class id" if len(shown) == 1 else "are no class ids"
        named = f"{listed(shown, 5)} {are} of {where}" if shown else "names no class"
        raise UserError(f"params.yaml: describe.only: {named}; null: all classes")
    return [class_entry for class_entry in classes if class_entry.class_id in chosen]
