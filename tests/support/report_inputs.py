"""A made-up input tree of the report; `python -m tests.support.report_inputs FOLDER` writes one."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from pipeline.common.tables import write_json, write_table
from pipeline.evaluation.evaluate import accuracies
from pipeline.filtering.table import SCHEMA
from pipeline.images.classes import CLASS_SCHEMA
from pipeline.results.files import PREDICTIONS

STEPS = 20
SIZE = 16
CLASSES = {
    "shapes": ["circle", "square", "triangle", "star", "cross <x>", "ring"],
    "digits": [f"digit {i}" for i in range(10)],
}
PARAMS = """\
report: {title: "Demo <report> & more", examples: 2}
evaluate:
  datasets: [shapes, digits]
  attacks: [pgd, apgd_ce]
  texts: [template, unseen]
  checks: {datasets: [shapes], images: 40}
  strict: false
  images: null
finetune: {dataset: shapes, options: {saft: {attention_refinement: 0.08}}, seed: 1}
filter:
  top_k: 2
  reference: class_name
  template: This is a <photo> of a {}
  images_per_class: 20
  diversity: 0.0
  min_similarity: null
  min_margin: null
  short_class: repeat
  cleaning: {min_words: 3, near_duplicate: 0.95, too_long: shorten}
"""
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
    return {
        "model": [model] * count,
        "number": np.arange(count) * 3,
        "label": label,
        "clean_prediction": np.where(right, label, wrong),
        "clean_margin": rng.normal(size=count).astype(np.float32),
        "adversarial_prediction": np.where(survives, label, wrong),
        "adversarial_margin": rng.normal(size=count).astype(np.float32),
        "fooled_at": fooled_at,
        "robust_any": survives,
        "robust_last": last,
        "zero_gradient": np.full(count, 0.01, dtype=np.float32),
    }


def write_set(root: Path, name: str, count: int, tuned: float, seed: int) -> None:
    """Every attack under every text set: what APGD leaves is a part of what PGD leaves (same
    draws), and unseen words cost a little."""
    for texts, factor in (("template", 1.0), ("unseen", 0.9)):
        for index, attack in enumerate(ATTACKS):
            strength = factor * (tuned - 0.02 * index)
            folder = root / "data/evaluation" / name / texts / attack
            write_attack(folder, name, texts, attack, count, strength, seed)
    names = CLASSES[name]
    ids = [f"{name}-{i}" for i in range(len(names))]
    write_table(
        root / f"data/classes/{name}.parquet",
        {"label": range(len(names)), "class_id": ids, "name": names},
        CLASS_SCHEMA,
    )


def write_attack(
    folder: Path, name: str, texts: str, attack: str, count: int, tuned: float, seed: int
) -> None:
    rng, names = np.random.default_rng(seed), CLASSES[name]
    models = {
        "base": columns("base", count, len(names), 0.02, rng),
        "finetuned": columns("finetuned", count, len(names), tuned, rng),
    }
    parts = [pa.Table.from_pydict(c, schema=PREDICTIONS) for c in models.values()]
    write_table(folder / "predictions.parquet", pa.concat_tables(parts).to_pydict(), PREDICTIONS)
    title, options = ATTACKS[attack]
    words = {"name": texts, "templates": ["a photo of a {}", "a picture of {}"]}
    metrics = {
        "dataset": name, "images": count, "classes": len(names),
        "dropped": 2 if name == "digits" else 0,
        "seen_in_training": len(names) if name == "shapes" else 0,
        "attack": attack, "title": title, "options": options, "budget": STEPS + 1,
        "norm": "linf", "epsilon_255": 4.0, "space": "model", "pixels": SIZE,
        "precision": "float32", "texts": words, "attacker": words, "seed": 3, "note": "",
        "robust": "any",
    }  # fmt: skip
    write_json(
        folder / "metrics.json", metrics | {model: accuracies(c) for model, c in models.items()}
    )
    write_examples(folder, models, rng)


def write_examples(folder: Path, models: dict[str, Any], rng: Any) -> None:
    clean = np.kron(rng.random((3, 3, 4, 4)), np.ones((1, 1, 4, 4))).astype(np.float32)
    noise = {m: (rng.integers(-1, 2, clean.shape) * 4 / 255).astype(np.float32) for m in models}
    arrays = {"numbers": np.arange(3) * 3, "clean": clean} | noise
    save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "examples.safetensors"
    )


def write_checks(root: Path, name: str) -> None:
    """Measurements that pass every check."""
    counts = {"images": 40, "precision": None, "curve": [[0.0, 38], [1.0, 30], [4.0, 20], [8.0, 3]]}
    counts |= {"large": [64.0, 0], "steps": [[5, 21], [10, 20], [20, 20], [40, 19]]}
    measurements = {"dataset": name, "epsilon_255": 4.0, "base": counts, "finetuned": counts}
    write_json(root / "data/checks" / f"{name}.json", measurements)


def sentence_row(**values: Any) -> dict[str, Any]:
    """A row of data/filtered/descriptions.parquet: kept and scored unless `values` differ."""
    row = {"class_id": "a", "class_name": "circle", "sentence": "A round one.", "source": "llm"}
    row |= {"prompt_set": "", "prompt_id": "", "sample_index": 0, "tokens": 9, "shortened": False}
    row |= {"score": 0.8, "margin": 0.1, "nearest_class": "b", "rank": 0, "kept": True}
    return row | {"reason": None} | values


def write_rows(root: Path, rows: list[dict[str, Any]]) -> None:
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    write_table(root / "data/filtered/descriptions.parquet", columns, SCHEMA)


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


def write_training(root: Path, steps: int = 240) -> None:
    terms = "cross_entropy,attention_refinement,attention_constraint"
    lines = [f"step,learning_rate,loss,{terms},adversarial_accuracy,clean_accuracy"]
    rng = np.random.default_rng(0)
    for step in range(steps):
        rate = 1e-3 * min(1, (step + 1) / 30) * (1 - step / steps)
        entropy = 0.4 + 1.6 * np.exp(-step / 60) + 0.05 * rng.normal()
        values = [rate, entropy + 2, entropy, 20 + rng.normal(), 8 + rng.normal(), 0.7, 0.9]
        lines.append(",".join([str(step), *(f"{v:.6g}" for v in values)]))
    path = root / "data/model/training.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_tree(root: Path) -> None:
    write_set(root, "shapes", 300, 0.7, 1)
    write_set(root, "digits", 120, 0.3, 2)
    write_checks(root, "shapes")
    write_sentences(root)
    write_training(root)
    recipe = {"method": "saft", "title": "SAFT", "seed": 1, "epochs": 3, "steps": 30}
    recipe |= {"images": 1280, "attack": {"norm": "linf", "steps": 2}}
    write_json(root / "data/model/recipe.json", recipe)
    write_json(root / "data/descriptions/provenance.json", {"backend": "bundled", "files": ["a"]})
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")


if __name__ == "__main__":
    make_tree(Path(sys.argv[1]))
