"""Every attack, and methods unlike SAFT, by the real dvc on the tiny profile.

Every method through its stage is in test_finetune_stage.py, which is quicker.
"""

import json
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.clip.folders import MODEL, RECIPE
from pipeline.common import registry
from pipeline.results.files import evaluation_folder
from tests.support.dvc_stages import STAGES_FILE
from tests.support.project import make, run, stages_run

SET, TEXTS = "shapes-held-out", "unseen"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one image set, fine-tuned, and evaluated under every attack."""
    folder = make(tmp_path_factory.mktemp("plugins"))
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text())
    values["finetune"]["epochs"] = 1
    attacks = registry.names("pipeline.attacks")
    values["evaluate"].update(
        datasets=[SET], images=4, attacks=attacks, texts=[TEXTS], attacker="same", examples=1
    )
    values["evaluate"]["checks"]["datasets"] = []
    values["report"]["examples"] = 1
    del values["prepare"]["sets"]["digits"]
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)
    run(folder, "dvc", "repro")
    return folder


def test_every_attack_leaves_its_verdicts_and_its_threat_model(project: Path) -> None:
    titles = set()
    for attack in registry.names("pipeline.attacks"):
        folder = project / evaluation_folder(SET, TEXTS, attack, 4, "base")
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["attack"] == attack
        assert metrics["texts"]["name"] == TEXTS
        assert metrics["attacker"] == metrics["texts"]
        assert len(metrics["texts"]["templates"]) == 3
        assert len(pd.read_parquet(folder / "predictions.parquet")) == 4
        titles.add(metrics["title"])
    assert len(titles) == len(registry.names("pipeline.attacks")), "each names its attack set"
    page = (project / "reports/report.html").read_text()
    assert all(title in page for title in titles)
    assert "classified with unseen: “a drawing of a {}.”" in page


def test_an_unknown_name_stops_dvc_before_any_work_and_lists_those_known(project: Path) -> None:
    for change, message in (
        ("finetune.method=magic", "finetune.method: 'magic' is not one of agft, comp_tga, fare"),
        ("evaluate.attacks=[pgd,magic]", "evaluate.attacks: 'magic' is not one of apgd_ce"),
        ("evaluate.datasets=[magic]", "evaluate.datasets: 'magic' is not one of pairs"),
        ("evaluate.texts=[magic]", "evaluate.texts: 'magic' is not one of template"),
        ("evaluate.models=[finetuned,magic]", "evaluate.models: 'magic' is not one of base"),
    ):
        output = run(project, "dvc", "exp", "run", "-S", change, status=255)
        assert message in output
        assert stages_run(output) == {"names"}
        assert "Traceback" not in output
        run(project, "git", "checkout", "-q", "params.yaml")


@pytest.mark.parametrize(
    ("method", "captions"),
    [
        ("fare", "data/bundled/no_captions.parquet"),
        ("ft_clean", "data/bundled/no_captions.parquet"),
        ("qt_aft", "data/images/shapes-train/items.parquet"),
    ],
)
def test_another_method_is_one_parameter(project: Path, method: str, captions: str) -> None:
    """And one more where it trains on captions, which nothing else depends on."""
    changes = "-S", f"finetune.method={method}", "-S", f"finetune.captions={captions}"
    output = run(project, "dvc", "exp", "run", *changes, f"{STAGES_FILE}:finetune")
    ran = {name.removeprefix(f"{STAGES_FILE}:") for name in stages_run(output)}
    assert ran - {"names"} == {"finetune"} | ({"embed_training"} if method == "qt_aft" else set())
    recipe = json.loads((project / RECIPE).read_text())
    assert recipe["method"] == method
    log = pd.read_csv(project / MODEL / "training.csv")
    assert len(log) == recipe["steps"]
    assert log.loss.notna().all()
