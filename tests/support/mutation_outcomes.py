"""What the next stage has to make of every mutation of `tests.support.mutated_artifacts` that is no
plain error: nothing, an error that names another file, or, listed by name with the reason, a change
that only a checksum could see. DVC has a checksum of every output, which `dvc status` compares.
"""

ERROR = "error"  # one line, which names the file
NO_EFFECT = "no effect"  # the same outputs
ELSEWHERE = "error that names what does not fit the file"  # one line, too
EITHER = "error or no effect"

# why a change can be seen by a checksum alone
NAME = "the name of a class is said nowhere else"
CLASS = "which classes a set has is said nowhere else before its images are opened"
LABEL = "which label an image has is said nowhere else"
PIXELS = "pixels are said nowhere else; hashing them at every start would read them once more"
TWICE = "a list of images may name one twice"
TEXT = "the words of a text are said nowhere else"
WHOSE = "which class a text or an image is of is said nowhere else"
OPTIONAL = "a file that may be missing"
NUMBER = "a class may have any number of them"
UNMEASURED = "it need not be measured for every image"
FREE = "a backend may say of its sentences what it likes, and the report tells it"
COPIED = "the record is a copy: what nothing reads is copied too"
CACHE = "named by the hash of what it is computed from, its numbers are said nowhere else"
SEEN = "the attacker may see this text set too: evaluate does not know evaluate.attacker"

ANY_JSON = {"byte order mark": EITHER, "UTF-16": EITHER, "a key more": NO_EFFECT}
_REORDERED = {"rows in reverse": NO_EFFECT, "first and last row swapped": NO_EFFECT}
_MIXED = {"rows in reverse": LABEL, "first and last row swapped": LABEL}
_SWAPPED = "class_id: two classes swapped"
_CLASSES = {
    "last row not there": CLASS,
    "class_id: one that is not known": CLASS,
    _SWAPPED: CLASS,
    "name: 'disc' in row 0": NAME,
}
_TEXT = "text: 'a disc' in row 0"
_OTHER_ORIGIN = 'metadata text set: {"name": "t", "templates": ["a'
_CACHES = ("missing", "empty file", "other bytes", "cut in half", "a web page in its place")
OUTCOMES: dict[str, dict[str, str]] = {
    "data/classes/tiny.parquet": {
        **_CLASSES,
        "data/classes/other.parquet in its place": ELSEWHERE,
    },
    "data/evaluated_classes/tiny.parquet": {
        **_CLASSES,
        "data/evaluated_classes/other.parquet in its place": ELSEWHERE,
    },
    "data/images/tiny/items.parquet": {"caption: null": NO_EFFECT, **_MIXED},
    "data/images/streamed/files.parquet": {
        **_MIXED,
        "missing": ELSEWHERE,
        "last row is the first": TWICE,
        **dict.fromkeys(
            (
                "offset: 1000000",
                "length: 1000000",
                "crc32: 1000000",
                "path: 'gone.png' in row 0",
                "length: 3 in row 0",
                "crc32: 0 in row 0",
            ),
            ELSEWHERE,
        ),
    },
    "data/images/tiny/images.npy": {"images in reverse": LABEL, "darker": PIXELS},
    "data/descriptions/descriptions.parquet": {
        "first row not there": ELSEWHERE,
        "last row not there": ELSEWHERE,
        "tokens: 1000000": NO_EFFECT,
        "sentence: 'A large ball of wool.' in row 0": TEXT,
    },
    "artifact/captions.parquet": {
        "missing": OPTIONAL,
        "first row not there": NUMBER,
        "last row not there": NUMBER,
        **_REORDERED,
        "image: 1000000": WHOSE,
        "tokens: 1000000": NO_EFFECT,
    },
    "data/exemplars/made.parquet": {
        "last row not there": NUMBER,
        _SWAPPED: WHOSE,
        "image: 1000000": WHOSE,
    },
    "data/confusions/made.parquet": {"last row not there": NUMBER},
    "data/texts/descriptions/kept.parquet": {_SWAPPED: WHOSE, _TEXT: TEXT},
    "data/training_embeddings/descriptions.parquet": {_SWAPPED: WHOSE, _TEXT: NO_EFFECT},
    "data/training_embeddings/template.parquet": {
        **_REORDERED,
        _SWAPPED: WHOSE,
        _TEXT: NO_EFFECT,
    },
    "data/embeddings/base/template/texts/tiny.parquet": {
        **_REORDERED,
        _SWAPPED: WHOSE,
        _TEXT: NO_EFFECT,
    },
    "data/embeddings/base/template/attacker/tiny.parquet": {
        _SWAPPED: WHOSE,
        _TEXT: NO_EFFECT,
        _OTHER_ORIGIN: SEEN,
        "data/embeddings/base/template/texts/tiny.parquet in its place": SEEN,
    },
    "data/models/base/clip/open_clip_config.json": {"first key twice": NO_EFFECT},
    "data/models/finetuned/clip/recipe.json": {
        "a key more": COPIED,
        "byte order mark": COPIED,
        "dataset: 'gone'": ELSEWHERE,
    },
    "data/evaluation/tiny/template/pgd/4/finetuned/predictions.parquet": {
        "zero_gradient: null": UNMEASURED,
        **_REORDERED,
    },
    "data/inputs/models/pretrain/made/origin.json": {"a key more": ERROR},
    "data/checks/tiny/finetuned.json": {"a key more": ERROR},
    "data/about/finetuned/about.json": {"a key more": ERROR},
    "data/about/finetuned/provenance.json": {"a key more": FREE, "backend: not there": FREE},
    "data/about/finetuned/descriptions.parquet": {
        "reason: null": NO_EFFECT,
        _SWAPPED: WHOSE,
        "sample_index: 1000000": NO_EFFECT,
        "tokens: 1000000": NO_EFFECT,
    },
    "data/about/finetuned/classes.parquet": {
        "last row not there": CLASS,
        "class_id: one that is not known": CLASS,
        _SWAPPED: NO_EFFECT,
        "data/classes/other.parquet in its place": CLASS,
    },
    "data/labels/sentences.tsv": {"missing": OPTIONAL, "first row twice": NO_EFFECT},
    ".scratch/texts/*.npy": {
        **dict.fromkeys(_CACHES, NO_EFFECT),
        **dict.fromkeys(
            ("a row less", "one dimension", "NaN", "times ten", "text", "float64"), NO_EFFECT
        ),
        "other numbers": CACHE,
    },
    ".scratch/clean/*.npz": dict.fromkeys(_CACHES, NO_EFFECT),
}


def expected(file: str, mutation: str) -> str:
    """The outcome of a mutation of a file, by its name: one of the above, else the reason why only
    a checksum could see it."""
    of_file = OUTCOMES.get(file, {})
    of_kind = ANY_JSON if file.endswith(".json") else {}
    return of_file.get(mutation, of_kind.get(mutation, ERROR))
