"""Clean the descriptions and keep the K best of each class: `python -m stages.filter`.

Reads data/descriptions/descriptions.parquet, the class table and data/models/base/clip/, with
`filter.reference: image` also the training images; writes data/filtered/descriptions.parquet,
in which every dropped sentence stays visible with its reason, and the kept ones as a text set.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.atomic import replacing_file
from pipeline.common.params import read_section, read_value
from pipeline.descriptions.artifact import DESCRIPTIONS, read_artifact
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering import filter as filtering
from pipeline.filtering.image_features import image_references
from pipeline.filtering.summary import summary
from pipeline.filtering.table import FILTERED, SCHEMA, write_filtered
from pipeline.images.classes import read_classes
from pipeline.zeroshot.text_tables import KEPT, kept_descriptions, write_texts
from stages.runner import stage


@stage("filter")
def main() -> None:
    """Clean the sentences, score them against their class's reference, keep the top K."""
    params = read_section("filter", filtering.FilterParams)
    dataset = read_value("describe.dataset", str)
    sentences = read_artifact(DESCRIPTIONS, classes := read_classes(dataset))
    device, model = deterministic_device(), clip.load(BASE_MODEL)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return encode_texts(model, list(texts), device).numpy()

    counting = partial(count_tokens, tokenizer=model.tokenize)
    rows = filtering.clean_rows(sentences, classes, params, model.tokenize.context_length, counting)
    names = filtering.reference_names(classes, params)
    if params.reference == "image":
        references = image_references(model, dataset, params.images_per_class, device)
    else:
        references = encode(names)
    features = filtering.score_rows(rows, classes, references, names, encode, params.rank_by)
    table, short = filtering.keep_top_k(rows, features, classes, params)
    columns = {name: [row[name] for row in table] for name in SCHEMA.names}
    with replacing_file(FILTERED) as every, replacing_file(KEPT) as kept:
        write_filtered(every, columns)
        write_texts(kept, kept_descriptions(table))
        print(summary(columns, short, len(classes)), flush=True)


if __name__ == "__main__":
    typer.run(main)
