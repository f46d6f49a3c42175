"""A class name in the middle of a text."""

import pytest

from pipeline.descriptions.articles import alternatives, plural, with_article


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("apple", "an apple"),
        ("Ostrich", "an Ostrich"),
        ("EGG", "an EGG"),
        ("tench", "a tench"),
        ("Zebra", "a Zebra"),
        ("unicycle", "a unicycle"),
        ("European fire salamander", "a European fire salamander"),
        ("hourglass", "an hourglass"),
        ("one-piece bathing suit", "a one-piece bathing suit"),
        ("iPod", "an iPod"),
        ("SUV", "an SUV"),
        ("CD player", "a CD player"),
        ("mp3 player", "an mp3 player"),
        ("N95 mask", "an N95 mask"),
        ("T-shirt", "a T-shirt"),
        ("X-ray", "an X-ray"),
        ("NASA rocket", "a NASA rocket"),
        ("18-wheeler", "an 18-wheeler"),
        ("8-ball", "an 8-ball"),
        ("11-inch pipe", "an 11-inch pipe"),
        ("110 hurdles", "a 110 hurdles"),
        ("2-toed sloth", "a 2-toed sloth"),
        ("écru cloth", "an écru cloth"),
        ("Élan", "an Élan"),
        ("A", "an A"),
        ("letter", "a letter"),
    ],
)
def test_the_article_goes_by_sound_whatever_the_capitals(name, expected):
    assert with_article(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tench", "a tench"),
        ("ostrich", "an ostrich"),
        ("hourglass", "an hourglass"),
        ("unicycle", "a unicycle"),
        ("European polecat", "a European polecat"),
        ("eft", "an eft"),
        ("axolotl", "an axolotl"),
        ("indri", "an indri"),
        ("one-piece bathing suit", "a one-piece bathing suit"),
        ("umbrella", "an umbrella"),
        ("upright piano", "an upright piano"),
        ("iPod", "an iPod"),
        ("ear", "an ear"),
        ("sunglasses", "a pair of sunglasses"),
        ("sunglass", "a sunglass"),
        ("binoculars", "a pair of binoculars"),
        ("swimming trunks", "a pair of swimming trunks"),
        ("swim trunks / shorts", "a pair of swim trunks / shorts"),
        ("jean", "a jean"),
        ("jeans", "a pair of jeans"),
        ("tights", "a pair of tights"),
        ("pajamas", "a pair of pajamas"),
        ("clogs", "clogs"),
        ("parallel bars", "parallel bars"),
        ("mashed potato", "mashed potato"),
        ("mashed potatoes", "mashed potatoes"),
        ("brass", "brass"),
        ("brass memorial plaque", "a brass memorial plaque"),
        ("guacamole", "guacamole"),
        ("thatch", "thatch"),
        ("thatched roof", "a thatched roof"),
        ("confectionery", "a confectionery"),
        ("velvet", "velvet"),
        ("velvet fabric", "velvet fabric"),
        ("wool", "wool"),
        ("hay", "hay"),
        ("corn", "corn"),
        ("corn cob", "a corn cob"),
        ("broccoli", "broccoli"),
        ("carbonara", "carbonara"),
        ("consomme", "consomme"),
        ("dough", "dough"),
        ("eggnog", "eggnog"),
        ("red wine", "red wine"),
        ("wine bottle", "a wine bottle"),
        ("ice cream", "ice cream"),
        ("ice lolly", "an ice lolly"),
        ("chocolate sauce", "chocolate sauce"),
        ("face powder", "face powder"),
        ("hair spray", "hair spray"),
        ("toilet tissue", "toilet tissue"),
        ("paper towel", "a paper towel"),
        ("chain mail", "chain mail"),
        ("sunscreen", "sunscreen"),
        ("rapeseed", "rapeseed"),
        ("beer glass", "a beer glass"),
        ("cuirass", "a cuirass"),
        ("albatross", "an albatross"),
        ("magnetic compass", "a magnetic compass"),
        ("abacus", "an abacus"),
        ("school bus", "a school bus"),
        ("trolleybus", "a trolleybus"),
        ("platypus", "a platypus"),
        ("mantis", "a mantis"),
        ("hippopotamus", "a hippopotamus"),
        ("triceratops", "a triceratops"),
        ("chambered nautilus", "a chambered nautilus"),
        ("goldfish", "a goldfish"),
        ("bighorn sheep", "a bighorn sheep"),
        ("military aircraft", "a military aircraft"),
        ("patas", "a patas"),
        ("malinois", "a malinois"),
        ("Pekinese", "a Pekinese"),
        ("Great Pyrenees", "a Great Pyrenees"),
        ("Bouvier des Flandres", "a Bouvier des Flandres"),
        ("hen-of-the-woods", "a hen-of-the-woods"),
        ("bicycle-built-for-two", "a bicycle-built-for-two"),
        ("kite (bird of prey)", "a kite (bird of prey)"),
        ("mortar and pestle", "a mortar and pestle"),
        ("lens cap", "a lens cap"),
        ("CD player", "a CD player"),
        ("CRT monitor", "a CRT monitor"),
        ("Model T", "a Model T"),
    ],
)
def test_names_of_imagenet_as_wordnet_and_openai_have_them(name, expected):
    assert with_article(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MRI scanner", "an MRI scanner"),
        ("MRI", "an MRI"),
        ("USB stick", "a USB stick"),
        ("USB", "a USB"),
        ("UFO", "a UFO"),
        ("ATM", "an ATM"),
        ("LED lamp", "an LED lamp"),
        ("DVD", "a DVD"),
        ("FBI agent", "an FBI agent"),
        ("SIM card", "a SIM card"),
        ("HTML page", "an HTML page"),
        ("F-16", "an F-16"),
        ("A300", "an A300"),
        ("MD-80", "an MD-80"),
        ("8", "an 8"),
        ("80", "an 80"),
        ("11", "an 11"),
        ("7", "a 7"),
        ("737-200", "a 737-200"),
        ("eight", "an eight"),
        ("one", "a one"),
        ("U", "a U"),
        ("X", "an X"),
        ("letter a", "the letter a"),
        ("letter u", "the letter u"),
        ("Letter B", "the Letter B"),
        ("digit 8", "the digit 8"),
        ("number 18", "the number 18"),
        ("french fries", "french fries"),
        ("fried rice", "fried rice"),
        ("geese", "geese"),
        ("lens", "a lens"),
    ],
)
def test_acronyms_signs_and_names_of_other_data_sets(name, expected):
    assert with_article(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("707-320", "a 707-320"),
        ("A300B4", "an A300B4"),
        ("ATR-72", "an ATR-72"),
        ("An-12", "an An-12"),
        ("BAE 146-200", "a BAE 146-200"),
        ("CRJ-200", "a CRJ-200"),
        ("DC-9-30", "a DC-9-30"),
        ("E-170", "an E-170"),
        ("EMB-120", "an EMB-120"),
        ("ERJ 135", "an ERJ 135"),
        ("F-16A/B", "an F-16A/B"),
        ("F/A-18", "an F/A-18"),
        ("Il-76", "an Il-76"),
        ("L-1011", "an L-1011"),
        ("MD-11", "an MD-11"),
        ("PA-28", "a PA-28"),
        ("SR-20", "an SR-20"),
        ("Tu-154", "a Tu-154"),
        ("UH-60", "a UH-60"),
        ("U-2", "a U-2"),
        ("NH90", "an NH90"),
        ("F4U Corsair", "an F4U Corsair"),
        ("M3A1 tank", "an M3A1 tank"),
        ("MiG29", "a MiG29"),
        ("Mi8", "a Mi8"),
        ("Su27", "a Su27"),
        ("AM General Hummer SUV 2000", "an AM General Hummer SUV 2000"),
        ("BMW 1 Series Coupe 2012", "a BMW 1 Series Coupe 2012"),
        ("FIAT 500 Abarth 2012", "a FIAT 500 Abarth 2012"),
        ("GMC Terrain SUV 2012", "a GMC Terrain SUV 2012"),
        ("HUMMER H3T Crew Cab 2010", "a HUMMER H3T Crew Cab 2010"),
        ("RAV4", "a RAV4"),
        ("X5", "an X5"),
        ("UAZ-469", "a UAZ-469"),
        ("SAR image", "a SAR image"),
        ("SAM launcher", "a SAM launcher"),
        ("HUD", "a HUD"),
        ("NIR photo", "an NIR photo"),
        ("NAS", "a NAS"),
        ("GPS", "a GPS"),
        ("MLRS", "an MLRS"),
        ("HAY", "HAY"),
        ("CATS", "CATS"),
        ("HDMI cable", "an HDMI cable"),
        ("UNESCO site", "a UNESCO site"),
        ("EU flag", "an EU flag"),
        ("M&M", "an M&M"),
        ("1800s house", "an 1800s house"),
        ("1812 cannon", "an 1812 cannon"),
        ("1100", "an 1100"),
        ("11000", "an 11000"),
        ("18000", "an 18000"),
        ("110", "a 110"),
        ("1018", "a 1018"),
        ("11th hole", "an 11th hole"),
        ("8.5", "an 8.5"),
        ("0", "a 0"),
        ("1", "a 1"),
    ],
)
def test_models_acronyms_and_numerals_of_fine_grained_data_sets(name, expected):
    assert with_article(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("suv", "an suv"),
        ("Suv", "an Suv"),
        ("suvs", "suvs"),
        ("mri scan", "an mri scan"),
        ("lcd monitor", "an lcd monitor"),
        ("rv", "an rv"),
        ("RV park", "an RV park"),
        ("led lamp", "an led lamp"),
        ("lp", "an lp"),
        ("hdtv", "an hdtv"),
        ("hd-dvd", "an hd-dvd"),
        ("rc car", "an rc car"),
        ("x ray", "an x ray"),
        ("x-ray", "an x-ray"),
        ("X-Ray", "an X-Ray"),
        ("s bend", "an s bend"),
        ("t shirt", "a t shirt"),
        ("u-turn", "a u-turn"),
        ("url", "a url"),
        ("uav", "a uav"),
        ("usb stick", "a usb stick"),
        ("ufo", "a ufo"),
        ("m&m", "an m&m"),
        ("M&Ms", "M&Ms"),
        ("SNES", "an SNES"),
        ("snes console", "an snes console"),
        ("BIOS", "a BIOS"),
        ("bios", "a bios"),
        ("GPS", "a GPS"),
        ("gps", "a gps"),
        ("leder jacket", "a leder jacket"),
        ("ledge", "a ledge"),
        ("l'arc", "a l'arc"),
        ("s'more", "a s'more"),
    ],
)
def test_letters_said_one_by_one_whose_capitals_do_not_tell(name, expected):
    assert with_article(name) == expected


@pytest.mark.parametrize(
    "name", ["red\nfox", "red\r\n fox", "red\tfox", "red  fox", "red\u00a0fox", " red fox\n"]
)
def test_white_space_of_a_name_is_one_space_in_a_text(name):
    assert with_article(name) == "a red fox"
    assert alternatives([name, "fried\nrice"]) == "a red fox or fried rice"


def test_a_letter_opener_is_no_letter():
    assert with_article("letter opener") == "a letter opener"


def test_a_blank_name_stays_as_it_is():
    assert with_article(" ") == " "


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("red fox", "red foxes"),
        ("knife", "knives"),
        ("mouse", "mice"),
        ("goldfish", "goldfish"),
        ("abacus", "abacuses"),
        ("glass", "glasses"),
        ("binoculars", "binoculars"),
        ("tennis shoes", "tennis shoes"),
        ("people", "people"),
    ],
)
def test_the_plural_of_a_name_that_may_be_one_already(name, expected):
    assert plural(name) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["eel"], "an eel"),
        (["sunglasses", "letter a"], "a pair of sunglasses or the letter a"),
        (["trout", "carp", "eel"], "a trout, a carp or an eel"),
        (["highway or road"], "a highway or road"),
        (
            ["highway or road", "river", "sea or lake"],
            "a highway or road; a river; or a sea or lake",
        ),
        (["river", "sea Or lake"], "a river; or a sea Or lake"),
        (["bow, ribbon", "eel"], "a bow, ribbon; or an eel"),
        (["orange", "oral cavity", "motor"], "an orange, an oral cavity or a motor"),
    ],
)
def test_alternatives_have_an_article_each(names, expected):
    assert alternatives(names) == expected


def test_alternatives_with_what_they_mean():
    names, glosses = ["letter a", "crane", "eel"], ["a, of 26", "a bird", ""]
    expected = "the letter a (a, of 26), a crane (a bird) or an eel"
    assert alternatives(names, glosses) == expected
