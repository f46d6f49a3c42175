"""Classes and texts as the command line names them."""

from collections.abc import Sequence

from pipeline.clip.folders import FINETUNED, TRAINED_CLASSES, record_folder
from pipeline.common import names
from pipeline.common.errors import UserError
from pipeline.common.options import check_defined
from pipeline.common.params import read_section
from pipeline.embeddings.templates import EmbedParams, templates_of
from pipeline.images.classes import CLASSES, ClassEntry, read_classes, read_own_templates
from pipeline.zeroshot.text_tables import DESCRIPTIONS, KEPT, read_table_of
from saft.inference import labels
from saft.inference.labels import DEFAULT_TEMPLATE, Labels
from saft.inference.options import Request

DEFAULT = "default"  # the key of a text set for image sets that it does not name


def chosen(request: Request) -> Labels:
    """The classes and their texts. Without labels and set: the classes that fine-tuning saw.

    Raises:
        UserError: options exclude each other, or what they name is not there.
    """
    if request.labels is not None and request.dataset is not None:
        raise UserError("--labels and --set both say which classes there are; leave one out")
    if request.templates and request.texts is not None:
        raise UserError("--template and --texts both say what the texts are; leave one out")
    typed = labels.typed(request.labels.split(",")) if request.labels is not None else None
    if request.texts == DESCRIPTIONS:
        return _described(typed or _classes(request.dataset))
    classes = typed or _classes(request.dataset)
    if request.texts is None:
        return labels.filled(classes, request.templates or [DEFAULT_TEMPLATE])
    return labels.filled(classes, _templates(request.texts, request.dataset), request.texts)


def _classes(dataset: str | None) -> list[ClassEntry]:
    if dataset is not None:
        names.check([dataset], "--set")
        return read_classes(dataset, CLASSES)
    file = record_folder(FINETUNED) / f"{TRAINED_CLASSES}.parquet"
    if not file.is_file():
        raise UserError(f"name the classes, --labels 'cat,dog': {file}, the default, is not there")
    return read_classes(TRAINED_CLASSES, file.parent)


def _templates(texts: str, dataset: str | None) -> list[str]:
    """Those of a text set of params.yaml: its own for the image set, or `default`."""
    sets = read_section("embed", EmbedParams).texts
    check_defined([texts], [*sets, DESCRIPTIONS], "embed.texts")
    source_templates = read_own_templates(dataset) if dataset is not None else []
    return templates_of(texts, dataset or DEFAULT, sets[texts], source_templates)


def _described(classes: Sequence[ClassEntry]) -> Labels:
    """Classes with the descriptions that the filter kept; names that people typed are looked up
    among the classes that fine-tuning saw."""
    table = read_table_of(KEPT)
    known = set(table.class_ids)
    if not all(entry.class_id in known for entry in classes):
        trained = _classes(None)
        rows = [labels.position(entry.class_id, trained) for entry in classes]
        classes = [trained[row] for row in rows]
    texts: dict[str, list[str]] = {}
    for class_id, text in zip(table.class_ids, table.texts, strict=True):
        texts.setdefault(class_id, []).append(text)
    return labels.described(classes, texts)
