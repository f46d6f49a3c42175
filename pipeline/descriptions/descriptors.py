"""Short descriptors as clauses about their class, by the grammar of DCLIP's authors.

Menon and Vondrick (ICLR 2023, "Visual classification via description from large language models")
put "four-limbed primate" into "{class}, which has {text}" and let the descriptor's beginning choose
the verb, for "which has typically brown" and "which has may have a tail" are no English.
"""

IS, BARE, HAS = "which is {}", "which {}", "which has {}"
# what a descriptor begins with -> its clause; the first that fits, in the authors' order
_BEGINNINGS = (
    (("a",), IS),  # as they wrote it: "a long tail", and "antlers" too
    (("has", "often", "typically", "may", "can"), BARE),
    (("used",), IS),
)


def dclip_clause(descriptor: str) -> str:
    """The descriptor as a clause, letter for letter as DCLIP's code makes it.

    For example "a primate" is "which is a primate", "typically brown" "which typically brown" and
    "four limbs" "which has four limbs".
    """
    for beginnings, clause in _BEGINNINGS:
        if descriptor.startswith(beginnings):
            return clause.replace("{}", descriptor)
    return HAS.replace("{}", descriptor)
