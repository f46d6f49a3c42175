"""Keys of a file and classes: tiers, shared names, decisions, and no guess."""

from typing import Any

import pytest

from pipeline.descriptions.matching import match, nearest, normalise, synonyms
from pipeline.images.classes import ClassEntry

ANT, ELEPHANT = ClassEntry("n1", "ant"), ClassEntry("n2", "African elephant")
BIRD, MACHINE = ClassEntry("n3", "crane"), ClassEntry("n4", "crane")


def given(classes: list[ClassEntry], keys: list[str], **decisions: list[str]) -> dict[str, Any]:
    """Class id -> (tier, keys) of those that are matched."""
    return {i: (m.tier, *m.keys) for i, m in match(classes, keys, decisions)[0].items()}


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Plumber's  helper", "plumbers helper"),
        ("plumber’s helper", "plumbers helper"),
        ("yin_yang", "yin yang"),
        ("pay-phone/Box", "pay phone box"),
        ("Café au lait", "cafe au lait"),
        ("St. Bernard (dog)", "st bernard dog"),
        ("straße", "strasse"),
        ("か", "か"),
        ("が", "が"),  # its mark is no accent: another syllable
        ("muʻumuʻu", "muumuu"),
        ("...", ""),
    ],
)
def test_names_are_equal_but_for_case_accents_and_punctuation(name, normal):
    assert normalise(name) == normal


def test_an_enumeration_is_one_name():
    assert synonyms("black, white and red flag") == ["black white and red flag"]
    assert synonyms("black and tan coonhound, hound") == ["black and tan coonhound", "hound"]


def test_synonyms_stand_between_commas():
    assert synonyms("tench, Tinca tinca,, Tench") == ["tench", "tinca tinca"]


@pytest.mark.parametrize(
    ("place", "tier"), list(enumerate(["id", "name", "normalised", "synonym"]))
)
def test_each_tier_matches_and_wins_over_the_lower_ones(place, tier):
    keys = ["n2", "African elephant", "african_ELEPHANT", "Loxodonta, african-elephant"]
    assert given([ELEPHANT], ["ant", *reversed(keys[place:])]) == {"n2": (tier, keys[place])}


def test_a_class_with_several_names_finds_a_key_with_one():
    tench = ClassEntry("n9", "tench, Tinca tinca")
    assert given([tench], ["Tinca_tinca", "tinca"]) == {"n9": ("synonym", "Tinca_tinca")}


def test_a_part_of_a_name_is_never_enough():
    assert given([ELEPHANT, ClassEntry("n5", "eel")], ["ant", "elephant", "reel", "African"]) == {}


def test_a_key_that_two_classes_find_goes_to_neither():
    matches, undecided = match([BIRD, ANT, MACHINE], ["crane", "ant", "crane bird"], {})
    assert list(matches) == ["n1"]
    assert [(u.class_entry, u.reason) for u in undecided] == [
        (BIRD, "fits the same key as n4"),
        (MACHINE, "fits the same key as n3"),
    ]
    assert undecided[0].candidates == ("crane", "crane bird", "ant")


def test_an_undecided_key_is_closed_to_lower_tiers():
    third = ClassEntry("n5", "crane, wading bird")
    assert given([BIRD, MACHINE, third], ["crane"]) == {}
    assert given([MACHINE, third], ["crane"]) == {"n4": ("name", "crane")}


def test_an_undecided_class_is_not_looked_for_on_lower_tiers():
    rivals = [ClassEntry("n5", "ox, bull"), ClassEntry("n6", "ox bull")]
    assert given(rivals, ["OX BULL", "bull"]) == {}


def test_names_of_punctuation_alone_are_not_alike():
    assert given([ClassEntry("n5", "?")], ["!", "!, ox"]) == {}


def test_a_class_that_finds_two_keys_on_its_tier_is_undecided():
    (undecided,) = match([ClassEntry("n6", "CARDIGAN")], ["Cardigan", "cardigan"], {})[1]
    assert (undecided.reason, undecided.candidates) == ("fits 2 keys", ("Cardigan", "cardigan"))
    lobster = ClassEntry("n7", "spiny lobster, crayfish")
    assert given([lobster], ["crayfish", "spiny lobster"]) == {}


def test_keys_that_differ_in_case_go_by_the_exact_name_first():
    dog, sweater = ClassEntry("n6", "Cardigan"), ClassEntry("n7", "cardigan")
    keys = ["cardigan", "Cardigan"]
    assert given([dog, sweater], keys) == {"n6": ("name", "Cardigan"), "n7": ("name", "cardigan")}
    # the sweater's key is gone when the dog is looked for without regard to case
    shouted = ClassEntry("n6", "CARDIGAN")
    assert given([shouted, sweater], keys)["n6"] == ("normalised", "Cardigan")


def test_decisions_come_first_and_may_share_a_key():
    keys = ["crane", "ant", "bird", "n3"]
    assert given([BIRD, MACHINE], keys, n3=["crane", "bird"], n4=["crane"]) == {
        "n3": ("alias", "crane", "bird"),
        "n4": ("alias", "crane"),
    }
    assert given([BIRD, MACHINE], ["crane"], n4=[]) == {"n3": ("name", "crane"), "n4": ("alias",)}
    # what a decision gave away, nobody else finds
    assert given([ANT, ELEPHANT], ["ant"], n2=["ant"]) == {"n2": ("alias", "ant")}


def test_the_nearest_keys_are_alike_in_letters_or_words():
    keys = ["eel", "fishing casting reel", "Egyptian Mau", "ox"]
    assert nearest("reel", keys, 1) == ["fishing casting reel"]
    assert nearest("Egyptian cat", keys, 1) == ["Egyptian Mau"]
    assert nearest("oboe", ["n02124075", "n04067472"]) == nearest("anything", []) == []
