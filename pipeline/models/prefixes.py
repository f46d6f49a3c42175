"""Which layout a state dict has, and under which prefix: `module.`, `model.visual.`, any other.

One rule: a prefix is stripped if *all* keys then are the weights of one layout, each of them and
no other. Modules that wrap another without a meaning of their own (DataParallel, torch.compile)
may also be further down, for instance "visual._orig_mod.proj".
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.common.errors import listed
from pipeline.models.layouts import NO_WEIGHTS, Layout, State

TRANSPARENT = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
SHOWN = 3


class Match(NamedTuple):
    """How a state dict meets a layout: `keys` of the file without `prefix`, those that do not
    begin with it as they are in `other`."""

    layout: Layout
    prefix: str
    keys: set[str]
    other: list[str]

    @property
    def exact(self) -> bool:
        """Whether all keys are the layout's, and all of the layout's are there."""
        return not self.other and self.keys == self.layout.file_names

    @property
    def common(self) -> int:
        """Number of the layout's names that are there."""
        return len(self.keys & self.layout.file_names)


def unwrapped(state: State) -> State:
    """`state` without the names of transparent modules below the first component, nor entries
    that are no weights; unchanged where two keys would become one."""
    names = {key: _without_transparent(key) for key in state}
    if len(set(names.values())) < len(state):
        names = {key: key for key in state}
    return {n: state[key] for key, n in names.items() if not NO_WEIGHTS.fullmatch(n)}


def matches(state: State, layouts: Iterable[Layout]) -> list[Match]:
    """Every layout and prefix under which at least one key is a weight, best first; `state` is
    one of `unwrapped`. Of equals the smaller layout comes first."""
    result = [
        _match(state, layout, prefix)
        for layout in layouts
        for prefix in _prefixes(state, layout.file_names)
    ]
    return sorted(result, key=lambda m: (not m.exact, -m.common, len(m.layout.names)))


def explain(match: Match, state: State, expected: State, model: str) -> str:
    """Why a state dict is not `match.layout` of a CLIP, in words.

    Args:
        expected: the CLIP's weights, under open_clip's names.
        model: the CLIP's name.
    """
    layout, names = match.layout, match.layout.file_names
    if match.other and match.prefix:
        return (
            f"{len(match.keys)} keys begin with '{match.prefix}', {len(match.other)} do not "
            f"({listed(match.other, SHOWN)}); expected the weights of one {layout.title}"
        )
    bare = {key.removeprefix(match.prefix): value for key, value in state.items()}
    mismatches = {
        "missing": [n for parts in layout.names.values() for n in parts if n not in bare],
        "unexpected": [name for name in bare if name not in names],
        "of another shape": other_shapes(layout, bare, expected),
    }
    return f"does not fit the {layout.title} of {model}: {counted(mismatches)}"


def other_shapes(layout: Layout, state: State, expected: State) -> list[str]:
    """Weights of `layout` in `state` whose shape is not the expected one, for example
    "proj (32, 8) for (32, 16)"; shapes are open_clip's, names the file's."""
    shapes = {
        name: tuple(layout.take(name, state).shape)
        for name, parts in layout.names.items()
        if all(part in state for part in parts)
    }
    return [
        f"{layout.names[name][0]} {shape} for {tuple(expected[name].shape)}"
        for name, shape in shapes.items()
        if shape != tuple(expected[name].shape)
    ]


def counted(mismatches: dict[str, list[str]]) -> str:
    """For example "2 missing (proj, ln_pre.bias); 1 unexpected (head)"."""
    return "; ".join(
        f"{len(keys)} {kind} ({listed(keys, SHOWN)})" for kind, keys in mismatches.items() if keys
    )


def _prefixes(state: State, names: set[str]) -> list[str]:
    """What stands before a name of `names` in the keys, the most frequent first."""
    counts: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in names:
                counts["".join(f"{part}." for part in parts[:start])] += 1
    return [prefix for prefix, _ in counts.most_common()]


def _match(state: State, layout: Layout, prefix: str) -> Match:
    inside = {key.removeprefix(prefix) for key in state if key.startswith(prefix)}
    return Match(layout, prefix, inside, [key for key in state if not key.startswith(prefix)])


def _without_transparent(key: str) -> str:
    first, *rest = key.split(".")
    return ".".join([first, *(part for part in rest if part not in TRANSPARENT)])
