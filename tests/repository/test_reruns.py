"""What an edit re-runs: for one file of every package, the stages that depend on it.

By DVC's own list of dependencies, and for three of the files by an edit and `dvc status`.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.dvc_stages import STAGES
from tests.support.project import make, run

# stages whose code changed with a file; what follows from changed outputs runs too
# the tiny profile describes without exemplar images or confusable classes
EVERY = set(STAGES) - {"exemplars", "confusions", "image_confusions"}
READS_PIXELS = {"prepare", "pretrain", "model", "filter", "finetune", "evaluate", "check"}
READS_CLASSES = READS_PIXELS | {
    "names", "classes", "checked_classes", "describe", "texts", "embed", "embed_training", "record",
    "report",
}  # fmt: skip
LOADS_MODEL = READS_PIXELS - {"prepare"} | {"embed", "embed_training", "record"}
READS_TEXTS = {"embed", "embed_training", "finetune", "evaluate", "check"}
CASES = {
    "pipeline/common/atomic.py": EVERY,
    "pipeline/images/decoding.py": READS_PIXELS,
    "pipeline/images/classes.py": READS_CLASSES,
    "pipeline/clip/model.py": LOADS_MODEL,
    "pipeline/clip/folders.py": LOADS_MODEL | {"names", "about", "report"},
    "pipeline/prepare/pack.py": {"prepare"},
    "pipeline/models/hub.py": {"pretrain", "model"},
    "pipeline/clip/about.py": LOADS_MODEL | {"report"},
    "pipeline/descriptions/prompts.py": {"describe", "filter"},
    "pipeline/descriptions/confusions.py": {"names", "describe", "filter"},
    "pipeline/filtering/similarity.py": {"filter"},
    "pipeline/descriptions/sources.py": {"describe", "filter", "report"},
    "pipeline/zeroshot/text_sets.py": READS_TEXTS,
    "pipeline/zeroshot/text_tables.py": READS_TEXTS | {"names", "filter", "texts", "report"},
    "pipeline/distributed/orphans.py": {"finetune", "evaluate", "check"},
    "pipeline/results/files.py": {"evaluate", "check", "report"},
    "pipeline/filtering/table.py": {"filter", "report"},
    "pipeline/embeddings/templates.py": {"texts", "embed", "embed_training"},
    "pipeline/embeddings/encoded.py": {"embed", "embed_training"},
    "pipeline/embeddings/training_captions.py": {"embed", "embed_training", "finetune"},
    "pipeline/zeroshot/pgd_step.py": READS_TEXTS,
    "pipeline/cost/energy.py": {"finetune", "evaluate", "check"},
    "pipeline/distributed/ranks.py": {"finetune"},
    "pipeline/splits/shared_images.py": {"finetune", "evaluate", "check"},
    "pipeline/training/loop.py": {"finetune"},
    "pipeline/evaluation/slots.py": {"evaluate", "check"},
    "pipeline/results/accuracy.py": {"report"},
    "pipeline/soundness/measure.py": {"check"},
    "pipeline/soundness/checks.py": {"report"},
    "pipeline/soundness/measurements.py": {"report"},
    "pipeline/report/page.py": {"report"},
    "stages/runner.py": EVERY,
    "stages/filter.py": {"filter"},
    "saft/schema.py": set(),
    # plug-ins: those that params.yaml chooses, and others
    "pipeline/datasets/shapes.py": {"prepare"},
    "pipeline/datasets/cifar10.py": set(),
    "pipeline/model_sources/pretrain.py": {"model"},
    "pipeline/model_sources/local.py": set(),
    "pipeline/backends/bundled.py": {"describe"},
    "pipeline/backends/vllm.py": set(),
    "pipeline/methods/saft.py": {"finetune"},
    "pipeline/methods/fare.py": set(),
    "pipeline/attacks/pgd.py": {"evaluate"},
    "pipeline/attacks/fgsm.py": set(),
}


# stage, path; the dependencies of all stages, then the outputs
PATHS = """
from dvc.repo import Repo
for stage in Repo().index.stages:
    for kind, paths in (("dep", stage.deps), ("out", stage.outs)):
        for path in paths:
            print(stage.addressing, kind, path.def_path)
"""
ASKED = ("pipeline/results/accuracy.py", "stages/filter.py", "pipeline/attacks/fgsm.py")


class Project(NamedTuple):
    """folder: of a project whose two locks are up to date; paths: lines of stage, kind, path."""

    folder: Path
    paths: list[tuple[str, str, str]]

    def stale(self, file: str) -> dict[str, set[str]]:
        """Stage name, without file and item -> its dependencies that hold `file`."""
        result: dict[str, set[str]] = {}
        for stage, kind, path in self.paths:
            if kind == "dep" and Path(file).is_relative_to(path):
                result.setdefault(plain(stage), set()).add(path)
        return result


def plain(stage: str) -> str:
    return stage.rpartition(":")[2].partition("@")[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Made-up outputs stand for computed ones."""
    folder = make(tmp_path_factory.mktemp("reruns"))
    lines = run(folder, sys.executable, "-c", PATHS).splitlines()
    project = Project(folder, [(s, k, p) for s, k, p in (line.split() for line in lines)])
    for name in sorted({path for _, _, path in project.paths}):
        path = folder / name
        if not path.exists():
            # an output without a suffix is a folder, with what other stages read from it
            file = path if path.suffix else path / "made-up"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
    run(folder, "dvc", "commit", "--force")
    assert changed(folder) == {}
    return project


def changed(folder: Path) -> dict[str, set[str]]:
    """The same by `dvc status`: stage name -> dependencies that are not as the lock has them."""
    result: dict[str, set[str]] = {}
    for stage, entries in json.loads(run(folder, "dvc", "status", "--json")).items():
        for section in entries:
            if isinstance(section, dict):
                result.setdefault(plain(stage), set()).update(section.get("changed deps", ()))
    return result


def test_the_cases_cover_every_package(finished):
    packages = {path.parent.name for path in (finished.folder / "pipeline").glob("*/*.py")}
    assert {Path(file).parent.name for file in CASES} == packages | {"stages", "saft"}


@pytest.mark.parametrize("file", CASES)
def test_an_edit_makes_these_stages_stale_and_no_other(finished, file):
    assert (finished.folder / file).is_file()
    assert set(finished.stale(file)) == CASES[file]


@pytest.mark.parametrize("file", ASKED)
def test_dvc_says_the_same(finished, file):
    path = finished.folder / file
    original = path.read_text()
    try:
        path.write_text(original + "\n# edited\n")
        assert changed(finished.folder) == finished.stale(file)
    finally:
        path.write_text(original)
