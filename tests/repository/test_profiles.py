"""The stage graph of every profile, by `dvc repro --dry` in a throw-away copy, here through DVC's
Python interface, which saves its start.

`--dry` reads every dependency and in a fresh clone stops at the first one that an earlier stage
would have made, or that users bring: an empty one stands in for each.
"""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.common.params import read_params
from saft.check import dvc, dvc_answers
from saft.use.profiles import rendered
from tests.support.dvc_stages import ROOT_FILE, STAGES_FILE, asked_for
from tests.support.project import DEMO, ROOT, make, run

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
RUNNING = "Running stage '"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make(tmp_path_factory.mktemp("project"))


def expected(values: dict) -> set[str]:
    """The stages that a params file asks for, as DVC names them."""
    prefix = {ROOT_FILE: "", STAGES_FILE: f"{STAGES_FILE}:"}
    return {prefix[file] + stage for file, names in asked_for(values).items() for stage in names}


def dry_run(folder: Path, values: dict, *targets: str) -> list[str]:
    """The stages that `dvc repro --dry` runs under these parameters, in their order."""
    with (folder / "params.yaml").open("w") as stream:
        YAML().dump(values, stream)
    run(folder, "git", "clean", "-fdxq", "data")
    with contextlib.chdir(folder), Repo() as repo:
        stand_in(folder, list(repo.index.stages))
        ran = repo.reproduce(list(targets), dry=True, run_cache=False)
        return [stage.addressing for stage in ran]


def stand_in(folder: Path, stages: list[Any]) -> None:
    """Something empty for every output and input of DVC's `stages` that is not there."""
    outputs = [Path(out.fs_path) for stage in stages for out in stage.outs]
    inputs = [Path(dep.fs_path) for stage in stages for dep in stage.deps]
    folders = {*outputs, folder / "data/inputs"}
    inside = [path for path in inputs if not folders.isdisjoint(path.parents)]
    for path in sorted({*outputs, *inside}):
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()


def some_of(values: dict) -> dict:
    """The parameters with two evaluated sets, three models and one attack: DVC takes minutes over
    hundreds of stages that are alike."""
    evaluate = values["evaluate"]
    evaluate["attacks"] = evaluate["attacks"][:1]
    evaluate["epsilons_255"] = evaluate["epsilons_255"][:1]
    tuned = [name for name in evaluate["models"] if name == "finetuned"]
    others = [name for name in evaluate["models"] if name != "finetuned"]
    evaluate["models"] = [*others[:2], *tuned]
    evaluate["datasets"] = evaluate["datasets"][:2]
    checks = evaluate["checks"]
    checks["datasets"] = [name for name in checks["datasets"] if name in evaluate["datasets"]]
    return values


@pytest.mark.parametrize("profile", PROFILES, ids=lambda file: file.stem)
def test_dvc_repro_dry_runs_through_every_stage(checkout, profile):
    values = some_of(YAML(typ="safe", pure=True).load(rendered(profile)))
    ran = dry_run(checkout, values)
    assert sorted(ran) == sorted(expected(values))
    tuned = "finetuned" in values["evaluate"]["models"]
    chain = ("model@base", *(("filter", "embed_training", "finetune", "record") if tuned else ()))
    order = [ran.index(f"{STAGES_FILE}:{name}") for name in chain]
    assert order == sorted(order)
    assert ran[-1] == "report"


@pytest.mark.parametrize(
    ("chosen", "stage", "other"),
    [
        ("names", "confusions@names", "image_"),
        ("photos", "image_confusions@photos", "confusions@names"),
    ],
)
def test_contrast_questions_need_the_chosen_confusable_classes_alone(
    checkout, chosen, stage, other
):
    params = read_params(DEMO)
    entry = {"classes_per_class": 3, "template": "a {}"}
    photos = entry | {"images_per_class": 20}
    params["confusions"] = {"text": {"names": entry}, "images": {"photos": photos}}
    params["describe"] |= {"backend": "openai", "prompts": "contrast", "confusions": chosen}
    ran = dry_run(checkout, params, f"{STAGES_FILE}:describe")
    assert ran[-2:] == [f"{STAGES_FILE}:{stage}", f"{STAGES_FILE}:describe"]
    assert not [name for name in ran if other in name]
    assert set(ran) <= expected(params)


@pytest.mark.parametrize(
    ("section", "stage", "name", "file"),
    [
        ("prepare.sets", "prepare", "none", "data/images/none"),
        ("exemplars", "exemplars", "none", "data/exemplars/none.parquet"),
        ("confusions.text", "confusions", "none", "data/confusions/none.parquet"),
        ("confusions.images", "image_confusions", "none", "data/confusions/none.parquet"),
        ("embed.texts", "texts", "same", "data/texts/same"),
    ],
)
def test_no_entry_can_have_a_file_in_git_as_its_output(checkout, section, stage, name, file):
    values = read_params(DEMO)
    entries: Any = values
    for key in section.split("."):
        entries = entries[key]
    entries[name] = {"classes_per_class": 1, "template": "a {}"}
    with (checkout / "params.yaml").open("w") as stream:
        YAML().dump(values, stream)
    for options in ((), ("-s", f"{STAGES_FILE}:{stage}@{name}")):
        shown = run(checkout, "dvc", "repro", *options, status=255)
        assert f"cannot redefine '{section}.{name}'" in shown
        assert RUNNING not in shown
    assert (checkout / file).exists()
    assert run(checkout, "git", "status", "--porcelain", "data") == ""


@pytest.mark.parametrize("profile", PROFILES, ids=lambda file: file.stem)
def test_saft_check_sees_the_same_stages(checkout, profile, monkeypatch):
    monkeypatch.chdir(checkout)
    Path("params.yaml").write_bytes(rendered(profile))
    runs = dvc.runs(dvc_answers.answers())
    assert runs.problem == ""
    assert set(runs.stages) == {
        name for names in asked_for(read_params()).values() for name in names
    }
