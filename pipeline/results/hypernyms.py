"""How far apart two classes are in WordNet: the height of their lowest common ancestor.

The hypernyms of a noun are what it is a kind of: an Egyptian cat is a domestic cat, which is a
cat and a domestic animal. A noun may have several, so that WordNet is a directed acyclic graph
and no tree. Class ids that are wnids ("n" and 8 digits) name its nodes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

TABLE = Path(__file__).parent / "wordnet/hypernyms.tsv"
Hypernyms = Mapping[str, Sequence[str]]  # of every node, [] of the root


@cache
def read_hypernyms() -> Hypernyms:
    """The classes of ImageNet-1k and all their ancestors, from WordNet 3.0."""
    lines = TABLE.read_text(encoding="ascii").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {wnid: parents.split(",") if parents else [] for wnid, parents in rows}


def ancestors(hypernyms: Hypernyms, node: str) -> set[str]:
    """The node itself and all that is above it."""
    reached, open_nodes = set(), [node]
    while open_nodes:
        node = open_nodes.pop()
        if node not in reached:
            reached.add(node)
            open_nodes += hypernyms[node]
    return reached


def heights(hypernyms: Hypernyms, class_ids: Sequence[str]) -> dict[str, int]:
    """The height of every class and of all above: the longest path down to a class.

    Example: of the classes tabby, Egyptian cat and goldfish, tabby and goldfish have 0, domestic
    cat 1, cat 2; WordNet's other cats are no classes and do not count.
    """
    result: dict[str, int] = {}
    for class_id in class_ids:
        open_nodes = [(class_id, 0)]
        while open_nodes:
            node, height = open_nodes.pop()
            if height > result.get(node, -1):
                result[node] = height
                open_nodes += [(parent, height + 1) for parent in hypernyms[node]]
    return result


def ancestor_heights(hypernyms: Hypernyms, class_ids: Sequence[str]) -> np.ndarray:
    """int16 (C, C): of each pair of classes the height of its lowest common ancestor, which is the
    least height of all common ancestors; 0 for a class and itself.

    Args:
        hypernyms: with one root, which every class reaches.
        class_ids: C nodes, each once; where one is above another, it is their common ancestor.
    """
    classes_below: dict[str, list[int]] = {}
    for label, class_id in enumerate(class_ids):
        for node in ancestors(hypernyms, class_id):
            classes_below.setdefault(node, []).append(label)
    height = heights(hypernyms, class_ids)
    result = np.zeros((len(class_ids), len(class_ids)), dtype=np.int16)
    # from the root down, so that of the common ancestors of a pair the lowest is written last
    for node in sorted(classes_below, key=height.__getitem__, reverse=True):
        result[np.ix_(classes_below[node], classes_below[node])] = height[node]
    np.fill_diagonal(result, 0)
    return result
