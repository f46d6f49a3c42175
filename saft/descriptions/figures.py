"""The figures that `saft descriptions show` prints: an artifact's datasheet, with what the current
project adds: its class table, its cleaning rules, its base model's context, its filter's table."""

from pathlib import Path
from typing import Any

from pipeline.clip.config import CONFIG_FILE, text_context
from pipeline.clip.folders import BASE_MODEL
from pipeline.common.params import PARAMS_FILE, read_section, read_value
from pipeline.common.tables import read_table
from pipeline.descriptions.artifact import DESCRIPTIONS
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.cleaning import CleaningParams
from pipeline.filtering.table import FILTERED, filtered_faults
from pipeline.filtering.table import SCHEMA as FILTERED_SCHEMA
from pipeline.images.classes import CLASSES, ClassEntry, read_classes
from saft.descriptions import datasheet
from saft.descriptions.artifacts import read


def collect(path: Path) -> dict[str, Any]:
    """What `show` prints of the artifact at `path`, as plain values.

    Raises:
        UserError: the artifact, params.yaml, the class table, the base model's config or
            the filter's table is missing or malformed.
    """
    artifact = read(path)
    table, classes = project_classes()
    cleaning, rules_from = datasheet.DEFAULT_CLEANING, "defaults"
    if PARAMS_FILE.exists():
        cleaning, rules_from = read_section("filter.cleaning", CleaningParams), str(PARAMS_FILE)
    figures = datasheet.datasheet(artifact.class_rows, classes, cleaning, _context(), count_tokens)
    figures["cleaning"]["rules_from"] = rules_from
    about = {"file": str(artifact.path), "provenance": artifact.provenance, "class_table": table}
    return about | figures | {"filter": _filtered(artifact.path, figures["sentences"]["total"])}


def project_classes() -> tuple[str | None, list[ClassEntry] | None]:
    """The class table that is described in this project, file and content, if there is one."""
    if not PARAMS_FILE.exists():
        return None, None
    dataset = read_value("describe.dataset", str)
    path = CLASSES / f"{dataset}.parquet"
    return (str(path), read_classes(dataset)) if path.exists() else (None, None)


def _context() -> int:
    """The base model's, where there is one; 77 is also open_clip's default."""
    known = (BASE_MODEL / CONFIG_FILE).exists()
    return (text_context(BASE_MODEL) if known else None) or datasheet.CONTEXT


def _filtered(path: Path, sentences: int) -> dict[str, Any] | None:
    """What the filter did with the project's artifact; None: `path` is another, or none ran."""
    if path.resolve() != DESCRIPTIONS.resolve() or not FILTERED.exists():
        return None
    return datasheet.filtered(
        read_table(FILTERED, FILTERED_SCHEMA, filtered_faults).to_pylist(), sentences
    )
