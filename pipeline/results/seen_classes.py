"""Which classes of an image set were fine-tuned on: the one answer of report and `saft check`.

Two classes are the same if they have the same id, or if `SAME_CLASS` says so. Names do not count:
ImageNet has two classes "crane", a bird and a machine.
"""

from collections.abc import Sequence

from pipeline.images.classes import EVALUATED, ClassEntry, read_classes

# Id of CIFAR-100 -> wnid of the ImageNet-like sets. Only pairs where the id, as words, is one of
# WordNet's lemmas of the synset, in the sense that CIFAR-100's superclass tells (tank: a vehicle).
# Left out on purpose: superclasses (CIFAR-10's dog is 118 wnids), narrower or wider classes (bell
# pepper is one kind of sweet pepper), other senses (plate: food in ImageNet, else crockery).
SAME_CLASS = {
    "beaver": "n02363005",
    "bee": "n02206856",
    "castle": "n02980441",
    "chimpanzee": "n02481823",
    "cockroach": "n02233338",
    "hamster": "n02342885",
    "lawn_mower": "n03649909",
    "leopard": "n02128385",
    "lion": "n02129165",
    "mushroom": "n07734744",
    "orange": "n07747607",
    "otter": "n02444819",
    "pickup_truck": "n03930630",
    "porcupine": "n02346627",
    "skunk": "n02445715",
    "snail": "n01944390",
    "streetcar": "n04335435",
    "tank": "n04389033",
    "television": "n04404412",
    "tiger": "n02129604",
    "tractor": "n04465501",
    "wardrobe": "n04550184",
}


def training_overlap(classes: Sequence[ClassEntry], trained: Sequence[ClassEntry]) -> int:
    """How many of `classes`, by their ids, are among those `trained` on."""
    known = {_identity(class_entry.class_id) for class_entry in trained}
    return sum(_identity(class_id) in known for class_id in {e.class_id for e in classes})


def read_seen(datasets: Sequence[str], trained: Sequence[ClassEntry]) -> dict[str, int]:
    """By evaluated image set, how many of its classes are among those `trained` on."""
    return {name: training_overlap(read_classes(name, EVALUATED), trained) for name in datasets}


def _identity(class_id: str) -> str:
    """The same for ids of the same class: "lion" -> "n02129165"; any other id is its own."""
    return SAME_CLASS.get(class_id, class_id)
