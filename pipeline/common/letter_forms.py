"""Names that some file systems take for one: those of macOS and Windows do not tell `Pets` from
`pets`, and that of macOS not "é" in one character from "e" with an accent."""

import unicodedata
from collections import Counter
from collections.abc import Iterable


def one_form(name: str) -> str:
    """The same for names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def alike(names: Iterable[str]) -> list[str]:
    """Those of `names` that differ from another in case or Unicode form only, sorted."""
    unlike = sorted(set(names), key=lambda name: (one_form(name), name))
    counts = Counter(one_form(name) for name in unlike)
    return [name for name in unlike if counts[one_form(name)] > 1]
