"""Models and radii that are added one by one, by the real dvc on the tiny profile."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from pipeline.clip.folders import clip_folder
from pipeline.results.files import CHECKS, METRICS, evaluation_folder
from pipeline.zeroshot.text_sets import folder_of
from tests.support.project import SETS, make, run, stages_run

PREPARED = {"prepare@pairs", "prepare@shapes-held-out", "prepare@digits"}
CLASSES = {"checked_classes@shapes-held-out", *(f"classes@{name}" for name in SETS)}


class Project(NamedTuple):
    """folder; outputs: of `dvc repro` after each change of params.yaml; kept: what lay in
    .scratch/clean after each of them, name -> time of the last change."""

    folder: Path
    outputs: dict[str, str]
    kept: dict[str, dict[str, int]]


def write_params(folder: Path, models: list[str], epsilons: list[int]) -> None:
    """Evaluate `models`, of which `copy` is a folder below data/raw, under one attack."""
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text())
    local: dict[str, Any] = {"source": "local", "options": {"path": "copy"}, "defended": False}
    values["models"]["copy"] = local | {"licence": "MIT", "citation": None}
    values["evaluate"].update(models=models, epsilons_255=epsilons, attacks=["pgd"])
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """First base alone, then a copy of it beside it, then a second radius."""
    made = Project(make(tmp_path_factory.mktemp("models")), {}, {})
    folder = made.folder

    def repro(step: str, models: list[str], epsilons: list[int]) -> None:
        write_params(folder, models, epsilons)
        made.outputs[step] = run(folder, "dvc", "repro")
        clean = (folder / ".scratch/clean").iterdir()
        made.kept[step] = {file.name: file.stat().st_mtime_ns for file in clean}

    repro("base", ["base"], [4])
    shutil.copytree(folder / clip_folder("base"), folder / "data/raw/copy")
    repro("copy", ["base", "copy"], [4])
    repro("radius", ["base", "copy"], [4, 2])
    return made


def evaluated(radius: int, model: str) -> set[str]:
    return {f"evaluate@{name}-pgd-template-{radius}-{model}" for name in SETS}


def test_a_list_without_finetuned_neither_describes_nor_trains(project: Project) -> None:
    """Nor is the set prepared that only they use."""
    assert stages_run(project.outputs["base"]) == PREPARED | CLASSES | evaluated(4, "base") | {
        "names", "pretrain@small", "model@base", "texts@template",
        "embed@base-template", "about@base", "check@shapes-held-out-base", "report",
    }  # fmt: skip
    unused = ("descriptions", "filtered", "training_embeddings", "models/finetuned")
    for name in (*unused, "images/shapes-train"):
        assert not (project.folder / "data" / name).exists()


def test_an_added_model_runs_its_own_stages_alone(project: Project) -> None:
    assert stages_run(project.outputs["copy"]) == evaluated(4, "copy") | {
        "names", "model@copy", "embed@copy-template", "about@copy", "check@shapes-held-out-copy",
        "report",
    }  # fmt: skip


def test_a_text_tower_encodes_a_text_once_whatever_model_it_is_of(project: Project) -> None:
    line = re.compile(r"(\w+): (\d+) texts of 'template' for 2 sets, (\d+) encoded")
    [(model, texts, encoded)] = line.findall(project.outputs["base"])
    assert (model, encoded) == ("base", texts)
    assert int(texts) > 0
    assert line.findall(project.outputs["copy"]) == [("copy", texts, "0")]
    assert line.findall(project.outputs["radius"]) == []
    for name in SETS:
        files = [
            project.folder / folder_of(model, "template") / f"texts/{name}.parquet"
            for model in ("base", "copy")
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_copy_has_the_verdicts_of_its_original(project: Project) -> None:
    for name in SETS:
        tables = [
            pq.read_table(
                project.folder / evaluation_folder(name, "template", "pgd", 4, model)
                / "predictions.parquet"
            ).drop_columns(["model"])
            for model in ("base", "copy")
        ]  # fmt: skip
        assert tables[0] == tables[1]
    metrics = json.loads((project.folder / METRICS).read_text())["datasets"]
    assert set(metrics) == set(SETS)
    for name in SETS:
        assert metrics[name]["base"] == metrics[name]["copy"]


def test_a_second_radius_attacks_again_and_classifies_nothing_again(project: Project) -> None:
    ran = stages_run(project.outputs["radius"])
    assert ran == {"names", "report"} | evaluated(2, "base") | evaluated(2, "copy")
    # equal weights classify once: one file for each set
    assert len(project.kept["base"]) == len(SETS)
    assert project.kept["base"] == project.kept["copy"] == project.kept["radius"]
    checks = (project.folder / CHECKS).rglob("*.json")
    assert [json.loads(file.read_text())["epsilon_255"] for file in checks] == [4, 4]
