"""YAML text as a tree of keys that still have their comments, and back to the same text.

ruamel.yaml says where each key and value stands; comments, layout and the spelling of values are
taken from the text itself, so that what is not changed comes back as it was written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from pipeline.common.bounded_yaml import compose_bounded
from pipeline.common.errors import UserError

INDENT = "  "
REPLACE = "!replace"  # tag of a mapping that is not merged with the one it overrides


@dataclass(frozen=True)
class Key:
    """One key of a mapping. In

        # passes over the training set
        epochs: 8  # published: 10

    `above` is ("# passes over the training set",), `value` is " 8  # published: 10".

    label: the key as written, with its quotes; name: without.
    above: blank lines and comments since the key before, without indentation.
    value: what follows the colon, on to the last line of the value, without indentation; of a
        block mapping only the rest of the key's line.
    keys: those of a mapping, else None; is_block: they stand on lines of their own, and not in
        `value` as those of {a: 1}.
    is_replaced: tagged !replace, of which `value` is free.
    """

    label: str
    name: str
    above: tuple[str, ...]
    value: str
    keys: tuple["Key", ...] | None
    is_block: bool = False
    is_replaced: bool = False


def compose(text: str, file: Path) -> MappingNode:
    """The YAML nodes of a text, which is a mapping.

    Raises:
        UserError: it is not; names `file`.
    """
    try:
        root = compose_bounded(text)
    except YAMLError as error:
        raise UserError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(root, MappingNode):
        raise UserError(f"{file}: expected sections with keys")
    return root


def parse(text: str, file: Path) -> tuple[Key, ...]:
    """The sections of a YAML text with "\\n" line ends.

    Raises:
        UserError: no YAML, no mapping, a key twice, or an alias in place of a value; names `file`.
    """
    root = compose(text, file)
    if root.flow_style:
        raise UserError(f"{file}: expected sections, each on lines of its own")
    text = text.rstrip("\n") + "\n"  # every line ends: the searches below always succeed
    return tuple(_block(text, root, 0, file))


def to_text(keys: Sequence[Key]) -> str:
    """The inverse of `parse`: what stands behind the last value excepted."""
    return "".join(f"{line}\n" for line in _lines(keys, ""))


def _lines(keys: Sequence[Key], indent: str) -> Iterator[str]:
    for key in keys:
        first, *more = f"{key.label}:{key.value}".split("\n")
        for line in (*key.above, first, *more):
            yield indent + line if line else ""
        if key.keys and key.is_block:
            yield from _lines(key.keys, indent + INDENT)


def _block(text: str, node: MappingNode, start: int, file: Path) -> Iterator[Key]:
    """Keys of a block mapping; `start` is the index in `text` at which its first line begins."""
    names: set[str] = set()
    for label, value in node.value:
        name = _name(text, label, value, names, file)
        line = text.rfind("\n", 0, label.start_mark.index) + 1
        above = tuple(x.strip() for x in text[start:line].split("\n")[:-1])
        colon = text.index(":", label.end_mark.index)
        is_block = isinstance(value, MappingNode) and not value.flow_style
        end = text.index("\n", colon if is_block else _end(text, value, colon))
        rest = _untagged(_dedented(text[colon + 1 : end], label.start_mark.column), value)
        start = end + 1
        keys = None
        if is_block:
            keys = tuple(_block(text, value, start, file))
            start = text.index("\n", _end(text, value, colon)) + 1
        elif isinstance(value, MappingNode):
            keys = tuple(_flow(text, value, file))
        yield Key(_slice(text, label), name, above, rest, keys, is_block, value.tag == REPLACE)


def _flow(text: str, node: MappingNode, file: Path) -> Iterator[Key]:
    """Keys of a mapping such as {a: 1, b: [2, 3]}."""
    names: set[str] = set()
    for label, value in node.value:
        name = _name(text, label, value, names, file)
        shown = _untagged(f" {_slice(text, value)}".rstrip(), value)
        keys = tuple(_flow(text, value, file)) if isinstance(value, MappingNode) else None
        yield Key(_slice(text, label), name, (), shown, keys, False, value.tag == REPLACE)


def _name(text: str, label: Node, value: Node, names: set[str], file: Path) -> str:
    name = label.value if isinstance(label, ScalarNode) else _slice(text, label)
    where = f"{file}: line {label.start_mark.line + 1}: '{name}'"
    if name in names:
        raise UserError(f"{where} is there twice")
    if value.start_mark.index < label.end_mark.index:  # an alias stands where its anchor does
        raise UserError(
            f"{where} is an alias (*), which no profile that extends or is extended can have"
        )
    names.add(name)
    return name


def _end(text: str, node: Node, colon: int) -> int:
    """Index of the last character of a value; of the colon before it where the value is empty."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        if isinstance(node, MappingNode):
            label, last = last
            return _end(text, last, text.index(":", label.end_mark.index))
        return _end(text, last, last.start_mark.index - 1)
    if node.start_mark.index == node.end_mark.index:
        return colon
    return len(text[: node.end_mark.index].rstrip()) - 1


def _untagged(text: str, value: Node) -> str:
    return text.replace(f" {REPLACE}", "", 1) if value.tag == REPLACE else text


def _dedented(value: str, column: int) -> str:
    first, *more = value.split("\n")
    return "\n".join((first, *(x[min(column, len(x) - len(x.lstrip())) :] for x in more)))


def _slice(text: str, node: Node) -> str:
    return text[node.start_mark.index : node.end_mark.index]
