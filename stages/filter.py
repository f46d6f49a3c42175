"""Keep the K best sentences of each class: `python -m stages.filter`.

Reads data/descriptions/descriptions.parquet and data/base_model/; writes
data/filtered/descriptions.parquet, in which dropped sentences stay visible (kept = false).
"""

import typer

from pipeline import clip
from pipeline.descriptions import DESCRIPTIONS, SCHEMA
from pipeline.device import be_deterministic, pick_device
from pipeline.filter import SCHEMA as FILTERED_SCHEMA
from pipeline.filter import FilterParams, check_counts, rank_sentences
from pipeline.params import read_section
from pipeline.paths import BASE_MODEL, FILTERED
from pipeline.tables import read_table, write_table
from stages.runner import stage


@stage("filter")
def main() -> None:
    """Rank sentences by CLIP text-text cosine with the bare class name; keep the top K."""
    params = read_section("filter", FilterParams)
    rows = read_table(DESCRIPTIONS, SCHEMA).to_pylist()
    short = check_counts(rows, params)
    device = pick_device()
    be_deterministic()
    model = clip.load(BASE_MODEL)
    names = list(dict.fromkeys(row["name"] for row in rows))
    texts = clip.encode_texts(model, [row["text"] for row in rows], device)
    anchors = dict(zip(names, clip.encode_texts(model, names, device), strict=True))
    scores = [float(text @ anchors[row["name"]]) for text, row in zip(texts, rows, strict=True)]
    columns = rank_sentences(rows, scores, params.top_k)
    write_table(FILTERED, columns, FILTERED_SCHEMA)
    kept = sum(columns["kept"])
    print(f"kept {kept} of {len(rows)} sentences; {len(short)} classes repeat a sentence")


if __name__ == "__main__":
    typer.run(main)
