"""`saft export`: a folder for open_clip and the hub, with a card that tells what the files say."""

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from pipeline.clip import model as clip
from pipeline.common import registry
from pipeline.report.page import percent
from saft.export import card as model_card
from saft.export import transformers_folder
from saft.export.inputs import Inputs, read_inputs
from saft.export.licences import DatasetLicence
from saft.export.lineage import digest, read_lock
from tests.support.built_project import built_project
from tests.support.exports import export, refused
from tests.support.project import SETS
from tests.support.training_runs import recipe

KEPT = ("data/models", "data/evaluation", "data/classes", "data/evaluated_classes", "reports")
TUNED, BASE = "data/models/finetuned/clip", "data/models/base/clip"
PGD = f"data/evaluation/{SETS[0]}/template/pgd/4/finetuned"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project in which the real dvc has run everything, on the tiny profile."""
    return built_project(tmp_path_factory)[0]


@pytest.fixture
def project(trained, tmp_path, monkeypatch) -> Path:
    """What `saft export` reads, copied, as current folder."""
    for name in KEPT:
        shutil.copytree(trained / name, tmp_path / "project" / name)
    (tmp_path / "project/stages").mkdir()
    for name in ("dvc.lock", "stages/dvc.lock", "params.yaml"):
        shutil.copy(trained / name, tmp_path / "project" / name)
    for path in (tmp_path / "project").rglob("*"):
        path.chmod(path.stat().st_mode | 0o600)  # DVC's links to its cache are read-only
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def written(path: str | Path):
    return json.loads(Path(path).read_text())


def rewrite(path: str, change) -> None:
    values = written(path)
    change(values)
    Path(path).write_text(json.dumps(values))


def front_matter(card: str) -> dict:
    return YAML(typ="safe", pure=True).load(card.split("---\n")[1])


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_open_clip_loads_the_folder_and_gives_equal_logits(project):
    output = export()
    assert 'create_model_and_transforms("local-dir:robust-clip")' in output
    assert "hf upload <user>/robust-clip robust-clip" in output
    assert "read again by open_clip: features of 4 images and 6 texts differ" in output
    assert "by at most 0.0e+00 of their norm" in output
    names = ["README.md", clip.CONFIG_FILE, clip.WEIGHTS_FILE]
    assert sorted(os.listdir("robust-clip")) == sorted(names)
    assert {oct(Path("robust-clip", n).stat().st_mode & 0o444) for n in names} == {"0o444"}
    ours = clip.load(Path(TUNED))
    theirs, _, _ = open_clip.create_model_and_transforms("local-dir:robust-clip")
    texts = open_clip.get_tokenizer("local-dir:robust-clip")(["a red star", "a blue ring"])
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = [model.eval().get_logits(images, texts)[0] for model in (ours.model, theirs)]
    assert torch.equal(*logits)
    base = clip.load(Path(BASE)).model
    assert not torch.equal(base.visual.proj, theirs.visual.proj)


def test_the_cards_code_runs_as_it_stands(project):
    export()
    card = Path("robust-clip/README.md").read_text()
    assert 'template = "This is a photo of a {}"' in card
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    Image.fromarray(np.full((40, 50, 3), 128, dtype=np.uint8)).save("image.png")
    names: dict = {}
    exec(code, names)
    assert names["probabilities"].shape == (1, 2)
    assert names["probabilities"].sum().item() == pytest.approx(1)


TRANSFORMERS = ("--format", "transformers")


def test_the_transformers_folder_is_the_model_and_says_how_that_was_shown(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    output = export("robust-clip", *TRANSFORMERS)
    assert 'robust-clip: transformers.CLIPModel.from_pretrained("robust-clip")' in output
    assert "read again by our own inverse mapping (transformers cannot be imported)" in output
    assert "features of 4 images and 6 texts differ from the model's by at most 0.0e+00" in output
    assert "hf upload <user>/robust-clip robust-clip" in output
    assert sorted(os.listdir("robust-clip")) == [
        "README.md", "config.json", "merges.txt", "model.safetensors", "preprocessor_config.json",
        "special_tokens_map.json", "tokenizer_config.json", "vocab.json",
    ]  # fmt: skip
    card = Path("robust-clip/README.md").read_text()
    assert front_matter(card)["library_name"] == "transformers"
    assert "`config.json` belongs to the weights" in card
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    compile(code, "card", "exec")
    assert "open_clip" not in code
    assert "CLIPModel.from_pretrained(name)" in code


def test_the_transformers_cards_code_runs_as_it_stands(project):
    pytest.importorskip("transformers", reason="transformers is no dependency of this project")
    export("robust-clip", *TRANSFORMERS)
    [code] = re.findall(
        r"```python\n(.*?)```", Path("robust-clip/README.md").read_text(), re.DOTALL
    )
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("image.png")
    names: dict = {}
    exec(code, names)
    ours = clip.load(Path(TUNED))
    encoder = clip.image_encoder(ours)
    texts = ours.tokenize([names["template"].replace("{}", c) for c in names["classes"]])
    with torch.no_grad():
        images = encoder(torch.tensor(pixels).permute(2, 0, 1)[None] / 255).pooled
        similar = images @ ours.model.encode_text(texts, normalize=True).T
        expected = (ours.model.logit_scale.exp() * similar).softmax(-1)
    assert torch.allclose(names["probabilities"], expected, atol=1e-5)


def test_a_transformers_folder_that_is_not_the_model_is_not_left_behind(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    real = transformers_folder.to_transformers

    def scaled(state):
        weights = real(state)
        weights["text_projection.weight"] *= 1.001
        return weights

    monkeypatch.setattr(transformers_folder, "to_transformers", scaled)
    message = refused("robust-clip", *TRANSFORMERS)
    assert "features of 4 images and 6 texts differ from the model's by" in message
    assert "nothing is written" in message


def test_what_transformers_cannot_hold_is_refused_and_nothing_is_left(project, monkeypatch):
    real = clip.load

    def without_a_mask(folder):
        loaded = real(folder)
        loaded.model.attn_mask = None
        return loaded

    monkeypatch.setattr(clip, "load", without_a_mask)
    assert "text_cfg.no_causal_mask: text without" in refused("robust-clip", *TRANSFORMERS)


def test_front_matter_is_what_the_hub_reads(project):
    export()
    metadata = front_matter(Path("robust-clip/README.md").read_text())
    assert metadata["library_name"] == "open_clip"
    assert metadata["pipeline_tag"] == "zero-shot-image-classification"
    assert metadata["license"] == "other"
    assert {"clip", "adversarial-robustness", "saft"} <= set(metadata["tags"])
    assert "base_model" not in metadata, "the demo's base model is no repository of the hub"


def test_every_number_on_the_card_is_one_of_the_files(project):
    export()
    card = Path("robust-clip/README.md").read_text()
    recipe, results = written(f"{TUNED}/recipe.json"), written("reports/metrics.json")
    attack, training = recipe["attack"], section(card, "Training")
    for line in (
        "| image set | `shapes-train`: 40 classes |",
        f"| images | {recipe['images']} |",
        f"| steps | {recipe['steps']} of {recipe['batch_size']} images |",
        f"| optimiser | {recipe['optimiser']} |",
        f"| learning rate | {recipe['learning_rate']:g}, after {recipe['warmup_steps']} steps",
        f"| attack | l∞, ε = {attack['epsilon_255']:g}/255, {attack['steps']} steps of "
        f"{attack['step_255']:g}/255, start: random |",
        f"| seed | {recipe['seed']} |",
    ):
        assert line in training
    table = section(card, "Results")
    for name, seen in zip(SETS, ("0 of 20", "0 of 10"), strict=True):
        base, tuned = (results["datasets"][name][model] for model in ("base", "finetuned"))
        cells = [percent(v) for v in (base["clean"], tuned["clean"])]
        cells += [percent(v) for v in (base["robust"], tuned["robust"])]
        assert f"| {name} | 10 | {seen} | {' | '.join(cells)} |" in table
    assert f"| {percent(results['mean']['finetuned']['clean'])} |" in table
    for attack, title in (("pgd", "PGD"), ("apgd_ce", "APGD-CE")):
        used = written(PGD.replace("pgd", attack) + "/metrics.json")["options"]
        listed = ", ".join(f"{key} {json.dumps(value)}" for key, value in used.items())
        assert f"{title} ({listed})" in table
    checks = results["checks"]
    assert f"evaluation: {checks['passed']} passed, {checks['failed']} failed." in table
    assert "ε = 4/255, in the model's input of 32 × 32 pixels, float32" in table
    assert "Texts for digits: “This is a photo of the digit {}”." in table
    assert "small CLIP trained from scratch on image set `pairs` (3 steps of 16" in card
    assert "withstand adversarial perturbations" in card


def test_changed_numbers_change_the_card(project):
    """With dvc.lock brought up to date, for it is what ties results to models."""
    rewrite("reports/metrics.json", lambda m: m["datasets"]["digits"]["base"].update(clean=0.1234))
    text = Path("dvc.lock").read_text()
    before = re.search(r"reports/metrics.json\n +hash: md5\n +md5: (\w+)", text)[1]
    Path("dvc.lock").write_text(text.replace(before, digest(Path("reports/metrics.json"))))
    export()
    assert f"| {percent(0.1234)} |" in Path("robust-clip/README.md").read_text()


def test_the_same_inputs_give_the_same_bytes(project):
    for parent in ("a", "b"):
        export(Path(parent) / "robust-clip")
    for name in os.listdir("a/robust-clip"):
        assert Path("a/robust-clip", name).read_bytes() == Path("b/robust-clip", name).read_bytes()


def test_a_folder_that_holds_something_or_a_file_is_not_overwritten(project):
    Path("robust-clip").mkdir()
    export()  # an empty folder is as good as none
    before = digest(Path("robust-clip"))
    assert "robust-clip: exists and is not an empty folder; name another" in refused()
    assert digest(Path("robust-clip")) == before
    Path("file").write_text("")
    assert "file: exists and is not an empty folder" in refused("file")


@pytest.mark.parametrize(
    ("path", "maker"),
    [
        (f"{TUNED}/open_clip_model.safetensors", "stages/dvc.yaml:finetune"),
        (f"{TUNED}/recipe.json", "stages/dvc.yaml:finetune"),
        ("reports/metrics.json", "report"),
    ],
)
def test_what_is_missing_names_the_command_that_makes_it(project, path, maker):
    Path(path).unlink()
    assert f"{path}: not found; `dvc repro {maker}` makes it" in refused()


@pytest.mark.parametrize(
    ("file", "output"), [("dvc.lock", "reports/metrics.json"), ("stages/dvc.lock", TUNED)]
)
def test_without_sound_lock_files_nothing_is_exported(project, file, output):
    text = Path(file).read_text()
    Path(file).write_text("schema: '2.0'\nstages: 3\n")
    assert f": {file}: not a lock file of DVC" in refused()
    for stages in ("{report: 3}", "{report: {outs: 5}}", "{report: {outs: [{md5: x}]}}"):
        Path(file).write_text(f"schema: '2.0'\nstages: {stages}\n")
        assert f": {file}: not a lock file of DVC" in refused()
    Path(file).write_text(text.replace(output, "data/other"))
    message = f"dvc.lock, stages/dvc.lock: no stage has made {output}; run `dvc repro`"
    assert message in refused()
    Path(file).unlink()
    assert f": {file}: not found; `dvc repro` makes it" in refused()


def replaced(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))


@pytest.mark.parametrize("model", ["finetuned", "base"])
def test_results_of_another_model_are_refused(project, model):
    """Each link of the chain metrics, evaluation, model, base model is broken in turn."""
    tuned, weights = model == "finetuned", f"data/models/{model}/clip"
    output = weights if tuned else "data/models/base"
    before, whole = digest(Path(weights)), digest(Path(output))
    with Path(weights, "more.txt").open("a") as file:
        file.write("\n")
    made = "`dvc repro stages/dvc.yaml:finetune`" if tuned else "its stage"
    assert f"{output}: not what {made} made last; run `dvc repro`" in refused()
    # as if only the stages that make models had been repeated
    replaced("stages/dvc.lock", whole, digest(Path(output)))
    if not tuned:
        assert f"{TUNED}: fine-tuned from another {BASE}; run `dvc repro`" in refused()
        replaced("stages/dvc.lock", before, digest(Path(weights)))
    folder = PGD.replace("finetuned", model)
    assert f"{folder}: measured on another model than {weights}; run `dvc repro`" in refused()
    replaced("dvc.lock", before, digest(Path(weights)))
    export("fits")
    rewrite(f"{folder}/metrics.json", lambda m: m.update(images=7))
    assert "reports/metrics.json: not what the report stage makes of data/evaluation" in refused()


def test_results_that_were_edited_or_come_from_elsewhere_are_refused(project):
    rewrite("reports/metrics.json", lambda m: m["datasets"]["digits"]["base"].update(clean=1.0))
    assert "reports/metrics.json: not what the report stage makes" in refused()


def evaluated(*names: str) -> None:
    """dvc.lock as if the report had been of these models alone."""
    yaml = YAML()
    lock = yaml.load(Path("dvc.lock").read_text())
    lock["stages"]["report"]["params"]["params.yaml"]["evaluate"]["models"] = list(names)
    with Path("dvc.lock").open("w") as stream:
        yaml.dump(lock, stream)


def test_without_the_base_models_results_the_table_has_the_fine_tuned_models_alone(project):
    evaluated("finetuned")
    rewrite("reports/metrics.json", lambda m: m["datasets"]["digits"].pop("base"))
    before = re.search(r"reports/metrics.json\n +hash: md5\n +md5: (\w+)",
                       Path("dvc.lock").read_text())  # fmt: skip
    replaced("dvc.lock", before[1], digest(Path("reports/metrics.json")))
    export()
    card = Path("robust-clip/README.md").read_text()
    tuned = written("reports/metrics.json")["datasets"]["digits"]["finetuned"]
    cells = f"{percent(tuned['clean'])} | {percent(tuned['robust'])}"
    assert "| data set | images | classes trained on | clean | robust |" in card
    assert f"| digits | 10 | 0 of 10 | {cells} |" in section(card, "Results")
    assert "base model →" not in card
    assert "Clean accuracy went" not in card


def test_a_model_that_was_not_evaluated_has_no_card(project):
    evaluated("base")
    assert "reports/metrics.json: without 'finetuned', whose results a card tells" in refused()


def test_a_write_that_fails_is_one_line_and_leaves_nothing(project, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "weights")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert "No space left on device" in refused()


def test_edits_of_params_yaml_after_the_training_change_nothing(project):
    inputs = read_inputs(read_lock())
    Path("params.yaml").unlink()
    assert read_inputs(read_lock()) == inputs


@pytest.fixture
def inputs(project) -> Inputs:
    return read_inputs(read_lock())


def test_terms_of_published_sets_are_stated(inputs, monkeypatch):
    assert [terms.dataset for terms in inputs.terms] == ["shapes-train", "pairs"]
    text = section(model_card.render(inputs, "name"), "Licence")
    assert "`shapes-train` comes from source `shapes`, of which no published terms" in text
    real = registry.load
    facts = SimpleNamespace(title="Some Set", licence="research only", citation="Author 2020")
    monkeypatch.setattr(
        registry,
        "load",
        lambda package, name, where: (
            SimpleNamespace(FACTS=facts) if name == "shapes" else real(package, name, where)
        ),
    )
    text = section(model_card.render(read_inputs(read_lock()), "name"), "Licence")
    assert "* `shapes-train` is Some Set. Licence or terms: research only. Citation: Author" in text
    assert "the base model, a small CLIP trained from scratch" in text


def test_a_base_model_of_the_hub_is_named_and_linked(inputs):
    base = inputs.base.model_copy(
        update={
            "origin": "`ViT-B-32 / openai` (open_clip)",
            "hub_id": "timm/vit_base_patch32_clip_224.openai",
            "licence": "MIT",
            "citation": "Radford et al. 2021",
        }
    )
    card = model_card.render(replace(inputs, base=base), "name")
    assert front_matter(card)["base_model"] == base.hub_id
    assert "Base model: `ViT-B-32 / openai` (open_clip)." in card
    assert "* The base model. Licence: MIT. Citation: Radford et al. 2021.\n" in card
    assert "* The base model. Licence: not known here.\n" in model_card.render(inputs, "name")


def test_a_method_without_attack_promises_no_robustness(inputs):
    card = model_card.render(replace(inputs, recipe=inputs.recipe | {"attack": None}), "name")
    assert "| attack | none, clean images |" in card
    assert "* Trained without an attack." in card
    assert "withstand" not in card


def test_the_card_tells_what_prepare_left_out_of_the_training_set(inputs):
    told = {"dropped": 2, "set_notes": ["links: 3 left out, e.g. a.jpg"]}
    card = model_card.render(replace(inputs, recipe=inputs.recipe | told), "name")
    images = f"{inputs.recipe['images']:,}"
    (row,) = [line for line in card.splitlines() if line.startswith("| images |")]
    assert f"{images}; 2 unreadable ones were left out; links: 3 left out, e.g. a.jpg" in row


def test_the_card_tells_of_the_validation_and_of_an_early_end():
    def rows(**changes) -> dict[str, str]:
        told = {"title": "T", "images": 9, "steps": 1600} | changes
        inputs = SimpleNamespace(recipe=recipe().as_dict() | told, classes=3, provenance={})
        return dict(model_card.training_rows(inputs))

    plain = rows()
    assert "validation" not in plain
    assert plain["epochs"] == "3"
    section = {"dataset": "held", "steps": 4, "keep_best": False}
    told = {"steps": 300, "planned_steps": 1600, "saved_step": 299}
    last = rows(validation=section, **told)
    assert last["validation"] == "set `held`, 4-step PGD; last weights"
    assert last["epochs"] == "3 planned; stopped after 300 of 1,600 steps"
    best = rows(validation=section | {"keep_best": True}, **told | {"saved_step": 224})
    assert best["validation"].endswith("; best weights, saved after step 225 of 1,600 planned")


def test_the_card_names_who_wrote_the_descriptions(inputs):
    def row(provenance) -> str:
        card = model_card.render(replace(inputs, provenance=provenance), "name")
        [line] = [x for x in card.splitlines() if x.startswith("| class descriptions |")]
        assert line.endswith(" (for methods that train on descriptions) |")
        return line

    assert inputs.provenance == written("data/models/finetuned/record/provenance.json")
    assert "| backend bundled" in row(inputs.provenance)
    asked = {"backend": "vllm", "model": "a|<b>/chat", "revision": "12ab", "prompts": "saft"}
    line = row(asked)
    assert "| backend vllm, model a\\|&lt;b>/chat, revision 12ab, prompt set saft (" in line
    assert "| of unknown origin (" in row({})
    rewrite("data/models/finetuned/record/provenance.json", lambda p: p.update(backend=7))
    assert "data/models/finetuned/record/provenance.json: key 'backend'" in refused()


def test_limits_name_norm_and_radius_of_training_and_evaluation(inputs):
    attack = inputs.recipe["attack"] | {"norm": "l2", "epsilon_255": 128.0}
    card = model_card.render(replace(inputs, recipe=inputs.recipe | {"attack": attack}), "name")
    limits = section(card, "Limits")
    assert "within l∞ ≤ 4/255, for the attacks, texts and images listed" in limits
    assert "Trained against l2 ≤ 128/255 only." in limits


def test_names_cannot_break_the_table_or_the_front_matter(inputs):
    recipe = inputs.recipe | {"method": "a: [b", "title": "A | B\nC"}
    terms = [DatasetLicence("x", "shapes", "T", None, None)]
    card = model_card.render(replace(inputs, recipe=recipe, terms=terms), "name")
    assert front_matter(card)["tags"][-1] == "a: [b"
    assert "| method | A \\| B C (" in card
    assert "`x` is T. Licence or terms: not stated.\n" in card


def test_many_templates_are_counted_and_descriptions_named():
    assert model_card.texts_line([f"{n} {{}}" for n in range(80)]) == (
        "“0 {}”, “1 {}”, “2 {}” and 77 more"
    )
    assert model_card.texts_line([]) == "its classes' descriptions"


def test_the_hash_is_dvcs(trained, monkeypatch):
    monkeypatch.chdir(trained)
    lock = read_lock()
    for path in (TUNED, "data/models/base", PGD, "reports/metrics.json"):
        assert lock.output_hash(Path(path)) == digest(Path(path))
