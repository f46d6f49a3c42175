"""Adversarial fine-tuning of the image encoder: `python -m stages.finetune`.

Reads data/base_model/, data/images/<finetune.dataset>/ and, of data/embeddings/, the training
descriptions and the template of that set; writes data/model/: an open_clip folder, training.csv
and recipe.json (every value that was used). A killed run resumes from .scratch/ and ends with
the same bytes; what the training cost goes to .scratch/costs/. SAFT_PROCESSES=N, torchrun or srun
let N processes train together (pipeline.distributed).
"""

import math
from pathlib import Path

import pandas as pd
import torch
import typer

from pipeline.clip import model as clip
from pipeline.clip.device import be_deterministic, pick_device
from pipeline.clip.folders import BASE_MODEL, MODEL
from pipeline.clip.model import Clip
from pipeline.clip.origins import hash_origins
from pipeline.clip.precision import check_precision, set_precision
from pipeline.common import scratch
from pipeline.common.atomic import replacing_directory
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section
from pipeline.common.progress import counter
from pipeline.common.tables import write_json
from pipeline.cost import meter as cost
from pipeline.distributed.ranks import Ranks, joined
from pipeline.images.image_set import ImageSet, check_classes, content_files, open_images
from pipeline.training import checkpoint
from pipeline.training.loop import Resume, State, finetune, steps_per_epoch, total_steps
from pipeline.training.objective import MethodParams, Objective, Setup
from pipeline.training.recipe import FinetuneParams, Recipe, resolve
from pipeline.training.shared_state import load_state, work_folder
from pipeline.training.step import advice
from pipeline.training.weights import train_last_blocks
from pipeline.zeroshot import text_sets as embed
from stages.ranked import ranked
from stages.runner import stage

EMBEDDINGS = embed.FOLDER / "descriptions.parquet"
Rows = list[dict[str, float]]


@stage("finetune")
@ranked("stages.finetune")
def main() -> None:
    """Fine-tune with the chosen method; only the image encoder changes."""
    with joined() as ranks:
        run(ranks)


def run(ranks: Ranks) -> None:
    """The whole stage in one of the processes that train together; rank 0 writes."""
    params = read_section("finetune", FinetuneParams)
    method, options = load_plugin(
        "pipeline.methods", "finetune", "method", params.method, params.options
    )
    assert isinstance(options, MethodParams)  # the interface of a method
    recipe = resolve(params, method.PUBLISHED, options)
    device = pick_device()
    be_deterministic()
    check_precision(recipe.precision, "finetune.precision", device)
    images = open_images(recipe.dataset)
    check_classes(images, "finetune.dataset")
    base = clip.load(BASE_MODEL)
    setup = prepare(base, images, recipe, device)._replace(ranks=ranks)
    whose = {"recipe": recipe.as_dict(), "processes": ranks.size}
    origins = hash_origins(whose, _inputs(recipe.dataset), device)
    with work_folder("finetune", origins, ranks) as folder:
        meter = cost.Meter(device)
        meter.watch(setup.encoder, recipe.precision)  # before a method copies it
        objective = method.build(options, setup)
        seconds = params.checkpoint_seconds if ranks.first else math.inf
        rows, steps = train(setup, objective, images, recipe, meter, folder, seconds)
        spent = meter.stop()
        clip.check_finite(base.model, f"finetune: {advice(recipe)}")
        if not ranks.first:
            return
        write(base, rows, method.TITLE, recipe, len(images.pixels))
        seen = min(steps * recipe.batch_size, recipe.epochs * len(images.pixels))
        run = cost.Run("finetune", seen, base.config["model_cfg"], recipe.last_blocks, ranks.size)
        per_epoch = spent.seconds / steps * steps_per_epoch(len(images.pixels), recipe)
        training = cost.Training(recipe.method, method.TITLE, per_epoch, steps)
        cost.record(run, spent, device, MODEL / clip.WEIGHTS_FILE, training)
        scratch.clear(folder)  # last: what failed before goes on from there


def prepare(base: Clip, images: ImageSet, recipe: Recipe, device: torch.device) -> Setup:
    """The encoder on `device`, with gradients for what is trained, and the text features."""
    ids = [entry.class_id for entry in images.classes]
    texts = embed.read_embeddings(EMBEDDINGS, ids)
    template = embed.read_classifier(_template(recipe.dataset), ids)
    encoder = clip.image_encoder(base).to(device)
    set_precision(encoder.visual, recipe.precision)
    clip.check_fit(encoder, images.pixels.shape[-1], texts.shape[-1], str(BASE_MODEL))
    clip.train_only_image_encoder(base, encoder)
    train_last_blocks(encoder, recipe.last_blocks)
    return Setup(
        encoder=encoder,
        texts=torch.from_numpy(texts).to(device),
        template=torch.from_numpy(template).to(device),
        scale=clip.logit_scale(base),
        pixels=images.pixels,
        labels=images.labels,
        batch_size=recipe.batch_size,
    )


def train(
    setup: Setup,
    objective: Objective,
    images: ImageSet,
    recipe: Recipe,
    meter: cost.Meter,
    folder: Path,
    checkpoint_seconds: float,
) -> tuple[Rows, int]:
    """Run the loop, resuming from `folder` if it holds a state; all log rows, and how many steps
    this process took, which `meter` measures. checkpoint_seconds: between resume states; infinite
    for none."""
    state, ranks = load_state(folder, setup.ranks), setup.ranks
    rows: Rows = state["rows"] if state else []
    total, first = total_steps(len(images.pixels), recipe), state["step"] if state else 0
    if first and ranks.first:
        print(f"resuming at step {first} of {total}", flush=True)
    meter.start()
    with (
        checkpoint.StateWriter(folder, checkpoint_seconds) as writer,
        counter("finetune", total, "step") as bar,
    ):

        def save(new: State) -> None:
            writer.save(new | {"rows": rows})

        resume = Resume(state, save, writer.due)
        bar.update(first)
        pixels, labels = images.pixels, images.labels
        for part in finetune(
            setup.encoder, objective, pixels, labels, recipe, meter.device, resume, ranks
        ):
            rows += part
            bar.set_postfix(loss=f"{part[-1]['loss']:.3f}", refresh=False)
            bar.update(len(part))
    return rows, total - first


def write(base: Clip, rows: Rows, title: str, recipe: Recipe, images: int) -> None:
    """data/model/: the tuned model, its log and its recipe."""
    used = {"title": title, "images": images, "steps": total_steps(images, recipe)}
    with replacing_directory(MODEL) as out:
        clip.write_files(base.model, base.config, out)
        log = pd.DataFrame(rows).astype({"step": int})
        log.to_csv(out / "training.csv", index=False, float_format="%.6g", lineterminator="\n")
        write_json(out / "recipe.json", recipe.as_dict() | used)


def _template(dataset: str) -> Path:
    return embed.FOLDER / "texts" / embed.TEMPLATE / f"{dataset}.parquet"


def _inputs(dataset: str) -> list[Path]:
    model = [BASE_MODEL / name for name in (clip.CONFIG_FILE, clip.WEIGHTS_FILE)]
    return [*content_files(dataset), *model, EMBEDDINGS, _template(dataset)]


if __name__ == "__main__":
    typer.run(main)
