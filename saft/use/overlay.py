"""A profile that states only what differs from another one, merged with it into a complete file.

    # What this profile is for.
    extends: demo

    finetune:
      epochs: 1  # published: 10

Mappings are merged key by key; a list or a single value replaces the one it overrides, and so does
a mapping tagged !replace. The merged file has the comments of both: one above a key of the overlay
replaces the one above that key, one behind a value comes along with the value.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.common.errors import UserError
from saft.use.commented_yaml import Key, compose

EXTENDS = "extends"
# mappings whose keys the user names, so that an overlay may add to them
NAMED = {("prepare", "sets"), ("embed", "texts"), ("confusions", "text"), ("confusions", "images")}
NAMED_SECTIONS = {("exemplars",), ("models",), ("pretrain",)}


def base_name(text: str, file: Path) -> str | None:
    """The profile that an overlay extends; None: the text is complete.

    Raises:
        UserError: no YAML, or `extends` is not the first key, or names nothing.
    """
    pairs = compose(text, file).value
    names = [label.value for label, _ in pairs]
    if EXTENDS not in names:
        return None
    if names[0] != EXTENDS:
        raise UserError(f"{file}: {EXTENDS} has to be the first key")
    name = pairs[0][1].value
    if not name or not isinstance(name, str):
        raise UserError(f"{file}: {EXTENDS}: expected the name of a profile")
    return name


def merge(base: Sequence[Key], overlay: Sequence[Key], file: Path) -> tuple[Key, ...]:
    """A complete file's keys with an overlay's changes, under the overlay's first comment.

    Args:
        base: of the complete file.
        overlay: of `file`, the first of them `extends`.

    Raises:
        UserError: a key that the base does not have; names `file` and key.
    """
    extends, *changes = overlay
    first, *more = _merged(base, changes, (), file)
    return (replace(first, above=(*extends.above, *_below_the_header(first.above))), *more)


def _merged(
    base: Sequence[Key], changes: Sequence[Key], path: tuple[str, ...], file: Path
) -> list[Key]:
    by_name = {key.name: key for key in changes}
    names = {key.name for key in base}
    added = [key for key in changes if key.name not in names]
    if added and not _takes_names(path):
        name = ".".join((*path, added[0].name))
        known = ", ".join(key.name for key in base)
        raise UserError(
            f"{file}: {name}: no such key in the profile that is extended, only {known}"
        )
    changed = [
        _changed(key, by_name[key.name], (*path, key.name), file) if key.name in by_name else key
        for key in base
    ]
    return changed + added


def _changed(old: Key, new: Key, path: tuple[str, ...], file: Path) -> Key:
    above = _above(old, new)
    if old.keys is None or new.keys is None or new.is_replaced:
        return replace(new, label=old.label, above=above)
    if not new.keys:  # {} states no change
        return replace(old, above=above)
    keys = tuple(_merged(old.keys, new.keys, path, file))
    value = old.value if old.is_block else ""
    if new.is_block and new.value:
        value = new.value
    return replace(old, above=above, value=value, keys=keys, is_block=True)


def _above(old: Key, new: Key) -> tuple[str, ...]:
    """The lines above a key: the old comment directly above it gives way to a new one."""
    comment = new.above[_start_of_comment(new.above) :]
    return (*old.above[: _start_of_comment(old.above)], *comment) if comment else old.above


def _start_of_comment(above: Sequence[str]) -> int:
    """Index of the first of the comment lines that stand directly above a key."""
    return max((number for number, line in enumerate(above, 1) if not line), default=0)


def _below_the_header(above: Sequence[str]) -> Sequence[str]:
    """From the first blank line on: what is above it is on the file, not on its first key."""
    return above[above.index("") :] if "" in above else ("", *above)


def _takes_names(path: tuple[str, ...]) -> bool:
    """Whether an overlay may add keys to the mapping at `path`: image sets, text sets, models and
    plug-ins, and below a set or a model whatever its source takes."""
    is_options = path[1:] == ("options",)
    return path[:2] in NAMED or path[:1] in NAMED_SECTIONS or is_options
