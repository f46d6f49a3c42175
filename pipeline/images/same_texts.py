"""Classes of one image set that a text set gives the same texts.

Their text features are equal, so no model can tell them apart: of two equal logits the first wins,
and the second class is never predicted.
"""

from collections.abc import Sequence


def fill_templates(templates: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """The texts of each class, one for each template; {} in a template is the class name."""
    return [[template.replace("{}", name) for template in templates] for name in names]


def same_texts(class_ids: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """The groups of two or more classes with the same texts, each in the order of `class_ids`.

    Case, white space and the order of a class's texts do not count: CLIP's tokenizer sees neither
    of the first two, and a class feature is a mean.

    Args:
        class_ids: C ids, each once.
        texts: the texts of each class, in the order of `class_ids`.

    Example: ids a, b, c with texts ["a crane"], ["a tench"], ["A  crane"] give [["a", "c"]].
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for class_id, own_texts in zip(class_ids, texts, strict=True):
        folded = sorted(" ".join(text.casefold().split()) for text in own_texts)
        groups.setdefault(tuple(folded), []).append(class_id)
    return [ids for ids in groups.values() if len(ids) > 1]


def describe_same_texts(dataset: str, texts: str, groups: Sequence[Sequence[str]]) -> str:
    """One clause on the groups of `same_texts`, at least one.

    Args:
        texts: name of the text set.

    Example: "classes 'n02012849' and 'n03126707' of 'imagenet' have the same texts in text set
    'template'".
    """
    first, *others = groups
    ids = [f"'{class_id}'" for class_id in first]
    more = f" (and {len(others)} more such group{'s' * (len(others) > 1)})" if others else ""
    listed_ids = f"{', '.join(ids[:-1])} and {ids[-1]}"
    return f"classes {listed_ids} of '{dataset}' have the same texts in text set '{texts}'{more}"
