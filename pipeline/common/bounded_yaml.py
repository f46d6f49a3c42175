"""YAML that cannot stand for more than fits: counted before anything is built of it.

Ten lines of aliases (*name) or merged keys (<<) can stand for billions of values, and an alias can
stand for what it is part of.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

DEEPEST = 20  # levels of keys and lists
MOST_VALUES = 1_000_000  # an alias counts as often as it is named
Size = tuple[int, int]  # values in all, levels


class _Bounded(SafeConstructor):
    def construct_document(self, node: Node) -> Any:
        """What `node` stands for, unless that is too much."""
        _check_size(node)
        return super().construct_document(node)


def _check_size(node: Node) -> None:
    values, levels = _size(node, {})
    if values > MOST_VALUES:
        raise YAMLError(f"more than {MOST_VALUES:,} values; an alias (*name) counts each time")
    if levels > DEEPEST:
        raise YAMLError(f"more than {DEEPEST} levels of keys and lists")


def _size(node: Node, sizes: dict[Node, Size | None]) -> Size:
    """Size of what `node` stands for; `sizes` has those that are known, None within themselves."""
    if node in sizes:
        if (known := sizes[node]) is None:
            raise YAMLError("an alias (*name) that stands for what it is part of")
        return known
    sizes[node] = None
    below = [_size(inner, sizes) for inner in _inner(node)]
    size = 1 + sum(values for values, _ in below), 1 + max((deep for _, deep in below), default=0)
    sizes[node] = size
    return size


def _inner(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [inner for pair in node.value for inner in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def load_bounded(text: str) -> Any:
    """What a YAML 1.2 document holds, of plain types.

    Raises:
        YAMLError: it is not valid, or stands for too much.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Bounded
    with _yaml_errors():
        return yaml.load(text)


def compose_bounded(text: str) -> Node | None:
    """The nodes of a YAML 1.2 document; None of an empty one.

    Raises:
        YAMLError: it is not valid, or stands for too much.
    """
    with _yaml_errors():
        root = YAML(typ="safe", pure=True).compose(text)
        if root is not None:
            _check_size(root)
    return root


@contextmanager
def _yaml_errors() -> Iterator[None]:
    try:
        yield
    except YAMLError:
        raise
    except RecursionError:
        raise YAMLError("too many levels of keys and lists") from None
    except Exception as error:  # of a date, number or tag that it cannot build, it raises anything
        raise YAMLError(f"a value cannot be read: {error}") from None
