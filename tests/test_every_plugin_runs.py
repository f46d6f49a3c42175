"""Every method trains and every attack runs, by the real dvc, on the tiny profile."""

import json
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline import registry
from tests.project import make, run

SET = "shapes-held-out"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one image set, fine-tuned, and evaluated under every attack and text set."""
    folder = make(tmp_path_factory.mktemp("plugins"))
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text())
    values["finetune"]["epochs"] = 1
    values["evaluate"].update(
        datasets=[SET], images=4, attacks=registry.names("pipeline.attacks"),
        texts=["template", "unseen"],
    )  # fmt: skip
    values["evaluate"]["checks"]["datasets"] = []
    del values["prepare"]["digits"]
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)
    run(folder, "dvc", "repro")
    return folder


def test_every_attack_left_its_verdicts_under_every_text_set(project: Path) -> None:
    titles = set()
    for texts in ("template", "unseen"):
        for attack in registry.names("pipeline.attacks"):
            folder = project / "data/evaluation" / SET / texts / attack
            found = json.loads((folder / "metrics.json").read_text())
            assert found["attack"] == attack
            assert found["texts"]["name"] == found["attacker"]["name"] == texts
            assert len(pd.read_parquet(folder / "predictions.parquet")) == 2 * 4
            titles.add(found["title"])
    assert len(titles) == len(registry.names("pipeline.attacks")), "each names its attack set"
    page = (project / "reports/report.html").read_text()
    assert all(title in page for title in titles)
    assert "With other texts" in page


def test_every_method_trains(project: Path) -> None:
    weights = set()
    for method in registry.names("pipeline.methods"):
        run(project, "dvc", "exp", "run", "-S", f"finetune.method={method}", "finetune")
        recipe = json.loads((project / "data/model/recipe.json").read_text())
        assert recipe["method"] == method
        log = pd.read_csv(project / "data/model/training.csv")
        assert len(log) == recipe["steps"]
        assert log.loss.notna().all()
        weights.add((project / "data/model/open_clip_model.safetensors").read_bytes())
    assert len(weights) == len(registry.names("pipeline.methods")), "each trained another model"
