"""Several artifacts made one: order, associativity, conflicts."""

import pytest

from pipeline.images.classes import ClassEntry
from saft.descriptions.merging import Conflict, conflict_lines, merge
from tests.support.artifact_rows import BIRD, MACHINE, class_rows, row

TABLE = [ClassEntry(key, "crane") for key in ("n3", "n1", "n2")]


def regrouped(rows):
    """Rows as the reader hands them over: class id -> rows."""
    classes = {}
    for one in rows:
        classes.setdefault(one["class_id"], []).append(one)
    return classes


def ids(merged) -> list[str]:
    return [one["class_id"] for one in merged.rows]


def test_order_is_the_class_tables_if_it_has_every_class_else_the_ids():
    inputs = [class_rows(n2=[BIRD, MACHINE], n1=[BIRD]), class_rows(n3=[MACHINE])]
    merged = merge(inputs, TABLE)
    assert ids(merged) == ["n3", "n1", "n2", "n2"]
    assert [one["sentence"] for one in merged.rows[2:]] == [BIRD, MACHINE]
    assert merged.by_table
    for table in (None, TABLE[1:]):
        merged = merge(inputs, table)
        assert ids(merged) == ["n1", "n2", "n2", "n3"]
        assert not merged.by_table


@pytest.mark.parametrize("table", [TABLE, TABLE[1:], None], ids=["table", "part", "none"])
def test_merging_is_associative_conflicts_or_not(table):
    a, b, c = (
        class_rows(n2=[BIRD]),
        class_rows(n1=[BIRD], n2=[MACHINE]),
        class_rows(n3=[BIRD], n1=[MACHINE]),
    )
    whole = merge([a, b, c], table)
    left = merge([regrouped(merge([a, b], table).rows), c], table)
    right = merge([a, regrouped(merge([b, c], table).rows)], table)
    assert whole.rows == left.rows == right.rows
    assert [conflict.class_id for conflict in whole.conflicts] == ["n1", "n2"]


def test_the_same_rows_are_no_conflict_whatever_their_order():
    one = {"n1": [row("n1", BIRD), row("n1", MACHINE, sample_index=1)]}
    other = {"n1": one["n1"][::-1]}
    merged = merge([one, other], None)
    assert merged.rows == one["n1"]
    assert (merged.repeated, merged.conflicts) == (["n1"], [])


def test_captions_of_other_images_are_a_conflict_and_come_with_their_class():
    one, other = {"n1": [row("n1", BIRD, image=3)]}, {"n1": [row("n1", BIRD, image=4)]}
    plain = class_rows(n1=[BIRD], n2=[MACHINE])
    assert merge([one, one], None).repeated == ["n1"]
    for second in (other, plain):
        merged = merge([one, second], None)
        assert merged.preferred == ["n1"]
        assert merged.rows[0]["image"] == 3
    assert "image" not in merged.rows[1]


def test_another_sentence_number_or_name_is_a_conflict():
    plain = class_rows(n1=[BIRD], n2=[BIRD])
    assert merge([plain, class_rows(n1=[BIRD, BIRD])], None).conflicts == [
        Conflict("n1", ("crane",), (1, 2))
    ]
    renamed = {"n2": [row("n2", BIRD, class_name="Crane")]}
    merged = merge([plain, class_rows(n3=[BIRD]), renamed], None)
    assert merged.conflicts == [Conflict("n2", ("crane", "Crane"), (1, 0, 1))]
    assert merged.repeated == []
    assert merged.rows[1]["class_name"] == "crane"


def test_classes_that_share_a_name_are_different_classes():
    merged = merge([class_rows(n1=[BIRD]), class_rows(n2=[MACHINE])], None)
    assert (ids(merged), merged.conflicts) == (["n1", "n2"], [])


def test_conflicts_as_a_table():
    conflicts = [Conflict("n1", ("ant",), (1, 12)), Conflict("n100", ("a", "b"), (0, 3))]
    assert conflict_lines(conflicts, ["alice", "bob"]) == [
        "class id  name   [1]  [2]",
        "n1        ant      1   12",
        "n100      a / b    -    3",
        "[1] = alice",
        "[2] = bob",
    ]
