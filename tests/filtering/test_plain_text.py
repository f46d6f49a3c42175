"""Plain lines out of what language models really write, and where a sentence may end early."""

import pytest

from pipeline.filtering.plain_text import beginnings, normalise


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  A  tench\u00a0is\n green. ", "A tench is green."),
        ("A\u200b tench\u0007 is\ufeff green.", "A tench is green."),
        ("A ﬁsh with “ﬁne” scales — it’s green…", 'A fish with "fine" scales - it\'s green...'),
        ("1. A tench is green.", "A tench is green."),
        ("1.A tench is green.", "A tench is green."),
        ("1 - A tench is green.", "A tench is green."),
        ("12) A tench is green.", "A tench is green."),
        ("(3) A tench is green.", "A tench is green."),
        ("[2] A tench is green.", "A tench is green."),
        ("ii. A tench is green.", "A tench is green."),
        ("- A tench is green.", "A tench is green."),
        ("-A tench is green.", "A tench is green."),
        ("• A tench is green.", "A tench is green."),
        ("* **Colour:** a tench is green.", "Colour: a tench is green."),
        ("### A `tench` is _really_ green.", "A tench is really green."),
        ("_A tench is green._", "A tench is green."),
        ("A __tench__ is *very* ~~red~~ green.", "A tench is very red green."),
        ('"A tench is green."', "A tench is green."),
        ('1. "**A tench** is green."', "A tench is green."),
        ("A [tench](https://example.invalid) is <b>green</b>.", "A tench is green ."),
        ("> a. A tench is green.", "A tench is green."),
        ("A &quot;tench&quot; &amp; a carp&#39;s fin", 'A "tench" & a carp\'s fin'),
        ("Description: A tench is green.", "A tench is green."),
        ("Sentence 1: A tench is green.", "A tench is green."),
        ("2. **Caption:** A tench is green.", "A tench is green."),
        ("Short answer: A tench is green.", "A tench is green."),
        ("It grows to 2½ feet.", "It grows to 2 1/2 feet."),
        ("It is 10 ¾ inches, or ½ inch, wide.", "It is 10 3/4 inches, or 1/2 inch, wide."),
        ("A 5¹⁄₄-inch disk with 10² m² of film", "A 5 1/4-inch disk with 10^2 m2 of film"),
        ("Polaroid™ and Kodak® © cameras", "Polaroid and Kodak cameras"),
    ],
)
def test_texts_become_one_plain_line(raw, expected):
    assert normalise(raw) == expected


@pytest.mark.parametrize(
    "text",
    [
        "3.5 metres long, a shark is big.",
        "-5 degrees is what the sign says.",
        "2-toed sloths hang from trees.",
        "A 5-pointed star * in blue.",
        "The dog's ears aren't 'small'.",
        "A. japonica has red leaves.",
        "e. coli looks like short rods.",
        'The sign says "stop" and "go"',
        "The label says snake_case and other_case.",
        "The label says snake_case_ and so on.",
        "The tench, AT&T and R&D are green.",
        "Colour: olive green to brown.",
        "The caption: white letters on black.",
        "Descriptions:",
    ],
)
def test_there_is_nothing_to_strip(text):
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # the end of a sentence
        ("It is green. It swims! It eats.", ["It is green.", "It is green. It swims!"]),
        ('It says "stop." The dog stops.', ['It says "stop."']),
        ("It weighs 3 kg. 2 fins are red.", ["It weighs 3 kg."]),
        ("It is plan B! It is green", ["It is plan B!"]),
        ("It is green. it swims", []),
        ("A bird, e.g. The Great Tit, sings.", []),
        ("It has fins, gills, etc. Its tail is red.", []),
        ("It grows to approx. 30 cm and ca. 2 kg, cf. 4 ft. 6 in. Elsewhere.", []),
        ("Plan B vs. Plan C by Dr. Who of St. Ives, no. 7 in J. R. R. Hall's U.S. Atlas", []),
        # a semicolon, a dash
        ("It is green; its fins are red", ["It is green."]),
        ("It has two fins - one is red", ["It has two fins."]),
        ("The fish - it is green - has two fins", []),
        ("A well-made 3-5 cm box", []),
        # a comma before what can be left off
        ("It is green, which hides it", ["It is green."]),
        ("It has fins, with tips, such as", ["It has fins.", "It has fins, with tips."]),
        ("It has fins, often red with age", ["It has fins."]),
        ("It has fins, often held by spines", ["It has fins."]),
        ("It has fins, making movement easy", ["It has fins."]),
        ("It has fins, ending in a point", ["It has fins."]),
        ("It is green, and it swims", ["It is green."]),
        ("It is green, but has red fins", ["It is green."]),
        ("It swims, which is odd", []),
        # no such thing
        ("A box is a small, often wooden case", []),
        ("It has a long, often brown in colour, tail", []),
        ("It has a large, winding horn", []),
        ("It has a long, slender hull", []),
        ("It has a small, but sturdy tail", []),
        ("It has red, blue, and the greenest scales", []),
        ("It has fins, a tail", []),
        ("A big old tench, which likes ponds, swims", []),
        ("It has fins (red, which is odd) and a tail", []),
        ('It has "stop, which is red" on it', []),
        # what a sentence opens with is no sentence
        ("Unlike what the eagle has, which is big, its tail is short", []),
        ("Although it looks like a swan, it is small, with red feet",
         ["Although it looks like a swan, it is small."]),
        ("It is red. While it is young, often in spring, it is green", ["It is red."]),
    ],
)  # fmt: skip
def test_a_sentence_may_end_early_where_the_beginning_stands_on_its_own(text, parts):
    assert list(beginnings(text)) == parts


@pytest.mark.parametrize(
    "opener",
    [
        "although", "as", "at", "because", "compared", "despite", "for", "from", "if", "in",
        "like", "on", "though", "unlike", "when", "whereas", "while", "with",
    ],
)  # fmt: skip
def test_the_first_comma_after_a_subordinate_opener_is_no_end(opener):
    assert list(beginnings(f"{opener.title()} that is green, with red fins, it is blue")) == []
