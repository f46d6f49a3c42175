"""Files that a training reads and writes: texts, the tuned model, its log, recipe and cost."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL, FINETUNED, RECIPE
from pipeline.clip.model import Clip
from pipeline.clip.origins import hash_origins
from pipeline.common.atomic import replacing_directory
from pipeline.common.options import check_evaluated_names
from pipeline.common.tables import write_json
from pipeline.cost import meter
from pipeline.cost.files import Training
from pipeline.distributed.ranks import Ranks
from pipeline.embeddings.training_captions import captions_file
from pipeline.images.image_set import IMAGES, ImageSet, content_files, open_images
from pipeline.images.set_summary import told_of
from pipeline.splits.shared_images import write_validation_images
from pipeline.training.batches import steps_per_epoch
from pipeline.training.blocks import block_range
from pipeline.training.captions import read_captions
from pipeline.training.loggers import requested
from pipeline.training.objective import MethodInputs
from pipeline.training.recipe import Recipe
from pipeline.training.session import Finished
from pipeline.training.validation_outcome import told
from pipeline.zeroshot import text_sets
from pipeline.zeroshot.text_sets import TextSet
from pipeline.zeroshot.text_tables import DESCRIPTIONS, TEMPLATE, check_text_set


def check_surroundings() -> None:
    """Check that what evaluates the model later is there, and that the loggers asked for are known.
    Stage `names` does the former too, but it need not have been run: after the training DVC would
    miss a file. Nothing here changes what is trained, so the stage tracks none of these keys.

    Raises:
        UserError: an attack, a text set or a model of section evaluate is not, or a logger.
    """
    check_evaluated_names(DESCRIPTIONS, FINETUNED)
    requested()


class TrainingTexts(NamedTuple):
    """Unit-norm float32 features of the descriptions, (C, K, D), of the template, (C, D), of each
    of finetune.texts by name, (C, K, D), and of the images' captions, (N, D), if there are any."""

    descriptions: Tensor
    template: Tensor
    others: dict[str, Tensor]
    captions: Tensor | None


def read_texts(images: ImageSet, names: Sequence[str], captions: bool) -> TrainingTexts:
    """What fine-tuning on `images` sees of texts.

    Args:
        names: finetune.texts; captions: whether the method trains on a caption of each image.

    Raises:
        UserError: a class has none, or a file is of other texts or images.
    """
    class_ids = [class_entry.class_id for class_entry in images.classes]
    described = _read_texts(DESCRIPTIONS, class_ids, others=True)
    filled = _read_texts(TEMPLATE, class_ids, others=False)
    others = {name: _read_texts(name, class_ids, others=False).captions for name in names}
    width = described.captions.shape[-1]
    of_images = read_captions(images, width) if captions else None
    return TrainingTexts(
        torch.from_numpy(described.captions),
        torch.from_numpy(filled.class_features),
        {name: torch.from_numpy(features) for name, features in others.items()},
        None if of_images is None else torch.from_numpy(of_images),
    )


def _read_texts(name: str, class_ids: Sequence[str], others: bool) -> TextSet:
    path = text_sets.training_file(name)
    texts = text_sets.read_texts(path, class_ids, others)
    check_text_set(path, texts.name, name)
    return texts


def origins(
    recipe: Recipe, device: torch.device, ranks: Ranks, names: Sequence[str], captions: bool
) -> dict[str, str]:
    """What the weights of a training follow from, see `hash_origins`.

    Args:
        names, captions: as of `read_texts`.
    """
    model = [BASE_MODEL / name for name in (clip.CONFIG_FILE, clip.WEIGHTS_FILE)]
    texts = map(text_sets.training_file, [DESCRIPTIONS, TEMPLATE, *names])
    datasets = [recipe.dataset, *([recipe.validation.dataset] if recipe.validation else [])]
    inputs = [*chain.from_iterable(map(content_files, datasets)), *model, *texts]
    inputs += filter(None, [captions_file() if captions else None])
    values = {"recipe": recipe.as_dict(), "processes": ranks.size}
    return hash_origins(values, inputs, device)


def write_model(
    folder: Path, base: Clip, finished: Finished, title: str, recipe: Recipe, inputs: MethodInputs
) -> None:
    """An open_clip folder with the tuned weights, training.csv and recipe.json, as a whole, once
    what the training cost is kept, too.

    Args:
        title: the method's.

    Of the training set recipe.json tells what `prepare` left out of it, where it left out anything.
    Of a training with a validation set the folder has a table of its images too.
    """
    rows, images = finished.rows, finished.images
    used = {"title": title, "images": images, "steps": len(rows), **told(rows, images, recipe)}
    used |= {key: value for key, value in told_of(IMAGES / recipe.dataset).items() if value}
    with replacing_directory(folder) as out:
        clip.write_files(base.model, base.config, out)
        log = pd.DataFrame(rows).astype({"step": int})
        log.to_csv(out / "training.csv", index=False, float_format="%.6g", lineterminator="\n")
        write_json(out / RECIPE.name, recipe.as_dict() | used)
        if recipe.validation is not None:
            write_validation_images(out, open_images(recipe.validation.dataset))
        record_cost(out, base, finished, title, recipe, inputs)


def record_cost(
    folder: Path, base: Clip, finished: Finished, title: str, recipe: Recipe, inputs: MethodInputs
) -> None:
    """Keep what the training cost for the model in `folder`, and print a line on it."""
    count, steps = finished.images, finished.steps
    seen = min(steps * recipe.batch_size, recipe.epochs * count)
    layers = len(inputs.encoder.visual.transformer.resblocks)
    trained = block_range(recipe.blocks, layers)
    run = meter.Run("finetune", seen, base.config["model_cfg"], trained, inputs.ranks.size)
    per_epoch = finished.spent.seconds / steps * steps_per_epoch(count, recipe)
    training = Training(recipe.method, title, per_epoch, steps)
    device = inputs.texts.device
    meter.record(run, finished.spent, device, folder / clip.WEIGHTS_FILE, training)
