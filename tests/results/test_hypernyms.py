"""WordNet's hypernyms: the bundled table, and heights over small graphs worked out by hand."""

import numpy as np
from timm.data import ImageNetInfo

from pipeline.prepare.wnids import all_wnids
from pipeline.results.hypernyms import (
    TABLE,
    ancestor_heights,
    ancestors,
    heights,
    read_hypernyms,
)
from scripts.hypernyms import licence, read_synsets, table

ENTITY, DOMESTIC_CAT, CAT = "n00001740", "n02121808", "n02121620"
TABBY, PERSIAN, EGYPTIAN, COUGAR, GOLDFISH = (
    "n02123045", "n02123394", "n02124075", "n02125311", "n01443537"
)  # fmt: skip
# a diamond with a longer side: d is below b and c, c is one deeper than b
DIAMOND = {
    "root": [], "b": ["root"], "x": ["root"], "c": ["x"], "d": ["b", "c"],
    "d1": ["d"], "d2": ["d"], "b1": ["b"], "c1": ["c"], "x1": ["x"],
}  # fmt: skip
NOUNS = """\
  1 This software is licensed.
  2 Keep it.
00000001 03 n 01 entity 0 002 ~ 00000002 n 0000 ~ 00000003 n 0000 | "that | which" is
00000002 05 n 0b a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 big_cat 0 001 @ 00000001 n 0000 | eleven
00000003 05 n 01 pet 0 002 @ 00000001 n 0000 + 00692347 v 0101 | kept
00000004 05 n 02 tom 0 tom_cat 1 003 @ 00000003 n 0000 #m 00000009 n 0000 @ 00000002 n 0000 | both
00000009 05 n 01 Tom 0 001 @i 00000004 n 0000 | an instance of a synset is no kind of it
"""


def test_every_class_of_imagenet_reaches_the_one_root_without_a_cycle() -> None:
    hypernyms, wnids = read_hypernyms(), all_wnids()
    assert [wnid for wnid, parents in hypernyms.items() if not parents] == [ENTITY]
    assert all(ENTITY in ancestors(hypernyms, wnid) for wnid in wnids)
    for node, parents in hypernyms.items():
        assert all(node not in ancestors(hypernyms, parent) for parent in parents)
    above = set().union(*(ancestors(hypernyms, wnid) for wnid in wnids))
    assert above == set(hypernyms), "and the table holds nothing else"
    assert sum(len(parents) > 1 for parents in hypernyms.values()) == 75, "it is no tree"


def test_the_table_is_sorted_small_and_has_its_licence_beside_it() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    assert rows == sorted(rows)
    assert len(rows) == 1860
    assert TABLE.stat().st_size < 100_000
    assert "WordNet 3.0 Copyright 2006" in (TABLE.parent / "LICENSE").read_text()


def test_known_classes_have_the_ancestors_that_their_names_say() -> None:
    hypernyms, name = read_hypernyms(), ImageNetInfo("imagenet-1k").label_name_to_description
    assert "Egyptian cat" in name(EGYPTIAN)
    assert "Persian cat" in name(PERSIAN)
    assert "cougar" in name(COUGAR)
    for wnid in (TABBY, PERSIAN, EGYPTIAN):
        assert {DOMESTIC_CAT, CAT} <= ancestors(hypernyms, wnid)
    assert DOMESTIC_CAT not in ancestors(hypernyms, COUGAR)
    assert CAT not in ancestors(hypernyms, GOLDFISH)
    assert len(hypernyms[DOMESTIC_CAT]) == 2, "a cat and a domestic animal"
    of_pair = ancestor_heights(hypernyms, [TABBY, EGYPTIAN, COUGAR, GOLDFISH])
    assert of_pair[0, 1] == 1
    assert 1 < of_pair[0, 2] < of_pair[0, 3] == of_pair[2, 3]


def test_heights_are_longest_paths_to_a_class_of_the_set() -> None:
    assert heights(DIAMOND, ["d1", "d2", "b1", "c1", "x1"]) == {
        "d1": 0, "d2": 0, "b1": 0, "c1": 0, "x1": 0, "d": 1, "b": 2, "c": 2, "x": 3, "root": 4,
    }  # fmt: skip
    assert heights(DIAMOND, ["b1", "c1"]) == {
        "b1": 0, "c1": 0, "b": 1, "c": 1, "x": 2, "root": 3
    }, "no class is below d"  # fmt: skip


def test_the_lowest_of_several_common_ancestors_counts() -> None:
    of_pair = ancestor_heights(DIAMOND, ["d1", "d2", "b1", "c1", "x1"])
    assert of_pair.tolist() == [
        [0, 1, 2, 2, 3],  # d1: with d2 below d, with b1 below b, with c1 below c, with x1 below x
        [1, 0, 2, 2, 3],
        [2, 2, 0, 4, 4],
        [2, 2, 4, 0, 3],
        [3, 3, 4, 3, 0],
    ]
    # both parents of m and n are common ancestors: the near one counts, not the root
    near = {"root": [], "p": ["root"], "q": ["root"], "m": ["p", "root"], "n": ["p", "root"]}
    assert ancestor_heights(near, ["m", "n"]).tolist() == [[0, 1], [1, 0]]


def test_a_class_above_another_is_their_common_ancestor() -> None:
    of_pair = ancestor_heights({"root": [], "dog": ["root"], "pug": ["dog"]}, ["dog", "pug"])
    assert of_pair.tolist() == [[0, 1], [1, 0]]


def test_all_pairs_of_imagenet_are_their_definition() -> None:
    hypernyms, wnids = read_hypernyms(), all_wnids()
    height, above = heights(hypernyms, wnids), [ancestors(hypernyms, wnid) for wnid in wnids]
    of_pair = ancestor_heights(hypernyms, wnids)
    np.testing.assert_array_equal(of_pair, of_pair.T)
    for a, b in np.random.default_rng(0).integers(len(wnids), size=(3000, 2)):
        expected = min(height[node] for node in above[a] & above[b])
        assert of_pair[a, b] == expected


def test_the_script_reads_wordnets_format() -> None:
    synsets = read_synsets(NOUNS.splitlines())
    assert synsets["n00000004"] == (["tom", "tom cat"], ["n00000003", "n00000002"])
    assert synsets["n00000002"].lemmas[-1] == "big cat", "their count is hexadecimal"
    assert licence(NOUNS.splitlines()) == "This software is licensed.\nKeep it.\n"
    rows = [line for line in table(synsets, ["n00000004"]).splitlines() if line[0] != "#"]
    assert rows == [
        "n00000001\t", "n00000002\tn00000001", "n00000003\tn00000001",
        "n00000004\tn00000003,n00000002",
    ]  # fmt: skip
