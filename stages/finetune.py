"""Adversarial fine-tuning of the image encoder: `python -m stages.finetune`.

Reads data/base_model/, data/images/<finetune.dataset>/ and data/embeddings/descriptions.parquet;
writes data/model/: an open_clip folder and training.csv. A killed run resumes from
.scratch/ and ends with the same bytes.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
import typer

from pipeline import checkpoint, clip, embed, scratch
from pipeline.atomic import replacing_directory
from pipeline.clip import Clip, ImageEncoder
from pipeline.device import be_deterministic, pick_device
from pipeline.finetune import FinetuneParams, finetune, total_steps
from pipeline.images import IMAGES, ImageSet, open_images
from pipeline.methods import Setup
from pipeline.options import chosen
from pipeline.params import read_section
from pipeline.paths import BASE_MODEL, MODEL
from pipeline.progress import counter
from stages.runner import stage

EMBEDDINGS = embed.FOLDER / "descriptions.parquet"


@stage("finetune")
def main() -> None:
    """Fine-tune with the chosen method; only the image encoder changes."""
    params = read_section("finetune", FinetuneParams)
    method, options = chosen(
        "pipeline.methods", "finetune", "method", params.method, params.options
    )
    device = pick_device()
    be_deterministic()
    images = open_images(params.dataset)
    texts = embed.read_embeddings(EMBEDDINGS, [entry.class_id for entry in images.classes])
    base = clip.load(BASE_MODEL)
    encoder = clip.image_encoder(base).to(device)
    clip.check_fit(encoder, images.pixels.shape[-1], texts.shape[-1], str(BASE_MODEL))
    setup = Setup(
        encoder=encoder,
        texts=torch.from_numpy(texts).to(device),
        scale=clip.logit_scale(base),
        pixels=images.pixels,
        labels=images.labels,
        batch_size=params.batch_size,
    )
    knobs = params.model_dump(exclude={"options", "checkpoint_every"})
    mark = checkpoint.fingerprint(
        [knobs, options.model_dump(), device.type], _inputs(params.dataset)
    )
    with scratch.locked("finetune", mark) as folder:
        rows = train(base, encoder, method.build(options, setup), images, params, device, folder)
        clip.check_finite(base.model, "finetune: lower finetune.learning_rate in params.yaml")
        with replacing_directory(MODEL) as out:
            clip.write_files(base.model, base.config, out)
            log = pd.DataFrame(rows).astype({"step": int})
            log.to_csv(out / "training.csv", index=False, float_format="%.6g", lineterminator="\n")
        scratch.clear(folder)


def train(
    base: Clip,
    encoder: ImageEncoder,
    objective: Any,
    images: ImageSet,
    params: FinetuneParams,
    device: torch.device,
    folder: Path,
) -> list[dict[str, float]]:
    """Run the loop, resuming from `folder` if it holds a state; all log rows."""
    state = checkpoint.load_state(folder, device)
    rows: list[dict[str, float]] = state["rows"] if state else []
    clip.train_only_image_encoder(base, encoder)
    total, first = total_steps(len(images.pixels), params), state["step"] if state else 0
    if first:
        print(f"resuming at step {first} of {total}", flush=True)
    steps = finetune(
        encoder,
        objective,
        images.pixels,
        images.labels,
        params,
        device,
        state,
        checkpoint=lambda new: checkpoint.save_state(folder, new | {"rows": rows}),
    )
    with counter("finetune", total, "step") as bar:
        bar.update(first)
        for part in steps:
            rows += part
            bar.set_postfix(loss=f"{part[-1]['loss']:.3f}", refresh=False)
            bar.update(len(part))
    return rows


def _inputs(dataset: str) -> list[Path]:
    images = [IMAGES / dataset / name for name in ("images.npy", "items.parquet")]
    model = [BASE_MODEL / name for name in (clip.CONFIG_FILE, clip.WEIGHTS_FILE)]
    return [*images, *model, EMBEDDINGS]


if __name__ == "__main__":
    typer.run(main)
