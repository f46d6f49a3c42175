"""What a user sees when something is wrong: one line, a status, nothing half-written."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL, MODEL, MODELS
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.errors import UserError
from pipeline.common.tables import read_table
from pipeline.descriptions.artifact import DESCRIPTIONS, SCHEMA
from pipeline.descriptions.exemplars import SCHEMA as EXEMPLARS
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import fill
from pipeline.filtering.table import FILTERED
from pipeline.filtering.table import SCHEMA as FILTERED_SCHEMA
from pipeline.images.classes import read_classes
from pipeline.images.image_set import IMAGES, open_images
from pipeline.models.pretraining import FOLDER as PRETRAINED
from pipeline.prepare.pack import pack
from pipeline.training.checkpoint import save_state
from pipeline.zeroshot.text_sets import pair_files, training_file, training_files
from pipeline.zeroshot.text_tables import kept_descriptions
from stages import classes, describe, embed, embed_training, evaluate, finetune, prepare, pretrain
from stages import exemplars as exemplars_stage
from stages import filter as filter_stage
from stages import model as model_stage
from tests.conftest import folder_params
from tests.support.failures import fails, one_line
from tests.support.fake_text_features import fake_encode
from tests.support.openai_server import Server, completion
from tests.support.project import DEMO, ROOT
from tests.support.tiny_project import write_params


@pytest.fixture
def project(packed, clip_folder, monkeypatch):
    """A project whose only set is "tiny": images, base model and embeddings are there."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    shutil.copytree(clip_folder, packed / BASE_MODEL)
    shutil.copytree(clip_folder, packed / MODEL)
    set_params(packed)
    rows = [
        {"class_id": c, "sentence": f"{c} {i}", "rank": i, "kept": True}
        for c in ("n00", "n01", "n02")
        for i in range(2)
    ]

    def encode(texts):
        vectors = np.tile(fake_encode(texts), 6)[:, :16]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    descriptions, template = training_files()
    write_encoded(descriptions, kept_descriptions(rows), encode)
    for path in (template, *pair_files("base", "template", "tiny")):
        write_encoded(path, fill("template", read_classes("tiny"), ["a {}"]), encode)
    negated = fill("negated", read_classes("tiny"), ["not a {}"])
    write_encoded(training_file("negated"), negated, encode)
    return packed


def set_params(folder: Path, **changes: object) -> None:
    """The demo's params.yaml turned towards the set "tiny"; keys are "section.key"."""
    short = {"describe.dataset": "tiny", "finetune.epochs": 1, "finetune.batch_size": 4}
    write_params(folder, **short | changes)


def published(project: Path, sentences: dict[str, list[str]], **changes: object) -> None:
    """Let the describe stage read `sentences` by class id."""
    for name in ("prompts", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, project / "data" / name, dirs_exist_ok=True)
    inputs = project / "data/inputs/published"
    inputs.mkdir(parents=True, exist_ok=True)
    (inputs / "d.json").write_text(json.dumps(sentences))
    (inputs / "aliases.json").write_text("{}")
    options = {"file": "d.json", "aliases": "aliases.json", "descriptor_template": None}
    values = {"describe.backend": "published", "describe.options": {"published": options}}
    set_params(project, **values | changes)


TEXTS = {"n00": ["a red ball", "a big ball"], "n01": ["a blue cup", "a tall cup"]}


def test_k_larger_than_the_number_of_sentences(project, capsys):
    published(project, {**TEXTS, "n02": ["a flat map"]}, **{"filter.top_k": 2})
    describe.main()
    assert fails(filter_stage.main) == 1
    assert "1 of 3 classes have fewer than filter.top_k = 2 sentences: n02 (1)" in one_line(capsys)
    assert not (project / "data/filtered").exists()


def test_a_class_without_sentences_is_an_error_or_filled_and_marked(project, capsys):
    sentences = {**TEXTS, "n02": []}
    published(project, sentences, **{"filter.top_k": 2})
    assert fails(describe.main) == 1
    message = one_line(capsys)
    assert "no sentence for 1 of 3 classes: n02" in message
    assert "describe.empty_class: allow" in message
    assert not (project / "data/descriptions").exists()
    changes = {"describe.empty_class": "allow", "filter.short_class": "template"}
    published(project, sentences, **{"filter.top_k": 2}, **changes)
    describe.main()
    filter_stage.main()
    rows = read_table(FILTERED, FILTERED_SCHEMA).to_pylist()
    filled = [(r["class_id"], r["rank"]) for r in rows if r["source"] == "template" and r["kept"]]
    assert filled == [("n02", 0), ("n02", 1)]
    assert sum(r["kept"] for r in rows) == 6


def test_the_filter_can_trust_the_images(project, capsys):
    published(project, {**TEXTS, "n02": ["a flat map", "a brown map", "a wide map"]},
              **{"filter.top_k": 2, "filter.reference": "image"})  # fmt: skip
    describe.main()
    filter_stage.main()
    rows = read_table(FILTERED, FILTERED_SCHEMA).to_pylist()
    assert [r["reason"] for r in rows if r["class_id"] == "n02"] == [None, None, "rank"]
    # by hand: cosine of a sentence with the mean image feature of its class
    model = clip.load(BASE_MODEL)
    images = open_images("tiny")
    class_pixels = torch.from_numpy(np.array(images.pixels[images.labels == 2])).float() / 255
    with torch.no_grad():
        mean = clip.image_encoder(model)(class_pixels).pooled.mean(0)
    text = encode_texts(model, [rows[-1]["sentence"]], torch.device("cpu"))[0]
    expected = float(text @ (mean / mean.norm()))
    assert rows[-1]["score"] == pytest.approx(expected, abs=1e-5)


def test_exemplars_are_picked_by_the_stage_and_refused_by_who_shows_none(project, capsys):
    entry = {"images_per_class": 2, "candidates_per_class": None}
    published(project, TEXTS, **{"describe.exemplars": "near"})
    yaml = YAML()
    values = yaml.load((project / "params.yaml").read_text()) | {"exemplars": {"near": entry}}
    with (project / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)
    exemplars_stage.main("near")
    rows = read_table(Path("data/exemplars/near.parquet"), EXEMPLARS).to_pylist()
    assert [(r["class_id"], r["rank"]) for r in rows][:3] == [("n00", 0), ("n00", 1), ("n01", 0)]
    assert rows[0]["similarity"] >= rows[1]["similarity"]
    capsys.readouterr()
    assert fails(describe.main) == 1
    assert "describe.exemplars: backend published shows images to nobody" in one_line(capsys)
    assert fails(exemplars_stage.main, "far") == 1
    assert "'exemplars.far' is missing" in one_line(capsys)


def test_answers_are_kept_until_the_artifact_is_there_and_no_longer(project, capsys, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(project))
    published(project, TEXTS)
    values = YAML(typ="safe").load(DEMO.read_text())["describe"]["options"]
    # every answer about n01 is empty: the stage fails, then gives it up
    server = Server(lambda number, body: completion(body, "[]" if " n01 " in str(body) else None))
    options = values["openai"] | {"base_url": server.url, "answers": 1, "retries": 0}
    changes = {"describe.backend": "openai", "describe.options": {"openai": options}}
    changes["describe.prompts"] = "distinguishing"
    try:
        set_params(project, **changes)
        assert fails(describe.main) == 1
        message = one_line(capsys)
        assert "no sentence for 1 of 3 classes: n01" in message
        [log] = project.glob(".scratch/describe-openai-*/answers.jsonl")
        assert len(server.bodies) == 3
        assert len(log.read_bytes().splitlines()) == 2, "an empty answer is worth nothing"
        set_params(project, **changes | {"describe.empty_class": "allow"})
        describe.main()
        assert len(server.bodies) == 4, "nothing that was answered was asked twice"
    finally:
        server.http.shutdown()
        server.http.server_close()
    assert not log.exists()
    assert {row["class_id"] for row in read_table(DESCRIPTIONS, SCHEMA).to_pylist()} == {
        "n00", "n02",
    }  # fmt: skip


def test_a_server_that_is_down_leaves_nothing_but_the_answers(project, capsys, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(project))
    published(project, TEXTS)
    values = YAML(typ="safe").load(DEMO.read_text())["describe"]["options"]
    gone = values["openai"] | {"base_url": "http://127.0.0.1:9/v1", "connection_retries": 0}
    set_params(project, **{"describe.backend": "openai", "describe.options": {"openai": gone}})
    assert fails(describe.main) == 1
    assert "the server at http://127.0.0.1:9/v1" in one_line(capsys)
    assert not (project / "data/descriptions").exists()


def test_stages_before_their_inputs(project, capsys):
    assert fails(filter_stage.main) == 1
    assert "data/descriptions/descriptions.parquet: not found; run `dvc repro`" in one_line(capsys)
    assert fails(embed_training.main) == 1
    assert "data/texts/descriptions/kept.parquet: not found" in one_line(capsys)
    assert fails(embed.main, "base", "template") == 1
    assert "data/evaluated_classes/tiny.parquet: not found; run `dvc repro`" in one_line(capsys)
    classes.main("tiny")
    capsys.readouterr()
    assert fails(embed.main, "base", "template") == 1
    assert "data/texts/template/tiny.parquet: not found; run `dvc repro`" in one_line(capsys)
    assert fails(evaluate.main, "absent", "pgd", "template", "4", "base") == 1
    assert "data/images/absent/images.npy: not found" in one_line(capsys)
    assert fails(evaluate.main, "tiny", "pgd", "template", "4", "absent") == 1
    assert "data/embeddings/absent/template/texts/tiny.parquet: not found" in one_line(capsys)


def test_a_nan_loss_leaves_no_model(project, capsys):
    rate = {"finetune.options.saft.learning_rate": 1e6}
    set_params(project, **rate, **{"finetune.epochs": 5, "finetune.warmup_steps": 0})
    shutil.rmtree(project / MODEL)
    assert fails(finetune.main) == 1
    message = one_line(capsys)
    assert re.search(r"is (nan|inf) at step \d+", message)
    assert re.search(r"images \d+(, \d+)+", message)
    assert "learning" in message
    assert not (project / MODEL).exists()


def test_a_model_of_another_size_is_named(project, capsys):
    shutil.rmtree(IMAGES / "tiny")
    from pipeline.datasets import imagefolder

    source = imagefolder.open_source(folder_params(project.parent / "raw", size=32))
    pack(source, "tiny", IMAGES / "tiny", Path("data/classes/tiny.parquet"))
    assert fails(finetune.main) == 1
    assert "takes 16 x 16 pixels, the images are 32 x 32" in one_line(capsys)


@pytest.mark.parametrize("kind", ["null", "digits", "[a]", "{digits: x}"])
def test_a_section_of_another_kind_is_one_line(project, capsys, kind):
    (project / "params.yaml").write_text(f"prepare: {{on_unreadable: error, sets: {kind}}}\n")
    assert fails(prepare.main, "digits") == 1
    assert "params.yaml: prepare: key 'sets" in one_line(capsys)


def test_pretraining_that_diverges_or_cannot_start_leaves_no_model(project, capsys):
    (project / "captions.json").write_text("{}")
    values = YAML(typ="safe").load(DEMO.read_text())["pretrain"]["small"] | {"dataset": "tiny"}
    small = {"width": 32, "layers": 1, "patch_size": 4, "steps": 3, "batch_size": 8}
    small |= {"text_width": 32, "text_layers": 1, "captions": "captions.json"}
    for change, message in (
        ({"learning_rate": 1e6}, r"pretrain.small: the loss is nan at step \d; lower its learn"),
        ({"patch_size": 5}, "pretrain.small: patches of 5 pixels do not tile images of 16"),
        ({"templates": []}, "key 'templates'.*at least 1 item"),
        ({"templates": ["hello"]}, r"key 'templates.0'.*needs exactly one \{\}"),
        ({"captions": "absent.json"}, "absent.json: not found"),
        ({"dataset": "absent"}, "data/images/absent/images.npy: not found"),
    ):
        set_params(project, **{"pretrain.small": values | small | change})
        assert fails(pretrain.main, "small") == 1
        assert re.search(message, one_line(capsys))
        assert not (project / PRETRAINED / "small").exists()
    assert fails(pretrain.main, "large") == 1
    assert "'pretrain.large' is missing" in one_line(capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["preprocess_cfg"].pop("std"), "KeyError.'std'"),
        (lambda c: c["preprocess_cfg"].update(mean=None), "NoneType"),
        (lambda c: c["model_cfg"]["text_cfg"].update(hf_tokenizer_name="x"), "not supported"),
        (lambda c: c["model_cfg"].update(vision_cfg=float("nan")), "must be objects"),
        (lambda c: c["model_cfg"].update(text_cfg=[3]), "must be objects"),
    ],
)
def test_a_local_model_that_cannot_be_used_is_refused_at_once(project, capsys, change, message):
    config = project / MODEL / clip.CONFIG_FILE
    values = json.loads(config.read_text())
    change(values)
    config.write_text(json.dumps(values))
    local = {"source": "local", "options": {"path": str(project / MODEL)}}
    local |= {"defended": False, "licence": None, "citation": None}
    set_params(project, models={"mine": local})
    assert fails(model_stage.main, "mine") == 1
    assert re.search(f"{clip.CONFIG_FILE}: .*{message}", one_line(capsys))
    assert not (project / MODELS / "mine").exists()


def test_a_damaged_checkpoint_is_named(project, capsys):
    (project / BASE_MODEL / clip.WEIGHTS_FILE).write_bytes(b"nonsense")
    assert fails(finetune.main) == 1
    assert f"{BASE_MODEL / clip.WEIGHTS_FILE}: " in one_line(capsys)


def test_bad_params_stop_a_stage_before_any_work(project, capsys):
    set_params(project, **{"finetune.momentum": 2.0})
    assert fails(finetune.main) == 1
    assert "params.yaml: finetune: key 'momentum'" in one_line(capsys)
    set_params(project, **{"finetune.method": "magic"})
    assert fails(finetune.main) == 1
    assert "finetune.method: 'magic' is not one of agft, comp_tga, fare, ft_adv" in one_line(capsys)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("finetune.attack.epsilon_255", 0, "params.yaml: finetune: key 'attack.epsilon_255'"),
        ("finetune.attack.steps", 0, "params.yaml: finetune: key 'attack.steps'"),
        ("finetune.options.saft.variant", "paper", "finetune.options.saft: unknown key 'variant'"),
        (
            "finetune.blocks",
            "last 9",
            "finetune.blocks is 'last 9', the image encoder has 2",
        ),
        ("finetune.averaging", 1, "key 'averaging'"),
        ("finetune.augmentation", "rotate", "params.yaml: finetune: key 'augmentation'"),
        ("evaluate.attacks", ["magic"], "evaluate.attacks: 'magic' is not one of apgd_ce"),
    ],
)
def test_bad_training_values_name_the_key(project, capsys, key, value, message):
    shutil.rmtree(project / MODEL)
    set_params(project, **{key: value})
    assert fails(finetune.main) == 1
    assert message in one_line(capsys)
    assert not (project / MODEL).exists()


@pytest.mark.parametrize(
    ("key", "value", "attack", "message"),
    [
        ("evaluate.epsilons_255", [0], "pgd", "params.yaml: evaluate: key 'epsilons_255.0'"),
        ("evaluate.options.pgd.steps", 0, "pgd", "evaluate.options.pgd: key 'steps'"),
        ("evaluate.options.fgsm.steps", 3, "fgsm", "evaluate.options.fgsm: unknown key 'steps'"),
        ("evaluate.seed", 0, "apgd-ce", "evaluate.attacks: 'apgd-ce' is not one of apgd_ce"),
    ],
)
def test_bad_attack_values_name_the_key(project, capsys, key, value, attack, message):
    set_params(project, **{key: value})
    assert fails(evaluate.main, "tiny", attack, "template", "4", "base") == 1
    assert message in one_line(capsys)
    assert not (project / "data/evaluation").exists()


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """A real file system of 200 kB; resume states go elsewhere."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system of 200 kB")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_leaves_nothing(full_disk, class_folders, clip_folder):
    from pipeline.datasets import imagefolder

    source = imagefolder.open_source(folder_params(class_folders, size=128))
    named = f"No space left on device: .* are free on {full_disk}; make room there"
    with pytest.raises(UserError, match=f"{full_disk}/images: {named}"):
        pack(source, "tiny", full_disk / "images", full_disk / "classes.parquet")
    loaded = clip.load(clip_folder)
    with pytest.raises(UserError, match=f"{full_disk}/model: {named}"):
        clip.save(loaded.model, loaded.config, full_disk / "model")
    with pytest.raises(UserError, match=f"{full_disk}/state.pt: {named}"):
        save_state(full_disk, loaded.model.state_dict())
    assert list(full_disk.iterdir()) == []
