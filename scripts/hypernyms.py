"""Make the report's part of WordNet: `python scripts/hypernyms.py WORDNET`.

WORDNET is the folder with WordNet 3.0's data.noun (`apt-get download wordnet-base && dpkg -x
wordnet-base_*.deb wordnet`: wordnet/usr/share/wordnet). Writes hypernyms.tsv with the 1,000 classes
of ImageNet-1k and all their ancestors, and WordNet's licence, which has to be beside it. The
same WordNet gives the same bytes.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.results.hypernyms import TABLE, ancestors

HEADER = """\
# Part of WordNet 3.0 (Princeton University), see LICENSE: the classes of ImageNet-1k and all their
# ancestors, each with its hypernyms. Made by scripts/hypernyms.py.
"""


class Synset(NamedTuple):
    """The words of a synset and its hypernyms, as wnids in the order of WordNet."""

    lemmas: list[str]
    hypernyms: list[str]


def read_synsets(lines: Iterable[str]) -> dict[str, Synset]:
    """By wnid (n and the 8 digits of the offset), what data.noun says; see wndb(5WN).

    Example: "02124075 05 n 02 Egyptian_cat 0 Nile_cat 0 001 @ 02121808 n 0000 | ..." gives
    {"n02124075": (["Egyptian cat", "Nile cat"], ["n02121808"])}.
    """
    synsets = {}
    for line in lines:
        if line.startswith(" "):  # the licence
            continue
        fields = line.split(" | ")[0].split()
        pointers = 4 + 2 * int(fields[3], 16)  # two fields a word; the count is hexadecimal
        lemmas = [word.replace("_", " ") for word in fields[4:pointers:2]]
        symbols, offsets = fields[pointers + 1 :: 4], fields[pointers + 2 :: 4]
        hypernyms = [f"n{o}" for s, o in zip(symbols, offsets, strict=True) if s == "@"]
        synsets[f"n{fields[0]}"] = Synset(lemmas, hypernyms)
    return synsets


def table(synsets: Mapping[str, Synset], wnids: Iterable[str]) -> str:
    """The lines of hypernyms.tsv: the wnids and all their ancestors, sorted."""
    graph = {wnid: synset.hypernyms for wnid, synset in synsets.items()}
    needed = sorted(set().union(*(ancestors(graph, wnid) for wnid in wnids)))
    return HEADER + "".join(f"{wnid}\t{','.join(graph[wnid])}\n" for wnid in needed)


def licence(lines: Iterable[str]) -> str:
    """The text at the head of data.noun, without its line numbers."""
    numbered = [line for line in lines if line.startswith(" ")]
    return "".join(line.lstrip().partition(" ")[2].rstrip() + "\n" for line in numbered)


def main(folder: Path) -> None:
    from timm.data import ImageNetInfo

    lines = (folder / "data.noun").read_text(encoding="ascii").splitlines()
    synsets, info = read_synsets(lines), ImageNetInfo("imagenet-1k")
    for wnid in info.label_names():
        lemmas = ", ".join(synsets[wnid].lemmas) if wnid in synsets else "no synset"
        if lemmas != info.label_name_to_description(wnid):
            raise SystemExit(f"{folder / 'data.noun'}: {wnid} is '{lemmas}': not WordNet 3.0")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(synsets, info.label_names()), encoding="ascii")
    (TABLE.parent / "LICENSE").write_text(licence(lines), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
