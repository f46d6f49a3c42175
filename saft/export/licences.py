"""What data sets that weights were trained on state of their terms."""

from dataclasses import dataclass

from pipeline.clip.folders import BASE, MODELS
from pipeline.common import registry
from pipeline.images.classes import CLASSES
from pipeline.models.pretraining import FOLDER
from pipeline.prepare.facts import published_facts
from saft.export.lineage import LOCK, Lock
from saft.references import PRETRAIN


@dataclass(frozen=True)
class DatasetLicence:
    """A data set that weights were trained on; title, licence and citation are None where the set
    is not a published one."""

    dataset: str
    source: str
    title: str | None
    licence: str | None
    citation: str | None


def pretrained_on(lock: Lock) -> list[str]:
    """The image set that the base model was trained on, where that happened here."""
    base = lock.params(MODELS / BASE).get(f"models.{BASE}", {})
    if base.get("source") != PRETRAIN:
        return []
    training = str(base["options"].get("training"))
    return [lock.params(FOLDER / training)[f"pretrain.{training}"]["dataset"]]


def terms_of(lock: Lock, dataset: str) -> DatasetLicence:
    """What the module of the set's source states of it."""
    spec = lock.params(CLASSES / f"{dataset}.parquet").get(f"prepare.sets.{dataset}", {})
    source = str(spec.get("source"))
    module = registry.load("pipeline.datasets", source, f"{LOCK}: prepare.sets.{dataset}.source")
    facts = published_facts(module)
    if facts is None:
        return DatasetLicence(dataset, source, None, None, None)
    return DatasetLicence(dataset, source, facts.title, facts.licence, facts.citation)
