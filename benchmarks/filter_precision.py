"""What each rule of the filter keeps of labelled sentences of a real model, and of planted ones.

    python -m benchmarks.filter_precision --clip data/models/base/clip \
        --images data/raw/tiny-imagenet-200/train

Every class is cleaned and ranked as the filter does it, with `filter.top_k` and `filter.cleaning`
of params.yaml; the sentences that nobody labelled take their slots too, and are not counted. No
rule has a constant that was fitted to the labels.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks import labelled, planted
from benchmarks.filter_figures import Estimate, Figures, Judged, figures
from benchmarks.filter_runs import Bench, drawn_features, photograph_features, ranked
from benchmarks.labelled import Corpus, Sentence
from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.atomic import replacing_file
from pipeline.common.params import read_section
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.filter import FilterParams
from pipeline.report.labels import LABEL_NAMES, TRUE
from stages.runner import stage


def of_labels(
    corpora: Sequence[Corpus], bench: Bench, images: np.ndarray | None
) -> dict[str, dict[str, Figures]]:
    """kind -> rule -> figures over the labelled sentences of the corpora."""
    runs = [(corpus.sentences, ranked(corpus, bench, images)) for corpus in corpora]
    everything = LABEL_NAMES
    kinds = {
        "true": (TRUE, everything),
        "true / false": (TRUE, TRUE | {labelled.FALSE}),
        "true / off topic": (TRUE, TRUE | {labelled.OFF_TOPIC}),
        "visual": (frozenset({labelled.VISUAL}), everything),
    }
    return {kind: _figures(runs, good, counted) for kind, (good, counted) in kinds.items()}


def of_planted(
    corpora: Sequence[Corpus], bench: Bench, images: np.ndarray | None
) -> dict[str, dict[str, Figures]]:
    """kind -> rule -> figures over the true and visual sentences and those planted among them."""
    result = {}
    for kind in (planted.HARD, planted.EDIT):
        runs = []
        for corpus in corpora:
            grown = corpus._replace(sentences=corpus.sentences + _planted(kind, corpus, bench))
            runs.append((grown.sentences, ranked(grown, bench, images)))
        labels = {sentence.label for sentences, _ in runs for sentence in sentences}
        planted_labels = sorted(label for label in labels if label and label.startswith(kind))
        visual = frozenset({labelled.VISUAL})
        result[kind] = _figures(runs, visual, visual.union(planted_labels))
        if len(planted_labels) > 1:
            for label in planted_labels:
                result[label] = _figures(runs, visual, visual | {label})
    return result


def _planted(kind: str, corpus: Corpus, bench: Bench) -> list[Sentence]:
    if kind == planted.EDIT:
        return planted.attribute_edits(corpus)
    name_features = bench.encode([entry.name for entry in corpus.classes])
    return planted.hard_negatives(corpus, name_features)


def _figures(
    runs: Sequence[tuple[Sequence[Sentence], Mapping[str, Sequence[Judged]]]],
    good: frozenset[str],
    counted: frozenset[str],
) -> dict[str, Figures]:
    rules = list(runs[0][1])
    return {
        rule: figures(
            [
                # what cupl says of a class competes with cupl's sentences only
                judged._replace(good=sentence.label in good)
                for sentences, by_rule in runs
                for sentence, judged in zip(sentences, by_rule[rule], strict=True)
                if sentence.label in counted
            ]
        )
        for rule in rules
    }


def as_text(results: Mapping[str, Mapping[str, Mapping[str, Figures]]]) -> str:
    """Markdown: a table for every corpus, a row for every rule and kind."""
    lines: list[str] = []
    for corpus, kinds in results.items():
        lines += [
            f"\n{corpus}\n",
            "| kind | rule | precision | recall | chance | AUC | AUC, all | pairs |",
        ]
        lines.append("|---|---|---|---|---|---|---|---|")
        for kind, rules in kinds.items():
            lines += [
                f"| {kind} | `{rule}` | {' | '.join(_cells(row))} |" for rule, row in rules.items()
            ]
    return "\n".join(lines)


def as_json(results: Mapping[str, Mapping[str, Mapping[str, Figures]]]) -> str:
    """One estimate a line: [corpus, kind, rule, figure, value, low, high, count], null for what
    there is not."""
    lines = []
    for corpus, kinds in results.items():
        for kind, rules in kinds.items():
            for rule, row in rules.items():
                for name, estimate in row._asdict().items():
                    numbers = [None if np.isnan(n) else round(n, 4) for n in estimate]
                    lines.append(json.dumps([corpus, kind, rule, name, *numbers]))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _cells(row: Figures) -> Iterator[str]:
    for name, estimate in row._asdict().items():
        yield _percent(estimate, points=name != "chance")


def _percent(estimate: Estimate, points: bool) -> str:
    if not estimate.count:
        return "–"
    value, low, high = (f"{100 * number:.0f}" for number in estimate[:3])
    return f"{value} ({low}–{high}), {estimate.count}" if points else value


@stage("filter_precision")
def main(
    clip_folder: Annotated[Path, typer.Option("--clip", help="an open_clip folder")],
    images: Annotated[Path | None, typer.Option(help="Tiny-ImageNet's train/, for `image`")] = None,
    doubtful: Annotated[bool, typer.Option(help="count sentences marked doubtful")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write JSON here")] = None,
) -> None:
    """Print the figures of every rule; in brackets 95 % intervals by a bootstrap over classes."""
    device = deterministic_device()
    model = clip.load(clip_folder)

    @cache
    def encoded(texts: tuple[str, ...]) -> np.ndarray:
        return encode_texts(model, list(texts), device).numpy()

    params = read_section("filter", FilterParams)
    counting = partial(count_tokens, tokenizer=model.tokenize)
    bench = Bench(model, params, lambda texts: encoded(tuple(texts)), counting)
    photographed, drawn = labelled.photographed_classes(), labelled.drawn_classes()
    real = [labelled.labelled_corpus(name, photographed, doubtful) for name in ("saft-m", "cupl")]
    photographs = photograph_features(bench, images, photographed, device) if images else None
    drawings = drawn_features(bench, device)
    visual = labelled.labelled_corpus("visual", drawn, doubtful)
    bundled = labelled.bundled_corpus()
    results = {
        "A real model on Tiny-ImageNet's classes": of_labels(real, bench, photographs)
        | of_planted(real, bench, photographs),
        "A real model on the demo's classes": of_labels([visual], bench, drawings),
        "The demo's own descriptions": of_planted([bundled], bench, drawings),
    }
    print(as_text(results))
    if json_file:
        with replacing_file(json_file) as partial_file:
            partial_file.write_text(as_json(results), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
