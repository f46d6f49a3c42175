"""Names that some file systems take for one: those of macOS and Windows do not tell `Pets` from
`pets`, and that of macOS not "é" in one character from "e" with an accent."""

from collections import Counter
from collections.abc import Iterable

from pipeline.common.text_files import one_form


def alike(names: Iterable[str]) -> list[str]:
    """Those of `names` that differ from another in case or Unicode form only, side by side."""
    form_of = {name: one_form(one_form(name).casefold()) for name in sorted(set(names))}
    counts = Counter(form_of.values())
    return sorted((name for name in form_of if counts[form_of[name]] > 1), key=form_of.__getitem__)
