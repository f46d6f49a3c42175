"""Adversarial fine-tuning of the image encoder: `python -m stages.finetune`.

Reads the base model, data/training_embeddings/ and images; writes data/models/finetuned/clip/. A
killed run resumes to the same bytes. SAFT_PROCESSES=N, torchrun, srun: N processes train together.
"""

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL, MODEL
from pipeline.clip.precision import check_precision
from pipeline.common import scratch
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section
from pipeline.distributed.ranks import Ranks, join_ranks
from pipeline.images.image_set import check_classes, open_images
from pipeline.training import files, session, validation_set
from pipeline.training.objective import MethodParams
from pipeline.training.recipe import FinetuneParams, resolve
from pipeline.training.shared_state import has_state, work_folder
from pipeline.training.step import advice
from stages.ranked import ranked
from stages.runner import stage


@stage("finetune")
@ranked("stages.finetune")
def main() -> None:
    """Fine-tune with the chosen method; only the image encoder changes."""
    files.check_surroundings()
    with join_ranks() as ranks:
        run(ranks)


def run(ranks: Ranks) -> None:
    """The whole stage in one of the processes that train together; rank 0 writes."""
    params = read_section("finetune", FinetuneParams)
    plugin = "pipeline.methods", "finetune", "method", params.method
    method, options = load_plugin(*plugin, params.options)
    assert isinstance(options, MethodParams)  # the interface of a method
    recipe, device = resolve(params, method.PUBLISHED, options), deterministic_device()
    check_precision(recipe.precision, "finetune.precision", device)
    images, base = open_images(recipe.dataset), clip.load(BASE_MODEL)
    check_classes(images, "finetune.dataset")
    texts = files.read_texts(images, params.texts, method.PUBLISHED.captions)
    inputs = session.method_inputs(base, *texts[:2], images, recipe, device, ranks, *texts[2:])
    origins = files.origins(recipe, device, ranks, params.texts, method.PUBLISHED.captions)
    with work_folder("finetune", origins, ranks) as folder:
        validated = validation_set.opened(recipe, images, ranks, has_state(folder, ranks))
        kept = folder, params.checkpoint_seconds, validated
        finished = session.train_by_method(method, options, inputs, recipe, *kept)
        clip.check_finite(base.model, f"finetune: {advice(recipe)}")
        if ranks.first:
            files.write_model(MODEL, base, finished, method.TITLE, recipe, inputs)
            scratch.clear(folder)  # last: what failed before goes on from there


if __name__ == "__main__":
    typer.run(main)
