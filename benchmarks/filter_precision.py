"""What each rule of the filter keeps of labelled sentences of a real model, and of planted ones.

    python -m benchmarks.filter_precision --clip data/models/base/clip \
        --images data/raw/tiny-imagenet-200/train

Every class is cleaned and ranked as the filter does it, with `filter.top_k` and `filter.cleaning`
of params.yaml; the sentences that nobody labelled take their slots too, and are not counted. No
rule has a constant that was fitted to the labels.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

ByRule = Mapping[str, Figures]
Results = Mapping[str, Mapping[str, ByRule]]  # corpus -> kind -> rule
FEW = 100  # planted sentences of a kind that are not told of on their own


def of_labels(
    corpora: Sequence[Corpus], bench: Bench, images: np.ndarray | None
) -> dict[str, ByRule]:
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
) -> dict[str, ByRule]:
    """kind -> rule -> figures over the true and visual sentences and those planted among them."""
    result: dict[str, ByRule] = {}
    for kind in (planted.HARD, planted.EDIT):
        runs = []
        for corpus in corpora:
            grown = corpus._replace(sentences=corpus.sentences + _planted(kind, corpus, bench))
            runs.append((grown.sentences, ranked(grown, bench, images)))
        counts = Counter(s.label for sentences, _ in runs for s in sentences if s.label)
        planted_labels = [label for label in sorted(counts) if label.startswith(kind)]
        visual = frozenset({labelled.VISUAL})
        result[kind] = _figures(runs, visual, visual.union(planted_labels))
        if len(planted_labels) > 1:
            for label in planted_labels:
                if counts[label] >= FEW:
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
) -> ByRule:
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


def as_text(results: Results) -> str:
    """Markdown, in percent with 95 % intervals: for every corpus what is kept, and the AUC, a
    column for every kind and a row for every rule."""
    lines: list[str] = []
    for corpus, kinds in results.items():
        chances = {kind: next(iter(rules.values())).chance.value for kind, rules in kinds.items()}
        heads = [f"{kind}, chance {100 * chance:.0f}" for kind, chance in chances.items()]
        lines += [f"\n{corpus}: precision at K, less chance, recall\n", *_head(heads)]
        lines += _rows(kinds, _kept)
        counts = {kind: next(iter(rules.values())).auc.count for kind, rules in kinds.items()}
        heads = [f"{kind}, {count} pairs" for kind, count in counts.items()]
        lines += [f"\n{corpus}: AUC within the classes\n", *_head(heads)]
        lines += _rows(kinds, lambda row: _percent(row.auc))
    return "\n".join(lines)


def _head(columns: Sequence[str]) -> list[str]:
    return [f"| rule | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]


def _rows(kinds: Mapping[str, ByRule], cell: Callable[[Figures], str]) -> list[str]:
    rules = next(iter(kinds.values()))
    return [
        f"| `{rule}` | {' | '.join(cell(by_rule[rule]) for by_rule in kinds.values())} |"
        for rule in rules
    ]


def _kept(row: Figures) -> str:
    value, low, high = (f"{100 * number:+.0f}" for number in row.gain[:3])
    gain = f"{value} ({low} to {high})".replace("-", "−")
    return f"{100 * row.precision.value:.0f}; {gain}; {100 * row.recall.value:.0f}"


def _percent(estimate: Estimate) -> str:
    value, low, high = (f"{100 * number:.0f}" for number in estimate[:3])
    return f"{value} ({low}–{high})" if estimate.count else "–"


def as_json(results: Results) -> str:
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
        "Photographed classes, a real model": of_labels(real, bench, photographs)
        | of_planted(real, bench, photographs),
        "Drawn classes, a real model": of_labels([visual], bench, drawings),
        "Drawn classes, the demo's descriptions": of_planted([bundled], bench, drawings),
    }
    print(as_text(results))
    if json_file:
        with replacing_file(json_file) as partial_file:
            partial_file.write_text(as_json(results), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
