"""The figures of saft.descriptions.datasheet as plain lines of at most 80 columns."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from saft.descriptions.wording import counted

WIDTH, INDENT, HANG = 80, 24, 9  # HANG: a number of seven digits and two blanks
LISTED = 10  # of a long list; the JSON object has all
PROMPTS = 20
RULES = ("min_words", "near_duplicate", "too_long", "several_sentences", "needs_name", "context")
# Provenance: what a reader asks first; the other keys follow by name, inputs of a merge last.
FIRST = (
    *("backend", "model", "revision", "commit", "file", "classes", "sentences", "sha256"),
    *("prompts", "prompts_version", "prompts_sha256", "exemplars_per_class"),
    *("confusions", "confusions_per_class", "confusions_sha256", "seed"),
    *("sampling", "counts"),
)


def lines(figures: Mapping[str, Any]) -> list[str]:
    """The whole datasheet, with the table of classes where `figures` has it."""
    sections = {
        "Origin": _origin(figures["provenance"]),
        "Coverage": _coverage(figures["coverage"], figures["class_table"]),
        "Sentences": _sentences(figures),
        "Lengths": _lengths(figures),
        "Duplicates": _duplicates(figures["duplicates"], figures["cleaning"]["near_duplicate"]),
        "Wording": _block([(key, _number(n, text)) for key, n, text in counted(figures)]),
        "Cleaning": _cleaning(figures["cleaning"], figures["sentences"]["total"]),
        "Filter": _filter(figures["filter"]),
        "Classes": _classes(figures.get("classes", [])),
    }
    page = [figures["file"]]
    for heading, body in sections.items():
        page += ["", heading, *body] if body else []
    return page


def facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, text) of everything in provenance.json that says something; a list of objects,
    as `saft descriptions merge` writes, becomes a numbered block each."""
    pairs: list[tuple[str, str]] = []
    order = {key: number for number, key in enumerate(FIRST)}
    nested = ("provenance", "merged")
    for key in sorted(provenance, key=lambda k: (k in nested, order.get(k, len(FIRST)), k)):
        value, label = provenance[key], key.replace("_", " ")
        if key == "provenance" and isinstance(value, dict):
            pairs += facts(value)
        elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            for number, inner in enumerate(value, start=1):
                pairs.append((f"{label} {number}", ""))
                pairs += [(f"  {name}", text) for name, text in facts(inner)]
        elif value is not None and value != {}:
            pairs.append((label, _text(value)))
    return pairs


def listing(names: Sequence[str]) -> str:
    """Up to ten names, then how many there are."""
    more = f", ... ({len(names)} in all)" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _text(value: Any) -> str:
    if isinstance(value, dict):
        known = {key.replace("_", " "): inner for key, inner in value.items() if inner is not None}
        return ", ".join(f"{key} {_text(inner)}" for key, inner in known.items())
    if isinstance(value, list):
        return listing([_text(inner) for inner in value]) or "none"
    text = str(value)
    digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return f"{text[:12]}..." if digest else text


def _labelled(label: str, text: str) -> list[str]:
    """A label and what it is, wrapped under itself, or under what follows its number."""
    start = f"  {label}"
    start = start.ljust(INDENT) if len(start) < INDENT else f"{start}  "
    hang = " " * (INDENT + HANG if text.startswith(" ") else INDENT)
    wrapped = textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=hang, break_on_hyphens=False
    )
    return wrapped or [start.rstrip()]


def _number(count: int, text: str = "") -> str:
    return f"{count:>7}  {text}".rstrip()


def _block(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [line for label, text in pairs for line in _labelled(label, text)]


def _quoted(sentence: str, most: int = 100) -> str:
    plain = "".join(c if c.isprintable() else " " for c in sentence)
    return f'"{textwrap.shorten(plain, most, placeholder=" ...")}"'


def _origin(provenance: Mapping[str, Any] | None) -> list[str]:
    if provenance is None:
        return _labelled("unknown", "there is no provenance.json beside the Parquet file")
    return _block(facts(provenance)) or _labelled("unknown", "provenance.json says nothing")


def _coverage(coverage: Mapping[str, Any], table: str | None) -> list[str]:
    if table is None:
        return _labelled("described", f"{coverage['described']}; no class table to compare with")
    pairs = [("described", f"{coverage['described']} of {coverage['of']} classes of {table}")]
    for key, label in (("missing", "without a sentence"), ("unknown", "not in the table")):
        if coverage[key]:
            pairs.append((label, listing(coverage[key])))
    return _block(pairs)


def _per_class(counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    spread = counts["per_class"]
    if spread["min"] == spread["max"]:
        return [("per class", f"{spread['min']} in each")]
    text = f"{spread['min']} to {spread['max']}, median {spread['median']:g}"
    return [("per class", text), (f"fewest ({spread['min']})", listing(counts["fewest"]))]


def _sentences(figures: Mapping[str, Any]) -> list[str]:
    pairs = [("in all", str(figures["sentences"]["total"])), *_per_class(figures["sentences"])]
    for label, key in (("by prompt", "prompts"), ("by source", "sources")):
        counts = figures[key]
        for number, row in enumerate(counts[:PROMPTS]):
            parts = [row[name] for name in ("prompt_set", "prompt_id", "source") if name in row]
            name = " / ".join(filter(None, parts)) or "(nobody was asked)"
            pairs.append(("" if number else label, _number(row["sentences"], name)))
        if len(counts) > PROMPTS:
            pairs.append(("", " " * HANG + f"... ({len(counts)} in all)"))
    if captions := figures["captions"]:
        remark = f"of {captions['images']} images of {captions['classes']} classes"
        pairs.append(("captions", _number(captions["sentences"], remark)))
    return _block(pairs)


def _lengths(figures: Mapping[str, Any]) -> list[str]:
    lines = [" " * INDENT + "    min  median    95 %     max"]
    for key in ("words", "tokens"):
        spread = figures[key]
        numbers = [spread["min"], spread["median"], spread["p95"], spread["max"]]
        lines.append(f"  {key}".ljust(INDENT) + " ".join(f"{number:>7g}" for number in numbers))
    context, tokens = figures["cleaning"]["context"], figures["tokens"]
    lines += _labelled("over 77 tokens", _number(tokens["over_77"], "sentences"))
    if context != 77:
        remark = f"sentences; the base model reads {context}"
        lines += _labelled(f"over {context} tokens", _number(tokens["over_context"], remark))
    return lines


def _duplicates(counts: Mapping[str, Any], threshold: float) -> list[str]:
    alike = "but for case and punctuation" if threshold == 1 else f"or at least {threshold:g} alike"
    shared = counts["shared"]
    spans = f", {shared['classes']} classes in all" if shared["sentences"] else ""
    pairs = [
        ("exact", _number(counts["exact"], "equal to an earlier one of the class")),
        ("near", _number(counts["near"], f"others, equal {alike}")),
        ("between classes", _number(shared["sentences"], f"stand in several classes{spans}")),
    ]
    for example in shared["examples"]:
        where = f"{len(example['classes'])} classes: {listing(example['classes'][:3])}"
        more = ", ..." if len(example["classes"]) > 3 else ""
        pairs.append(("", f"{' ' * HANG}{_quoted(example['sentence'])} in {where}{more}"))
    return _block(pairs)


def _cleaning(cleaning: Mapping[str, Any], total: int) -> list[str]:
    rules = {key: cleaning[key] for key in RULES if cleaning[key] != "keep"}
    dropped = sum(figures["sentences"] for figures in cleaning["dropped"].values())
    pairs = [
        ("rules", f"{_text(rules)} ({cleaning['rules_from']})"),
        ("would drop", _number(dropped, f"of {total} sentences")),
    ]
    for reason, figures in cleaning["dropped"].items():
        first = figures["example"]
        example = f"{first['class_id']}: {_quoted(first['sentence'], 80)}"
        pairs.append((f"  {reason}", _number(figures["sentences"], example)))
    pairs.append(("would shorten", _number(cleaning["shortened"])))
    pairs += [(f"{label} left", text) for label, text in _per_class(cleaning["left"])]
    return _block(pairs)


def _filter(counts: Mapping[str, Any] | None) -> list[str]:
    if counts is None:
        return []
    filled = f"{counts['filled']} of them to fill up short classes" if counts["filled"] else ""
    pairs = [("kept", _number(counts["kept"], filled))]
    pairs += [(f"dropped: {key}", _number(count)) for key, count in counts["dropped"].items()]
    if not counts["current"]:
        again = "`dvc repro stages/dvc.yaml:filter` makes it again"
        pairs.append(("note", f"made from another artifact; {again}"))
    return _block(pairs)


def _classes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per class; the numbers come first, for names may be long."""
    ids = max([len("class id"), *(len(row["class_id"]) for row in rows)])
    lines = [f"  sentences  clean  {'tokens':>9}  {'class id':{ids}}  name"]
    for row in rows:
        counts = f"{row['sentences']:>11}  {row['clean']:>5}"
        tokens = f"{row['min_tokens']} to {row['max_tokens']}" if row["sentences"] else "-"
        lines.append(f"{counts}  {tokens:>9}  {row['class_id']:{ids}}  {row['name']}")
    return lines if rows else []
