"""`saft check`: the demo is fine, and every kind of trouble has its own numbered line."""

import itertools
import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.common.params import read_params
from pipeline.results.seen_classes import training_overlap
from saft.app import app
from saft.check import disk, dvc, memory, sets, times
from saft.check.plan import Plan
from tests.support.check_project import change, check, problems
from tests.support.dvc_stages import asked_for
from tests.support.model_folders import write_model_folder
from tests.support.project import run

Usage = namedtuple("Usage", "total used free")
FOLDER = {"source": "imagefolder", "names": None, "classes": None, "images_per_class": None,
          "skip": 0, "size": 32, "resize": "crop"}  # fmt: skip


@pytest.fixture
def asks_dvc() -> None:
    """For a test in which `saft check` asks DVC itself, as it does for users."""


@pytest.fixture(autouse=True)
def what_dvc_would_say(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a project where nothing has run: all stages that params.yaml asks for. DVC says the same
    (tests/repository/test_profiles.py), and takes seconds."""
    if "asks_dvc" not in request.fixturenames:
        monkeypatch.setattr(dvc, "stages_to_run", _all_stages)


def _all_stages() -> dvc.Runs:
    names = itertools.chain.from_iterable(asked_for(read_params()).values())
    return dvc.Runs(tuple(names), "", Path(".dvc/cache"), dvc.DEFAULT_LINKS)


def with_photographs(folder: Path, classes: dict[str, str]) -> None:
    """One black image of each class, id -> name, and the table of names."""
    for class_id, name in classes.items():
        (folder / class_id).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / class_id / "0.png")
        with (folder / "classes.tsv").open("a") as file:
            file.write(f"{class_id}\t{name}\n")


def with_sets(**new: dict) -> None:
    """Add sets to params.yaml."""
    sets = YAML(typ="safe").load(Path("params.yaml").read_text())["prepare"]["sets"]
    change(prepare__sets=sets | new)


def findings(part: str) -> dict:
    """Lines and values of one part, whatever the verdict."""
    output = CliRunner().invoke(app, ["check", "--json"]).stdout
    return json.loads(output)["parts"][part]


def test_the_demo_is_fine_and_nothing_is_written(project, asks_dvc):
    before = run(project, "git", "status", "--porcelain", "--ignored", "--", "data")
    text = check(0)
    assert text.endswith("OK\n")
    for title in ("params", "image data", "class tables", "descriptions", "models", "disk",
                  "memory", "stages"):  # fmt: skip
        assert f"{title}:\n" in text
    assert "pairs                   there     250 images, 110 classes, 32 x 32 pixels" in text
    assert "shapes-held-out: 0 of 20 classes are fine-tuned on" in text
    assert "sentences for 40 of 40 classes" in text
    assert "copied, twice" in text
    assert re.search(r"evaluate \(8 stages\) +1 s", text)
    assert run(project, "git", "status", "--porcelain", "--ignored", "--", "data") == before
    assert run(project, "git", "status", "--porcelain") == ""


def test_json_says_the_same(project):
    report = json.loads(check(0, "--json"))
    assert report["ok"] is True
    assert report["problems"] == []
    stages = report["parts"]["stages"]["values"]
    names = {"prepare@pairs", "pretrain@small", "model@base", "describe", "finetune", "report"}
    assert names <= set(stages)
    assert stages["finetune"]["seconds"] > 0
    assert report["parts"]["descriptions"]["values"] == {"classes": 40, "described": 40}
    change(finetune__dataset="nowhere")
    broken = json.loads(check(1, "--json"))
    assert broken["ok"] is False
    assert "nowhere" in broken["problems"][0]


def test_the_training_is_estimated_in_every_precision_and_refused_where_there_is_none(
    project, monkeypatch
):
    speeds = {"float32": 1e9, "bf16": 4e9}
    monkeypatch.setattr(times, "matrix_flop", lambda device, name, seconds: speeds[name])
    stages = json.loads(check(0, "--json"))["parts"]["stages"]["values"]
    tuned, flop, shares = stages["finetune"], stages["finetune"]["flop"], times.EFFICIENCY["cpu"]
    expected = {name: flop / (shares[name] * speed) for name, speed in speeds.items()}
    assert tuned["seconds_by_precision"] == expected
    assert tuned["seconds"] == expected["float32"]
    assert "finetune by finetune.precision: float32 " in check(0)
    change(finetune__precision="bf16")
    again = json.loads(check(0, "--json"))["parts"]["stages"]["values"]
    assert again["finetune"]["seconds"] == expected["bf16"]
    for stage in set(stages) - {"finetune"}:
        assert again[stage]["seconds"] == stages[stage]["seconds"]
    change(finetune__precision="tf32")
    assert [line for line in problems() if "finetune.precision: tf32 exists on CUDA" in line]
    change(finetune__precision="float32", evaluate__precision="tf32")
    assert [line for line in problems() if "evaluate.precision: tf32 exists on CUDA" in line]


def test_every_part_is_printed_even_after_problems(project):
    change(finetune__momentun=1, describe__dataset="nowhere")
    listed = problems()
    assert listed[0] == "params.yaml: finetune: unknown key 'momentun'"
    assert any("describe.dataset: prepare.sets has no set 'nowhere'" in line for line in listed)
    text = check(1)
    assert "memory:\n  not checked: " in text
    assert "250 images" in text
    assert sum("momentun" in line for line in listed) == 1


def test_missing_data_and_how_to_get_it(project):
    entries = YAML(typ="safe").load(Path("params.yaml").read_text())["prepare"]["sets"]
    entries["digits"] = {"source": "cifar10", "size": 32}
    entries["mine"] = {"source": "imagefolder", "root": "mine", "names": None, "classes": None,
                    "images_per_class": None, "skip": 0, "size": 32, "resize": "crop"}  # fmt: skip
    datasets = YAML(typ="safe").load(Path("params.yaml").read_text())["evaluate"]["datasets"]
    change(prepare__sets=entries, evaluate__datasets=[*datasets, "mine"])
    published, folder = problems()
    assert published.startswith("prepare.sets.digits: CIFAR-10 (test) is missing: no cifar-10-")
    assert "curl -fLO https://" in published
    assert folder.startswith("prepare.sets.mine: data/raw/mine: no such folder")
    text = check(1)
    assert "missing   10000 images, 10 classes" in text, "the published numbers are known"
    change(data__download=True)
    assert "CIFAR-10 (test) will be downloaded" in check(1)
    assert not (project / "data/raw").exists(), "nothing is fetched"


def test_two_classes_of_one_name_are_warned_of_and_a_problem_where_they_are_used(project):
    for number, name in enumerate(("crane", "crane", "tench")):
        (project / f"data/raw/birds/n{number}").mkdir(parents=True)
        (project / f"data/raw/birds/n{number}/0.png").touch()
        with (project / "data/raw/birds/classes.tsv").open("a") as file:
            file.write(f"n{number}\t{name}\n")
    entries = YAML(typ="safe").load(Path("params.yaml").read_text())["prepare"]["sets"]
    entries["birds"] = {"source": "imagefolder", "root": "birds", "names": None, "classes": None,
                     "images_per_class": None, "skip": 0, "size": 32, "resize": "crop"}  # fmt: skip
    datasets = YAML(typ="safe").load(Path("params.yaml").read_text())["evaluate"]["datasets"]
    change(prepare__sets=entries, evaluate__datasets=[*datasets, "birds"])
    change(evaluate__texts=["template", "unseen"])
    text = check(1)
    assert "birds: warning: classes with the same name cannot be told apart: 'crane' x 2" in text
    template, unseen = problems()
    (project / "data/raw/birds/classes.tsv").write_text("n0\tcrane\nn1\tcrane bird\n")
    check(0)
    shutil.rmtree(project / "data/raw")
    assert template == (
        "params.yaml: classes 'n0' and 'n1' of 'birds' have the same texts in text set "
        "'template': their name is 'crane', and no model can tell them apart; give one another "
        "name (classes.tsv of an image folder, `names` of a set of wnids) or leave 'birds' out"
    )
    assert unseen == template.replace("'template'", "'unseen'")


def test_classes_without_descriptions(project):
    ids = [class_entry.class_id for class_entry in Plan().sets["shapes-train"].class_entries]
    inputs = project / "data/inputs/published"
    (inputs / "some.json").write_text(json.dumps({ids[0]: ["a short text", "another one"]}))
    change(describe__backend="published", describe__options__published__file="some.json")
    [line] = problems()
    assert "some.json: 39 of 40 classes are undecided" in line
    everything = {key: ["one sentence only"] for key in ids} | {ids[1]: []}
    (inputs / "some.json").write_text(json.dumps(everything))
    empty, short = problems()
    assert "no sentence for 1 of 40 classes" in empty
    assert "39 classes have fewer than filter.top_k = 5 sentences" in short
    change(describe__options__published__file="none.json")
    assert any("none.json" in line for line in problems())
    (inputs / "some.json").unlink()


def test_confusable_classes_and_questions_go_together(project, asks_dvc):
    names = {"classes_per_class": 3, "template": "a {}"}
    change(confusions__text={"names": names}, describe__confusions="names")
    [line] = problems()
    assert line.endswith("describe.confusions: backend bundled asks no model; set none")
    change(describe__backend="openai")
    [line] = problems()
    assert "describe.confusions: prompt set visual has no {others} for them" in line
    change(describe__prompts="contrast")
    assert "confusions@names" in findings("stages")["values"]
    check(0)
    change(describe__confusions="none")
    [line] = problems()
    assert "describe.confusions: prompt set contrast asks about confusable classes" in line
    change(describe__confusions="names", describe__dataset="nowhere")
    assert any("'nowhere'" in line for line in problems())


def test_every_problem_of_the_questions_is_told_once(project):
    prompts = Path("data/prompts/draft.yaml")
    prompts.write_text(Path("data/prompts/visual.yaml").read_text() + "reviewed: false\n")
    change(describe__prompts="draft", confusions__images={"none": {
        "classes_per_class": 3, "template": "a {}", "images_per_class": None
    }})  # fmt: skip
    for backend in ("openai", "bundled"):
        change(describe__backend=backend)
        listed = problems()
        assert sum("draft.yaml: a model wrote these questions" in line for line in listed) == 1
        assert sum("confusions.images.none: this name stands" in line for line in listed) == 1
    prompts.unlink()
    for backend in ("openai", "bundled"):
        change(describe__backend=backend)
        assert sum("draft" in line for line in problems()) == 1


def test_exemplars_and_confusable_classes_that_nobody_is_shown_are_both_told(project):
    every = {"images_per_class": None, "candidates_per_class": 5}
    names = {"classes_per_class": 3, "template": "a {}"}
    change(exemplars={"every": every}, describe__exemplars="every")
    change(confusions__text={"names": names}, describe__confusions="names")
    assert problems() == [
        "params.yaml: describe.exemplars: backend bundled shows images to nobody; set none",
        "params.yaml: describe.confusions: backend bundled asks no model; set none",
    ]


def test_text_sets_that_embed_would_refuse(project):
    change(evaluate__texts=["template", "descriptions"])
    listed = problems()
    assert any("20 of 20 classes of 'shapes-held-out' are not described" in line for line in listed)
    change(evaluate__texts=["unseen"], embed__texts__unseen={"digits": ["a {}"]})
    assert any("embed.texts.unseen has neither" in line for line in problems())


def test_a_model_that_nobody_can_ask(project, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    change(describe__backend="openai", describe__options__openai__api_key_env="NO_SUCH_KEY")
    assert problems() == [
        "describe.options.openai: environment variable NO_SUCH_KEY is not set, which "
        "api_key_env names; export it"
    ]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    change(describe__backend="vllm", describe__options__vllm__model="./nowhere")
    listed = problems()
    assert any("needs 1 GPU(s), torch sees 0" in line for line in listed)
    assert "describe.options.vllm: model: ./nowhere: there is no such folder" in listed


def test_images_that_nobody_is_shown_or_that_nobody_named(project):
    every = {"images_per_class": None, "candidates_per_class": 5}
    change(exemplars={"every": every}, describe__exemplars="every", describe__per_image=True)
    line = "params.yaml: describe.exemplars: backend bundled shows images to nobody; set none"
    assert problems() == [line]
    change(describe__backend="openai", describe__prompts="caption")
    lines = findings("descriptions")["lines"]
    assert lines[0].endswith(", 4 answers per image of exemplars.every, times the images")
    change(describe__exemplars="none")
    nothing_shown = "params.yaml: describe.per_image: describe.exemplars is none, so there is no im"
    assert any(line.startswith(nothing_shown) for line in problems())
    change(describe__backend="bundled")
    line = "params.yaml: describe.per_image: backend bundled shows images to nobody; set false"
    assert problems() == [line]


def test_names_that_mean_several_things_are_remarked_where_a_model_is_asked(project):
    insects = {"n02279972": "monarch", "n01440764": "tench"}
    with_photographs(project / "data/raw/insects", insects)
    with_sets(insects=FOLDER | {"root": "insects"})
    change(describe__dataset="insects", describe__backend="openai")
    part = findings("descriptions")
    assert part["values"]["several_meanings"] == ["n02279972"]
    assert part["lines"][-1] == (
        "1 of 2 class names mean several things: monarch; 1 of them have a gloss in the questions; "
        "`names: openai` says monarch butterfly"
    )
    change(describe__dataset="shapes-train")
    assert findings("descriptions")["values"]["several_meanings"] == []
    shutil.rmtree(project / "data/raw")


def test_half_a_model_is_named(project, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    model = write_model_folder(project / "data/raw/model")
    change(describe__backend="vllm", describe__options__vllm__model=str(model))
    where = "describe.options.vllm: model: "
    assert not any(where in line for line in problems())
    (model / "model.safetensors").unlink()
    assert any(line.startswith(where) and "holds no weights" in line for line in problems())
    shutil.rmtree(project / "data/raw")


def test_too_many_blocks(project):
    change(finetune__blocks="last 9")
    assert any("finetune.blocks is 'last 9', the image encoder has 1" in p for p in problems())


def test_too_little_disk(project, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(10**9, 0, 10**6))
    [line] = problems()
    assert re.match(r"disk of data: [\d.]+ MB needed, 1 MB free: free [\d.]+ MB, run `dvc gc", line)


def test_space_counts_once_where_the_cache_is_linked(project):
    twice, why = disk.times_kept("copy", True)
    assert (twice, "twice" in why) == (2, True)
    assert disk.times_kept("hardlink,copy", True)[0] == 1
    assert disk.times_kept("reflink,copy", False)[0] == 2
    plan = Plan()
    written = disk.written(plan)
    assert written["prepare@digits"] == 10 * (3 * 32 * 32 + 64)
    assert sets.packed_bytes(sets.SetState("s", "there", 10, 2, 32, stream=True)) == 640


def test_too_little_memory(project, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda _: (7.01e8, "Toy GPU"))
    training, evaluation = problems()
    most = re.match(r"finetune.batch_size 16 needs about 70\d MB, Toy GPU has 701 MB; lower it to "
                    r"(\d+) or less, or set finetune.blocks$", training)  # fmt: skip
    assert most, training
    change(finetune__batch_size=int(most[1]))
    assert problems() == [evaluation], "with what is advised it fits"


def test_dvc_that_cannot_read_its_files(project, asks_dvc):
    text = Path("dvc.yaml").read_text()
    Path("dvc.yaml").write_text(text.replace("stages:", "stages: ["))
    try:
        [line] = problems()
    finally:
        Path("dvc.yaml").write_text(text)
    assert line.startswith("dvc cannot tell what to run: ")


def test_without_params_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 1
    assert done.stderr == (
        "error: saft check: params.yaml: not found; run from the folder that holds it\n"
    )


def test_params_that_are_a_folder_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").mkdir()
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 1
    assert done.stderr == "error: saft check: params.yaml: cannot be read: Is a directory\n"


def test_what_depends_on_a_change_runs_too():
    graph = [("a", "b"), ("b", "c"), ("x", "c")]
    assert dvc._to_run(["a"], graph) == ["a", "b", "c"]
    assert dvc._to_run(["x"], graph) == ["x", "c"]


def test_of_the_other_file_only_what_is_needed_runs():
    """texts is needed by embed; finetune and its record by nothing."""
    names = {name: f"{dvc.FILE}{name}" for name in ("texts", "model", "finetune", "record")}
    edges = [("texts", "embed"), ("model", "embed"), ("model", "finetune"), ("finetune", "record")]
    graph = [(names.get(a, a), names.get(b, b)) for a, b in edges]
    assert dvc._to_run(["embed", *names.values()], graph) == ["texts", "model", "embed"]
    assert dvc._to_run([names["texts"]], graph) == ["texts", "embed"]
    assert dvc._to_run([names["finetune"]], graph) == []


def test_dvc_names_the_stages_without_the_file_and_those_alone_that_are_needed(project, asks_dvc):
    stages = dvc.stages_to_run().stages
    assert stages is not None
    assert {"prepare@pairs", "pretrain@small", "model@base", "describe", "finetune", "record",
            "embed@base-template", "evaluate@digits-pgd-template-4-finetuned",
            "report"} <= set(stages)  # fmt: skip
    assert "texts@unseen" not in stages, "no evaluation uses it"
    change(evaluate__models=["base"])
    stages = dvc.stages_to_run().stages
    assert stages is not None
    assert {"model@base", "texts@template", "evaluate@digits-pgd-template-4-base"} <= set(stages)
    assert not {"describe", "filter", "embed_training", "finetune", "record"} & set(stages)


def test_attack_steps_of_the_evaluation(project):
    plan = Plan()
    assert times.check_steps(plan.checks, plan.evaluate.epsilons_255[0]) == 5 + 5 + 5 + (
        1 + 2 + 4 + 8 + 4
    )
    assert times.iterates("autoattack", None) == 4400
    encoder = plan.models["base"].vit
    once = times.evaluate_flop(encoder, 10, 1)
    assert times.evaluate_flop(encoder, 20, 1) == 2 * once
    trained = times.finetune_flop(encoder, plan.recipe, plan.passes, 100)
    change(finetune__epochs=6)
    setup = 100 * times.vit.forward_flop(encoder)  # SAFT looks at the clean images once
    twice = times.finetune_flop(encoder, Plan().recipe, plan.passes, 100)
    assert twice - setup == pytest.approx(2 * (trained - setup))


def test_the_classes_seen_in_training_are_told_where_there_is_a_training(project):
    names = {"mine": {"lion": "lion", "crane": "crane"},
             "net": {"n02129165": "lion", "n02012849": "crane"}}  # fmt: skip
    for root, classes in names.items():
        with_photographs(project / "data/raw" / root, classes)
    with_sets(**{name: FOLDER | {"root": name} for name in names})
    change(finetune__dataset="net", evaluate__datasets=["mine"])
    counts = findings("class tables")["values"]
    assert counts["mine"] == 1, "the lion by the table; two cranes are not known to be one class"
    change(evaluate__models=["base"])
    assert findings("class tables")["values"] == {}
    shutil.rmtree(project / "data/raw")


def test_the_table_of_equal_classes_changes_nothing_of_the_demo(project):
    tables = [state.class_entries for state in Plan().sets.values()]
    assert all(tables)
    for classes, trained in itertools.product(tables, tables):
        ids = {e.class_id for e in classes} & {e.class_id for e in trained}
        assert training_overlap(classes, trained) == len(ids)
