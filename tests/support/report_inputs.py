"""A made-up input tree of the report; `python -m tests.support.report_inputs FOLDER` writes one."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from pipeline.common.tables import write_json, write_table
from pipeline.filtering.table import SCHEMA
from pipeline.images.classes import CLASS_SCHEMA
from pipeline.results.confidence import STATES
from pipeline.results.files import PREDICTIONS, checks_file, evaluation_folder

STEPS = 20
SIZE = 16
GRID = 4  # patches a side
CLASSES = {
    "shapes": ["circle", "square", "triangle", "star", "cross <x>", "ring"],
    "digits": [f"digit {i}" for i in range(10)],
}
BASE_AND_TUNED = {"base": 0.02, "finetuned": 0.7}  # what survives PGD on shapes
EPSILON = 4
PARAMS = """\
report: {title: "Demo <report> & more", examples: 2, reference: base}
evaluate:
  models: [base, finetuned]
  epsilons_255: [4]
  datasets: [shapes, digits]
  attacks: [pgd, apgd_ce]
  texts: [template, unseen]
  checks:
    {datasets: [shapes], images: 40, epsilons_255: [1, 4, 8], large_epsilon_255: 64, steps: 20}
  attacker: same
  norm: linf
  space: model
  robust: any
  seed: 3
  options: {pgd: {steps: 20, step_255: 1.0}, apgd_ce: {steps: 20}}
  strict: false
  images: null
finetune:
  dataset: shapes
  method: saft
  options: {saft: {learning_rate: null, attention_refinement: 0.08}}
  attack: {norm: linf, steps: null}
  validation: {dataset: none}
  seed: 1
filter:
  top_k: 2
  reference: class_name
  template: This is a <photo> of a {}
  images_per_class: 20
  rank_by: similarity
  diversity: 0.0
  min_similarity: null
  min_margin: null
  short_class: repeat
  cleaning: {min_words: 3, near_duplicate: 0.95, too_long: shorten}
"""
TRAINED = "data/about/finetuned"
ATTACKS = {
    "pgd": ("PGD", {"steps": STEPS, "step_255": 1.0}),
    "apgd_ce": ("APGD-CE", {"steps": STEPS}),
}


def columns(model: str, count: int, classes: int, strength: float, rng: Any) -> dict[str, Any]:
    """Columns of PREDICTIONS; `strength` is the share that survives the attack."""
    label = (np.arange(count) % classes).astype(np.int32)
    # which clean images are right does not depend on the attack
    right = np.arange(count) % 20 != 7 if model == "base" else np.arange(count) % 10 != 7
    survives = right & (rng.random(count) < strength)
    fooled = np.minimum(rng.geometric(0.4, count) - 1, STEPS)
    wrong = ((label + 1 + rng.integers(classes - 1, size=count)) % classes).astype(np.int32)
    fooled_at = np.where(survives, -1, np.where(right, fooled, 0)).astype(np.int32)
    last = [bool(s) if i % 4 == 0 else None for i, s in enumerate(survives)]
    margin = np.abs(rng.normal(size=(2, count)))
    # the same for every model
    confidence = (0.3 + 0.6 * (np.arange(count) * 37 % 101) / 100).astype(np.float32)
    return {
        "model": [model] * count,
        "number": np.arange(count) * 3,
        "label": label,
        "clean_prediction": np.where(right, label, wrong),
        "clean_margin": np.where(right, margin[0], -margin[0]).astype(np.float32),
        "clean_confidence": confidence,
        "adversarial_prediction": np.where(survives, label, wrong),
        "adversarial_margin": np.where(survives, margin[1], -margin[1]).astype(np.float32),
        "adversarial_confidence": confidence[::-1],
        "fooled_at": fooled_at,
        "robust_any": survives,
        "robust_last": last,
        "zero_gradient": np.full(count, 0.01, dtype=np.float32),
    }


def write_set(
    root: Path,
    name: str,
    count: int,
    strengths: Mapping[str, float],
    seed: int,
    epsilons: Sequence[int] = (EPSILON,),
) -> None:
    """Every attack on every model under every text set and epsilon: what APGD leaves is a part of
    what PGD leaves (same draws), and unseen words and a larger epsilon cost a little.

    Args:
        strengths: by model, the share that survives PGD.
    """
    for texts, factor in (("template", 1.0), ("unseen", 0.9)):
        for epsilon in epsilons:
            for index, attack in enumerate(ATTACKS):
                shares = {
                    model: factor * (share * EPSILON / epsilon - 0.02 * (index and share > 0.05))
                    for model, share in strengths.items()
                }
                write_attack(root, (name, texts, attack, epsilon), count, shares, seed)
    write_classes(root / f"data/evaluated_classes/{name}.parquet", name)


def write_classes(path: Path, name: str, class_ids: Sequence[str] = ()) -> None:
    """The class table of CLASSES[name]; `class_ids`: of all classes, others than the usual."""
    names = CLASSES[name]
    ids = class_ids or [f"{name}-{i}" for i in range(len(names))]
    write_table(
        path,
        {"label": range(len(names)), "class_id": ids, "name": names},
        CLASS_SCHEMA,
    )


def write_attack(
    root: Path,
    where: tuple[str, str, str, int],
    count: int,
    strengths: Mapping[str, float],
    seed: int,
) -> None:
    """The folders of one attack, one for each model.

    Args:
        where: (data set, text set, attack, epsilon).
    """
    name, texts, attack, epsilon = where
    rng, classes = np.random.default_rng(seed), len(CLASSES[name])
    title, options = ATTACKS[attack]
    words = {"name": texts, "templates": ["a photo of a {}", "a picture of {}"]}
    shared = {
        "dataset": name, "images": count, "classes": classes,
        "dropped": 2 if name == "digits" else 0,
        "attack": attack, "title": title, "options": options, "budget": STEPS + 1,
        "norm": "linf", "epsilon_255": epsilon, "space": "model", "pixels": SIZE,
        "precision": "float32", "guard_band": None, "texts": words, "attacker": words, "seed": 3,
        "robust": "any",
    }  # fmt: skip
    clean = np.kron(rng.random((3, 3, 4, 4)), np.ones((1, 1, 4, 4))).astype(np.float32)
    for model, strength in strengths.items():
        folder = root / evaluation_folder(*where, model)
        verdicts = columns(model, count, classes, strength, rng)
        write_table(folder / "predictions.parquet", verdicts, PREDICTIONS)
        write_json(folder / "metrics.json", shared | {"model": model} | accuracies(verdicts))
        moved = rng.integers(-1, 2, clean.shape) * epsilon / 255
        write_examples(folder, np.arange(3) * 3, clean, moved.astype(np.float32))


def accuracies(verdicts: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics.json holds of one model alone."""
    last = [flag for flag in verdicts["robust_last"] if flag is not None]
    return {
        "clean": share_of(verdicts["clean_prediction"] == verdicts["label"]),
        "robust_any": share_of(verdicts["robust_any"]),
        "robust_last": share_of(np.array(last)) if last else None,
        "note": "",
        "judged": len(last),
        "largest_margin_difference": None,
    }


def change_verdicts(folder: Path, metrics: Mapping[str, Any] | None = None, **changes: Any) -> None:
    """Other columns in the folder of an evaluation, with all that follows from the predictions:
    margins, `fooled_at`, what is robust, and the counts of metrics.json.

    Args:
        metrics: other keys of metrics.json.
    """
    values = json.loads((folder / "metrics.json").read_text()) | dict(metrics or {})
    columns = pq.read_table(folder / "predictions.parquet").to_pydict() | changes
    columns = {k: v if k == "robust_last" else np.array(v) for k, v in columns.items()}
    right = {state: columns[f"{state}_prediction"] == columns["label"] for state in STATES}
    for state in STATES:
        margin = np.abs(columns[f"{state}_margin"])
        columns[f"{state}_margin"] = np.where(right[state], margin, -margin)
    latest = np.clip(columns["fooled_at"], 0, values["budget"] - 1)
    columns["fooled_at"] = np.where(right["adversarial"], -1, latest)
    columns["robust_any"] = right["clean"] & right["adversarial"]
    columns["robust_last"] = [
        None if last is None else bool(robust)
        for last, robust in zip(columns["robust_last"], columns["robust_any"], strict=True)
    ]
    write_table(folder / "predictions.parquet", columns, PREDICTIONS)
    write_json(folder / "metrics.json", values | accuracies(columns) | {"note": values["note"]})


def share_of(flags: np.ndarray) -> dict[str, Any]:
    return {"correct": int(flags.sum()), "images": len(flags), "accuracy": float(flags.mean())}


def write_examples(folder: Path, numbers: np.ndarray, clean: np.ndarray, moved: np.ndarray) -> None:
    rng, grid = np.random.default_rng(int(numbers.sum())), (len(clean), GRID, GRID)
    maps = (rng.random(grid).astype(np.float16) for _ in range(2))
    arrays = {"numbers": numbers, "clean": clean, "perturbation": moved}
    arrays |= dict(zip(("clean_attention", "adversarial_attention"), maps, strict=True))
    save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "examples.safetensors"
    )


def write_checks(root: Path, name: str, models: Sequence[str]) -> None:
    """Measurements that pass every check."""
    counts = {"images": 40, "precision": None, "curve": [[0.0, 38], [1.0, 30], [4.0, 20], [8.0, 3]]}
    counts |= {"large": [64.0, 0], "steps": [[5, 21], [10, 20], [20, 20], [40, 19]]}
    for model in models:
        measurements = {"dataset": name, "model": model, "epsilon_255": EPSILON} | counts
        write_json(root / checks_file(name, model), measurements)


def write_about(root: Path, model: str, **changes: Any) -> None:
    """The about.json of a model that nobody defended, with the text tower of all, but `changes`."""
    about = {
        "name": model, "source": "pretrain", "origin": "trained from scratch on `pairs` (this run)",
        "hub_id": None, "defended": "false", "licence": None, "citation": None, "notes": [],
        "parameters": 1234567, "image_size": SIZE, "text_tower": "shared",
        "image_tower": hashlib.sha256(model.encode()).hexdigest(),
    }  # fmt: skip
    write_json(root / "data/about" / model / "about.json", about | changes)


def sentence_row(**values: Any) -> dict[str, Any]:
    """A row of descriptions.parquet: kept and scored unless `values` differ."""
    row = {"class_id": "a", "class_name": "circle", "sentence": "A round one.", "source": "llm"}
    row |= {"prompt_set": "", "prompt_id": "", "sample_index": 0, "tokens": 9, "shortened": False}
    row |= {"score": 0.8, "margin": 0.1, "nearest_class": "b", "rank": 0, "kept": True}
    return row | {"reason": None} | values


def write_rows(root: Path, rows: list[dict[str, Any]]) -> None:
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    write_table(root / TRAINED / "descriptions.parquet", columns, SCHEMA)


def write_sentences(root: Path) -> None:
    """Four sentences per class: two kept, a correct and a planted one dropped."""
    rows = []
    for label, name in enumerate(CLASSES["shapes"]):
        texts = [
            (f"A {name} is a plain figure drawn in one colour on an even background.", "bundled"),
            (f"A {name} can be told from other figures by its outline.", "bundled"),
            (f"It looks like a {name} & has an <even> edge.", "bundled"),
            (f"The {name} is a large mammal that lives in herds.", "bundled, planted"),
        ]
        names = {"class_id": f"shapes-{label}", "class_name": name}
        names["nearest_class"] = f"shapes-{(label + 1) % len(CLASSES['shapes'])}"
        for rank, (text, source) in enumerate(texts):
            scores = {"score": 0.9 - 0.1 * rank, "margin": 0.3 - 0.1 * rank - 0.01 * label}
            verdict = {"rank": rank, "kept": rank < 2, "reason": None if rank < 2 else "rank"}
            rows.append(sentence_row(sentence=text, source=source, **names, **scores, **verdict))
    write_rows(root, rows)


def write_training(root: Path, steps: int = 30) -> None:
    terms = "cross_entropy,attention_refinement,attention_constraint"
    lines = [f"step,learning_rate,loss,{terms},adversarial_accuracy,clean_accuracy"]
    rng = np.random.default_rng(0)
    for step in range(steps):
        rate = 1e-3 * min(1, (step + 1) / 30) * (1 - step / steps)
        entropy = 0.4 + 1.6 * np.exp(-step / 60) + 0.05 * rng.normal()
        values = [rate, entropy + 2, entropy, 20 + rng.normal(), 8 + rng.normal(), 0.7, 0.9]
        lines.append(",".join([str(step), *(f"{v:.6g}" for v in values)]))
    path = root / TRAINED / "training.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_tree(root: Path) -> None:
    """Two sets, two attacks, two text sets, one epsilon, the base and the fine-tuned model."""
    write_set(root, "shapes", 300, BASE_AND_TUNED, 1)
    write_set(root, "digits", 120, BASE_AND_TUNED | {"finetuned": 0.3}, 2)
    write_checks(root, "shapes", list(BASE_AND_TUNED))
    write_about(root, "base")
    tuned = "`base`, fine-tuned by SAFT on image set `shapes`"
    write_about(root, "finetuned", source="finetune", origin=tuned, defended="true")
    write_record(root)
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")


def write_record(root: Path) -> None:
    """How the fine-tuned model was made."""
    write_sentences(root)
    write_training(root)
    recipe = {"method": "saft", "title": "SAFT", "seed": 1, "epochs": 3, "steps": 30}
    recipe |= {"dataset": "shapes", "options": {"attention_refinement": 0.08}}
    recipe |= {"images": 1280, "attack": {"norm": "linf", "steps": 2}, "validation": None}
    write_json(root / TRAINED / "recipe.json", recipe)
    write_json(root / TRAINED / "provenance.json", {"backend": "bundled", "files": ["a"]})
    write_classes(root / TRAINED / "classes.parquet", "shapes")


if __name__ == "__main__":
    make_tree(Path(sys.argv[1]))
