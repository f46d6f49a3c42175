"""What a backend is asked in the tests: three classes, a prompt set, generation options."""

from pathlib import Path
from typing import Any

from pipeline.descriptions.exemplars import Exemplar
from pipeline.descriptions.prompts import read_prompts
from pipeline.images.classes import ClassEntry

ROOT = Path(__file__).parents[2]


CLASSES = [ClassEntry("c0", "apple"), ClassEntry("c1", "Ostrich"), ClassEntry("c2", "crane {x}")]


# two for each class, of which the one nearer to the class's mean has the higher number
PICTURES = {
    class_entry.class_id: [
        Exemplar(2 * label + number, f"png {2 * label + number}".encode()) for number in (1, 0)
    ]
    for label, class_entry in enumerate(CLASSES)
}


PROMPTS = read_prompts("cupl", ROOT / "data/prompts")


OPTIONS: dict[str, Any] = {
    "model": "maker/model",
    "answers": 2,
    "sentences": 3,
    "temperature": 0.9,
    "top_p": 0.95,
    "max_tokens": 256,
    "retries": 2,
}
