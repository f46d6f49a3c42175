"""The stages that fill and encode texts: texts, embed, embed_training."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.clip import model as clip
from pipeline.clip.folders import clip_folder as folder_of_model
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.tables import write_table
from pipeline.images.classes import CHECKED, CLASSES, EVALUATED, ClassEntry, write_classes
from pipeline.images.image_set import ITEM_SCHEMA, open_images
from pipeline.training.captions import read_captions
from pipeline.zeroshot.text_sets import (
    EMBEDDINGS,
    TRAINING,
    read_pair,
    training_file,
    training_files,
)
from pipeline.zeroshot.text_sets import read_texts as read_encoded
from pipeline.zeroshot.text_tables import KEPT, kept_descriptions, read_table_of, write_texts
from stages import checked_classes, classes, embed, embed_training, texts
from tests.support.failures import fails
from tests.support.tiny_project import tiny_project, write_params

IDS = ["n00", "n01", "n02"]


@pytest.fixture
def project(packed: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set "tiny" with both models, and two kept descriptions of each of its classes."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = tiny_project(packed, clip_folder)
    rows = [
        {"class_id": class_id, "sentence": f"{class_id} has trait {rank}.", "rank": rank,
         "kept": rank < 2}
        for class_id in IDS
        for rank in range(3)
    ]  # fmt: skip
    write_texts(KEPT, kept_descriptions(rows))
    return folder


def encoded(text: str) -> np.ndarray:
    """A text by the model itself, float32 (D,)."""
    loaded = clip.load(folder_of_model("base"))
    return encode_texts(loaded, [text], torch.device("cpu"))[0].numpy()


def pair(model: str, name: str) -> Any:
    return read_pair(model, name, "tiny", IDS)


def test_templates_are_filled_for_every_set_in_use_and_for_no_other(project: Path) -> None:
    write_params(
        project, **{"embed.texts.template": {"default": ["a {}"], "tiny": ["my {}", "{}"]}}
    )
    (project / "data/texts/template").mkdir(parents=True)
    (project / "data/texts/template/left.parquet").write_text("of a set that is gone")
    texts.main("template")
    assert [path.name for path in (project / "data/texts/template").iterdir()] == ["tiny.parquet"]
    table = read_table_of(project / "data/texts/template/tiny.parquet")
    assert (table.name, table.templates) == ("template", ["my {}", "{}"])
    assert table.texts == [text for name in IDS for text in (f"my {name}", name)]


def test_classes_of_one_name_are_said_with_both_ids(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(project)
    named = [ClassEntry("n00", "crane"), ClassEntry("n01", "owl"), ClassEntry("n02", "Crane")]
    for folder in (EVALUATED, CHECKED, CLASSES):
        write_classes(folder / "tiny.parquet", named, [])
    texts.main("template")
    line = (
        "warning: classes 'n00' and 'n02' of 'tiny' have the same texts in text set 'template': no "
        "model can tell them apart, and only 'n00' is ever predicted; give one another name\n"
    )
    assert capsys.readouterr().err == line
    embed_training.main()
    assert line in capsys.readouterr().err, "of the set trained on too"
    rows = [
        {"class_id": class_id, "sentence": "It is tall.", "rank": 0, "kept": True}
        for class_id in IDS
    ]
    write_texts(KEPT, kept_descriptions(rows))
    embed_training.main()
    said = capsys.readouterr().err
    assert "classes 'n00', 'n01' and 'n02' of 'tiny' have the same texts in text set 'desc" in said


def test_classes_of_different_names_are_nothing_to_say(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(project)
    texts.main("template")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("device")
def test_embed_writes_what_classifies_and_what_the_attacker_sees(project: Path) -> None:
    names = ["template", "unseen", "descriptions"]
    for attacker in ("same", "unseen"):
        write_params(project, **{"evaluate.texts": names, "evaluate.attacker": attacker})
        for name in ("template", "unseen"):
            texts.main(name)
        for name in names:
            embed.main("base", name)
        for name in names:
            classifying, seen = pair("base", name)
            assert classifying.name == name
            assert seen.name == (name if attacker == "same" else attacker)
            other = pair("base", seen.name)[0]
            assert (seen.captions == other.captions).all()
            assert seen.templates == other.templates
        assert pair("base", "descriptions")[0].captions.shape == (3, 2, 16)


def test_a_text_is_encoded_once_for_models_of_one_text_tower(project: Path, capsys) -> None:
    write_params(project)
    texts.main("template")
    embed.main("base", "template")
    assert "base: 3 texts of 'template' for 1 sets, 3 encoded" in capsys.readouterr().out
    embed.main("finetuned", "template")
    assert "finetuned: 3 texts of 'template' for 1 sets, 0 encoded" in capsys.readouterr().out
    for first, second in zip(pair("base", "template"), pair("finetuned", "template"), strict=True):
        np.testing.assert_array_equal(first.captions, second.captions)
    expected = encoded("This is a photo of a n01")
    np.testing.assert_allclose(pair("base", "template")[0].captions[1, 0], expected, atol=1e-6)


def test_a_model_with_a_text_tower_of_its_own_has_features_of_its_own(
    project: Path, capsys
) -> None:
    loaded = clip.load(folder_of_model("base"))
    with torch.no_grad():
        loaded.model.text_projection.mul_(torch.linspace(0.5, 2.0, 16))
    clip.save(loaded.model, loaded.config, folder_of_model("own"))
    write_params(project)
    texts.main("template")
    for model in ("base", "own"):
        embed.main(model, "template")
        assert "3 encoded" in capsys.readouterr().out
    difference = pair("base", "template")[0].captions - pair("own", "template")[0].captions
    assert np.abs(difference).max() > 0.01


def test_the_training_has_the_kept_descriptions_and_the_template(project: Path) -> None:
    write_params(project)
    texts.main("template")
    embed_training.main()
    descriptions, template = (read_encoded(path, IDS) for path in training_files())
    assert descriptions.captions.shape == (3, 2, 16)
    assert template.captions.shape == (3, 1, 16)
    expected = encoded("n02 has trait 1.")
    np.testing.assert_allclose(descriptions.captions[2, 1], expected, atol=1e-6)
    negated = read_encoded(training_file("negated"), IDS)
    assert negated.templates == ["This is not a photo of a {}"]
    assert sorted(TRAINING.iterdir()) == sorted([*training_files(), training_file("negated")])


def test_the_training_has_the_captions_that_finetune_captions_names(project: Path, capsys) -> None:
    images = open_images("tiny")
    path = Path("data/images/tiny/items.parquet")
    items = pq.read_table(path).to_pydict()
    write_params(project, **{"finetune.captions": str(path)})
    texts.main("template")
    assert fails(embed_training.main) == 1
    assert f"{path}: no caption in row 0 (16 of 16 have none)" in capsys.readouterr().err
    assert not TRAINING.exists()

    captions = [f"picture {number % 4}" for number in range(len(images.labels))]
    write_table(path, items | {"caption": captions}, ITEM_SCHEMA)
    embed_training.main()
    vectors = read_captions(images, 16)
    assert vectors is not None
    assert vectors.shape == (16, 16)
    np.testing.assert_allclose(vectors[5], encoded("picture 1"), atol=1e-6)
    assert "captions: 4 texts" in capsys.readouterr().out
    write_params(project)
    embed_training.main()
    assert read_captions(images, 16) is None, "nor are they left behind"


def test_a_text_set_for_training_that_there_is_not_is_named(project: Path, capsys) -> None:
    write_params(project, **{"finetune.texts": ["negated", "magic"]})
    assert fails(embed_training.main) == 1
    assert "finetune.texts: 'magic' is not one of" in capsys.readouterr().err
    assert not TRAINING.exists()


@pytest.mark.parametrize(
    ("stage", "arguments", "changes", "message"),
    [
        (embed, ("base", "poems"), {}, "data/texts/poems/tiny.parquet: not found; run `dvc repro`"),
        (embed, ("base", "template"), {"evaluate.attacker": "poems"}, "data/texts/poems/tiny"),
        (embed, ("absent", "template"), {}, "data/models/absent/clip"),
    ],
)  # fmt: skip
def test_what_is_not_there_ends_the_stage_in_a_message(
    project: Path, capsys, stage, arguments, changes, message
) -> None:
    write_params(project)
    texts.main("template")
    write_params(project, **changes)
    before = sorted(EMBEDDINGS.rglob("*"))
    with pytest.raises(SystemExit):
        stage.main(*arguments)
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert sorted(EMBEDDINGS.rglob("*")) == before, "what was there stays"
    assert not TRAINING.exists()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"nonsense")])
def test_a_class_table_that_cannot_be_read_is_named(project: Path, capsys, damage) -> None:
    write_params(project)
    for folder, stage, arguments in (
        (EVALUATED, texts, ("template",)),
        (CLASSES, embed_training, ()),
        (CLASSES, classes, ("tiny",)),
        (CLASSES, checked_classes, ("tiny",)),
    ):
        kept = (folder / "tiny.parquet").read_bytes()
        damage(folder / "tiny.parquet")
        with pytest.raises(SystemExit):
            stage.main(*arguments)
        error = capsys.readouterr().err
        assert f"error: {folder}/tiny.parquet: " in error
        assert "Traceback" not in error
        (folder / "tiny.parquet").write_bytes(kept)
    assert not (project / "data/texts/template").exists()


def test_copies_of_class_tables_are_equal(project: Path) -> None:
    for folder, stage in ((EVALUATED, classes), (CHECKED, checked_classes)):
        (folder / "tiny.parquet").unlink()
        stage.main("tiny")
        assert (folder / "tiny.parquet").read_bytes() == (CLASSES / "tiny.parquet").read_bytes()
