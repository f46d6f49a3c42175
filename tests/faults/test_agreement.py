"""Results that do not belong together go through the real report stage: each is an error that names
the file, and the other file or the key of params.yaml that it disagrees with.

`-m "" -s` runs all and prints how many.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.common.tables import write_json
from pipeline.report import page
from pipeline.report.training import LOG, RECIPE, SENTENCES
from pipeline.results.files import checks_file, evaluation_folder
from stages import report
from tests.support import damage
from tests.support.failures import fails, one_line
from tests.support.report_inputs import TRAINED, change_verdicts


def folder(attack: str, model: str, texts: str = "template", dataset: str = "shapes") -> Path:
    return evaluation_folder(dataset, texts, attack, 4, model)


FIRST, PGD, APGD = folder("pgd", "base"), folder("pgd", "finetuned"), folder("apgd_ce", "finetuned")
UNSEEN, DIGITS = folder("pgd", "base", "unseen"), folder("pgd", "base", dataset="digits")
CHECKS = checks_file("shapes", "finetuned")
ABOUT = Path(TRAINED) / "about.json"


class Case(NamedTuple):
    """damage: what is done; message: the parts that the line has to have."""

    name: str
    damage: Callable[[], Any]
    message: tuple[str, ...]


def metrics(path: Path, **changes: Any) -> Callable[[], None]:
    return lambda: damage.json_file(path / "metrics.json", **changes)


def everywhere(under: str = "*", **changes: Any) -> Callable[[], None]:
    """In the metrics of all evaluations `under` a text set: they agree with each other alone."""

    def change() -> None:
        for file in Path("data/evaluation").glob(f"*/{under}/*/*/*/metrics.json"):
            damage.json_file(file, **changes)

    return change


def predictions(path: Path, column: str, change: Any) -> Callable[[], None]:
    return lambda: damage.column(path / "predictions.parquet", column, change)


def set_to(value: Any, *rows: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[list(rows or [0])] = value
        return values

    return change


def copied(source: Path, target: Path) -> Callable[[], Any]:
    return lambda: shutil.copytree(source, target, dirs_exist_ok=True)


def examples(path: Path, **change: Callable[[np.ndarray], np.ndarray]) -> Callable[[], None]:
    def damaged() -> None:
        arrays = load_file(path / "examples.safetensors")
        arrays |= {name: of(arrays[name]).astype(arrays[name].dtype) for name, of in change.items()}
        save_file(arrays, path / "examples.safetensors")

    return damaged


def edited(path: Path, old: str, new: str) -> Callable[[], Any]:
    def edit() -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def all_wrong(path: Path) -> Callable[[], None]:
    """No clean image right in a folder that is sound by itself."""
    return lambda: change_verdicts(path, clean_prediction=(np.arange(300) + 1) % 6)


def both(path: Path, other: Path) -> tuple[str, str]:
    return f"{path}/", f"{other}/"


def by_params(path: Path, key: str) -> tuple[str, str]:
    return f"{path}/metrics.json: ", f"params.yaml: evaluate.{key}"


NUMBERS = [
    Case(f"{name} {value}", predictions(PGD, name, set_to(value)),
         (f"{PGD}/predictions.parquet: column '{name}'", "in row 0"))
    for name in ("clean_margin", "adversarial_margin", "clean_confidence", "zero_gradient")
    for value in (np.nan, np.inf)
]  # fmt: skip
WITHIN = [
    Case("confidence above 1", predictions(PGD, "clean_confidence", set_to(1.5)),
         (str(PGD), "image 0: the clean confidence is not in [1 / 6, 1]")),
    Case("confidence below chance", predictions(PGD, "adversarial_confidence", set_to(0.1)),
         (str(PGD), "the adversarial confidence is not in")),
    Case("margin of the wrong sign", predictions(PGD, "clean_margin", lambda v: -v),
         (str(PGD), "the clean margin and prediction contradict each other (300 of 300")),
    Case("all robust", predictions(PGD, "robust_any", lambda v: np.full(len(v), True)),
         (str(PGD), "robust, but wrong on the clean image")),
    Case("one robust less", predictions(FIRST, "robust_any", lambda v: v & False),
         (str(FIRST), "robust_any and fooled_at contradict")),
    Case("fooled and robust", predictions(PGD, "fooled_at", lambda v: np.full(len(v), 3)),
         (str(PGD), "contradict each other")),
    Case("right after all", predictions(FIRST, "adversarial_prediction", lambda v: v * 0),
         (str(FIRST), "contradict each other")),
    Case("wrong at the last", predictions(PGD, "robust_last", lambda v: np.full(len(v), False)),
         (str(PGD), "robust_any, but wrong at the last iterate")),
    Case("zero gradient 2", predictions(PGD, "zero_gradient", set_to(2.0)),
         (str(PGD), "zero_gradient is not in [0, 1]")),
    Case("clean count", metrics(PGD, clean__correct=7), both(PGD, PGD) + ("clean is 7 of 300",)),
    Case("robust count", metrics(PGD, robust_any__correct=7), ("robust_any is 7 of 300", str(PGD))),
    Case("last count", metrics(PGD, robust_last__images=7), ("robust_last is", str(PGD))),
    Case("accuracy", metrics(PGD, robust_any__accuracy=0.99), ("robust_any is", str(PGD))),
    Case("NaN accuracy", metrics(PGD, clean__accuracy=np.nan), (f"{PGD}/metrics.json: ", "NaN")),
    Case("few iterates", metrics(PGD, budget=1), ("but the attack has 1 iterates in", str(PGD))),
]  # fmt: skip
TOGETHER = [
    *(Case(key, everywhere("unseen", **{key: value}), (*both(UNSEEN, FIRST), f"{key} is"))
      for key, value in {"norm": "l2", "space": "native", "robust": "last", "seed": 4, "dropped": 1,
                         "pixels": 32, "title": "x", "precision": "bf16",
                         "guard_band": 0.5, "options": {"steps": 3}, "budget": 30}.items()),
    Case("classes", everywhere("unseen", classes=7), (str(UNSEEN), "7 classes, the class table")),
    *(Case(f"{key} of an attack", metrics(APGD, **{key: value}), both(APGD, FIRST))
      for key, value in {"norm": "l2", "space": "native", "seed": 4, "dropped": 1,
                         "texts__templates": ["x {}"], "attacker__name": "x"}.items()),
    *(Case(f"{key} elsewhere", metrics(FIRST, **{key: value}), (str(FIRST), "in its path"))
      for key, value in {"dataset": "digits", "attack": "apgd_ce", "epsilon_255": 8,
                         "texts__name": "unseen"}.items()),
    Case("another attack's folder", copied(APGD, PGD), (str(PGD), "attack is apgd_ce")),
    Case("another text set's folder", copied(UNSEEN, FIRST), (str(FIRST), "texts is unseen")),
    Case("another set's folder", copied(DIGITS, FIRST), (f"{FIRST}/",)),
    Case("another model's folder", copied(FIRST, PGD), (str(PGD), "for 'finetuned'")),
    Case("image numbers", predictions(APGD, "number", lambda v: v + 1),
         (*both(APGD, FIRST), "not the images of")),
    Case("clean predictions", all_wrong(APGD), (*both(APGD, PGD), "not the clean predictions of")),
    Case("clean margins", predictions(APGD, "clean_margin", lambda v: v * 2),
         (*both(APGD, PGD), "not the clean margins of")),
    Case("example images", examples(PGD, clean=lambda a: a * 0.5), both(PGD, FIRST)),
    Case("NaN example", examples(FIRST, clean=lambda a: a * np.nan),
         (f"{FIRST}/examples", "[0, 1]")),
    Case("NaN perturbation", examples(PGD, perturbation=lambda a: a * np.nan),
         (f"{PGD}/examples", "a perturbation has the size nan")),
    Case("larger perturbation", examples(PGD, perturbation=lambda a: a * 2),
         (f"{PGD}/examples", "more than the attack's")),
]  # fmt: skip


def without(file: Path, key: str) -> None:
    values = json.loads(file.read_text())
    del values[key]
    write_json(file, values)


def switched_off(key: str) -> None:
    """In params.yaml, but not in the training."""
    edited(Path("params.yaml"), "\nfinetune:", f"\nfinetune:\n  {key}: null")()
    damage.json_file(RECIPE, **{key: 2})


PARAMS = [
    *(Case(f"{key} of params.yaml", everywhere(**{key: value}), by_params(FIRST, key))
      for key, value in {"space": "native", "robust": "last", "seed": 4}.items()),
    Case("norm of params.yaml", edited(Path("params.yaml"), "  norm: linf", "  norm: l2"),
         by_params(FIRST, "norm")),
    Case("attacker of params.yaml", everywhere(attacker__name="x"), by_params(FIRST, "attacker")),
    Case("options of params.yaml", edited(Path("params.yaml"), "step_255: 1.0", "step_255: 2.0"),
         by_params(FIRST, "options.pgd")),
    Case("images of params.yaml", edited(Path("params.yaml"), "images: null", "images: 99"),
         by_params(FIRST, "images")),
    Case("checks of another set", lambda: damage.json_file(CHECKS, dataset="digits"),
         (f"{CHECKS}: dataset is digits, not shapes",)),
    Case("checks of another model", lambda: damage.json_file(CHECKS, model="base"),
         (f"{CHECKS}: model is base, not finetuned",)),
    Case("checks of another epsilon", lambda: damage.json_file(CHECKS, epsilon_255=8),
         (f"{CHECKS}: epsilon_255 is 8",)),
    *(Case(f"checks {key}", lambda key=key, value=value: damage.json_file(CHECKS, **{key: value}),
           (f"{CHECKS}: {key} is", "params.yaml: evaluate.checks"))
      for key, value in {"curve": [[0, 38], [4, 2]], "large": [32, 0], "images": 41,
                         "steps": [[5, 20], [10, 20], [20, 20]]}.items()),
    Case("checks of few images", lambda: damage.json_file(CHECKS, images=1),
         (f"{CHECKS}: images is 1, but 40 by params.yaml: evaluate.checks",)),
    Case("checks count too many", lambda: damage.json_file(CHECKS, large=[64, 41]),
         (f"{CHECKS}: 41 of 40 images",)),
    Case("checks NaN", lambda: damage.json_file(CHECKS, large=[np.nan, 0]), (f"{CHECKS}: ", "NaN")),
]  # fmt: skip
RECIPES = [
    *(Case(f"recipe {key}", lambda key=key, value=value: damage.json_file(RECIPE, **{key: value}),
           (f"{RECIPE}: {said} is", f"params.yaml: finetune.{param}"))
      for key, value, said, param in (
          ("seed", 2, "seed", "seed"), ("dataset", "digits", "dataset", "dataset"),
          ("method", "tecoa", "method", "method"),
          ("attack__norm", "l2", "attack.norm", "attack.norm"),
          ("options", {"attention_refinement": 1.0}, "options", "options.saft"))),
    *(Case(f"recipe without {key}", lambda key=key: without(RECIPE, key),
           (f"{RECIPE}: {key} is missing", "params.yaml: finetune."))
      for key in ("seed", "method", "options")),
    *(Case(f"{key} that params.yaml has off", lambda key=key: switched_off(key),
           (f"{RECIPE}: {key} is 2, but None in params.yaml: finetune.{key}",))
      for key in ("averaging", "blocks", "gradient_clip")),
    Case("another method's title", lambda: damage.json_file(RECIPE, title="TeCoA"),
         (f"{ABOUT}: origin is", f"by {RECIPE}")),
    Case("clean training", lambda: damage.json_file(RECIPE, attack=None),
         (f"{ABOUT}: defended is 'true'", f"by {RECIPE}")),
    Case("steps", lambda: damage.json_file(RECIPE, steps=31),
         (f"{LOG}: not the 31 steps of", str(RECIPE))),
    Case("a step twice", edited(LOG, "\n7,", "\n6,"), (f"{LOG}: not the 30 steps of",)),
    Case("NaN loss", edited(LOG, "\n7,", "\n7,nan,"), (f"{LOG}: not a table of numbers",)),
    Case("infinite rate", lambda: LOG.write_text("step,learning_rate,loss\n0,inf,1\n"),
         (f"{LOG}: not a table of numbers: a number in line 2 is not finite",)),
    Case("NaN score", lambda: damage.column(SENTENCES, "score", set_to(np.nan)),
         (f"{SENTENCES}: column 'score' is nan in row 0",)),
    Case("infinite margin", lambda: damage.column(SENTENCES, "margin", set_to(np.inf)),
         (f"{SENTENCES}: column 'margin' is inf in row 0",)),
    Case("rank without score", lambda: damage.column(SENTENCES, "score", set_to(None)),
         (f"{SENTENCES}: row 0 has a rank and no score",)),
]  # fmt: skip
CASES = [*NUMBERS, *WITHIN, *TOGETHER, *PARAMS, *RECIPES]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[] if n % 6 == 0 else [pytest.mark.campaign])
        for n, case in enumerate(CASES)
    ],
)
def test_what_does_not_belong_together_is_no_report(
    tree: Path, capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    case.damage()
    assert fails(report.main) == 1
    line = one_line(capsys)
    assert [part for part in case.message if part not in line] == [], line
    assert not page.PAGE.exists(), "nothing is written"


def test_how_many_there_are() -> None:
    print(f"{len(CASES)} sets of results that do not belong together")
    assert len(CASES) > 70
    assert len({case.name for case in CASES}) == len(CASES)
