"""Numbers that are none go through the real stages: each is refused in one line, nothing written.

A model full of NaN was "robust" on every image of class 0, and so was one of zeros.
`-m "" -s` runs all and prints how many.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipeline.clip.folders import BASE_MODEL
from pipeline.common.tables import write_table
from pipeline.descriptions.artifact import DESCRIPTIONS, SCHEMA
from pipeline.images.classes import read_classes
from pipeline.zeroshot.text_sets import pair_files, training_files
from pipeline.zeroshot.text_tables import KEPT, kept_descriptions, write_texts
from stages import (
    check,
    confusions,
    embed,
    embed_training,
    evaluate,
    exemplars,
    finetune,
    image_confusions,
    model,
    texts,
)
from stages import filter as filter_stage
from tests.support import damage
from tests.support.failures import fails, one_line
from tests.support.tiny_project import tiny_project, write_params
from tests.support.trainable import write_inputs

STAGES: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "evaluate": (evaluate.main, ("tiny", "pgd", "template", "4", "base")),
    "check": (check.main, ("tiny", "base")),
    "embed": (embed.main, ("base", "template")),
    "embed_training": (embed_training.main, ()),
    "filter": (filter_stage.main, ()),
    "finetune": (finetune.main, ()),
    "exemplars": (exemplars.main, ("near",)),
    "confusions": (confusions.main, ("words",)),
    "image_confusions": (image_confusions.main, ("looks",)),
    "model": (model.main, ("copy",)),
}
IMAGE_STAGES = ("evaluate", "check", "exemplars", "image_confusions")
TEXT_STAGES = ("embed", "embed_training", "filter", "confusions")


class Case(NamedTuple):
    """A damage, the stages that read it, and what their line has to say."""

    name: str
    damage: Callable[[], None]
    stages: tuple[str, ...]
    message: tuple[str, ...]


def weight(name: str, change: Any) -> Callable[[], None]:
    return lambda: damage.weights("base", name, change)


def preprocess(**values: Any) -> Callable[[], None]:
    return lambda: damage.normalisation("base", **values)


def embedding(path: Path, change: Any) -> Callable[[], None]:
    return lambda: damage.embeddings(path, change)


MODELS = [
    Case("NaN image weight", weight("visual.conv1", damage.first_to(np.nan)), tuple(STAGES),
         ("1 weights are not finite", "conv1.weight")),
    Case("infinite text weight", weight("text_projection", damage.first_to(np.inf)),
         tuple(STAGES), ("not finite", "text_projection")),
    Case("NaN everywhere", weight("", damage.filled(np.nan)), tuple(STAGES), ("are not finite",)),
    Case("NaN scale", weight("logit_scale", damage.filled(np.nan)), tuple(STAGES),
         ("not finite", "logit_scale")),
    Case("zero image projection", weight("visual.proj", damage.filled(0)), IMAGE_STAGES,
         ("feature of", "is zero")),
    Case("zero text projection", weight("text_projection", damage.filled(0)), TEXT_STAGES,
         (f"{BASE_MODEL}: the feature of text '", "is zero")),
    Case("overflowing images", weight("visual.proj", damage.filled(3e38)), IMAGE_STAGES,
         ("not finite",)),
    Case("overflowing texts", weight("text_projection", damage.filled(3e38)), TEXT_STAGES,
         (f"{BASE_MODEL}: the feature of text '", "is not finite")),
    Case("zero std", preprocess(std=[0, 0.2, 0.2]), tuple(STAGES), ("cfg.std", "above 0")),
    Case("negative std", preprocess(std=[0.2, -0.2, 0.2]), tuple(STAGES), ("above 0",)),
    Case("NaN std", preprocess(std=[0.2, 0.2, np.nan]), tuple(STAGES), ("preprocess_cfg.std",)),
    Case("infinite mean", preprocess(mean=[np.inf, 0, 0]), tuple(STAGES), ("preprocess_cfg.mean",)),
]  # fmt: skip
VECTORS = [
    ("a NaN row", damage.row_to(np.nan), "is not finite"),
    ("an infinite row", damage.row_to(np.inf), "is not finite"),
    ("a zero row", damage.row_to(0), "is zero"),
    ("ten times", lambda vectors: vectors * 10, "has the norm 10, not 1"),
    ("a percent more", lambda vectors: vectors * 1.01, "has the norm 1.01, not 1"),
]
EMBEDDINGS = [
    Case(f"{what} in {path.parent.name}/{path.name}", embedding(path, change), stages,
         (f"{path}: the feature of class 'n0", said))
    for path, stages in (
        *((path, ("evaluate", "check")) for path in pair_files("base", "template", "tiny")),
        *((path, ("finetune",)) for path in training_files()),
    )
    for what, change, said in VECTORS
]  # fmt: skip
EMBEDDINGS += [
    Case("other width for the attacker", embedding(pair_files("base", "template", "tiny")[1],
         lambda v: np.eye(8, dtype=np.float32)[: len(v)]), ("evaluate", "check"),
         (f"{BASE_MODEL}: image features have 16 numbers, the text embeddings 8",)),
]  # fmt: skip
RUNS = [(case, stage) for case in [*MODELS, *EMBEDDINGS] for stage in case.stages]
PARAMETERS = [
    pytest.param(case, stage, id=f"{stage}-{case.name}",
                 marks=[] if number % 9 == 0 else [pytest.mark.campaign])
    for number, (case, stage) in enumerate(RUNS)
]  # fmt: skip


@pytest.fixture
def project(packed: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that the stages read, for set "tiny"; few steps."""
    for name in ("DVC_STAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    tiny_project(packed, clip_folder)
    shutil.rmtree(BASE_MODEL)
    write_inputs(clip_folder)
    short = {"steps": 2, "step_255": 2.0, "restarts": 1, "random_start": True, "momentum": 0.0}
    copy = {"source": "local", "options": {"path": str(packed / BASE_MODEL)}, "defended": False}
    write_params(packed, **{
        "describe.dataset": "tiny", "finetune.epochs": 1, "finetune.batch_size": 16,
        "finetune.attack.steps": 1, "evaluate.options.pgd": short, "filter.top_k": 1,
        "evaluate.checks.steps": 4, "evaluate.checks.epsilons_255": [4],
        "exemplars": {"near": {"images_per_class": 1, "candidates_per_class": None}},
        "confusions": {"text": {"words": {"classes_per_class": 1, "template": "a {}"}},
                       "images": {"looks": {"classes_per_class": 1, "template": "a {}",
                                            "images_per_class": None}}},
        "models.copy": copy | {"licence": None, "citation": None},
    })  # fmt: skip
    texts.main("template")
    rows = [
        {"class_id": class_entry.class_id, "class_name": class_entry.name,
         "sentence": f"A {word} {class_entry.name}",
         "prompt_set": "", "prompt_id": "p", "sample_index": index, "source": "llm", "tokens": 5}
        for class_entry in read_classes("tiny")
        for index, word in enumerate(("big kind", "small kind"))
    ]  # fmt: skip
    write_table(DESCRIPTIONS, {key: [row[key] for row in rows] for key in SCHEMA.names}, SCHEMA)
    write_texts(KEPT, kept_descriptions([row | {"rank": 0, "kept": True} for row in rows[::2]]))
    return packed


def written(project: Path) -> dict[Path, bytes]:
    """What stages write, but what the damages touch."""
    return {
        path: path.read_bytes()
        for path in project.rglob("data/**/*")
        if path.is_file() and path.suffix != ".npy"
    }


@pytest.mark.parametrize(("case", "stage"), PARAMETERS)
def test_a_number_that_is_none_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], case: Case, stage: str
) -> None:
    case.damage()
    before = written(project)
    capsys.readouterr()
    main, arguments = STAGES[stage]
    assert fails(main, *arguments) == 1
    line = one_line(capsys)
    assert "Traceback" not in line
    assert [part for part in case.message if part not in line] == [], line
    assert written(project) == before, "nothing is written"


@pytest.mark.campaign
@pytest.mark.parametrize("stage", STAGES)
def test_the_sound_project_passes(
    project: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    main, arguments = STAGES[stage]
    main(*arguments)
    assert "error:" not in capsys.readouterr().err


def test_how_many_there_are() -> None:
    print(f"{len(RUNS)} runs of {len(MODELS) + len(EMBEDDINGS)} damaged numbers")
    assert len(RUNS) > 100
