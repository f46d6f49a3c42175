"""Texts that know the class's name alone, from describe to what fine-tuning reads: K per class."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.common.tables import read_json
from pipeline.zeroshot.text_sets import read_embeddings, training_files
from stages import describe, embed_training
from stages import filter as filter_stage
from tests.support.project import ROOT
from tests.support.tiny_project import tiny_project, write_params

IDS = ["n00", "n01", "n02"]
K = 3
WORDINGS = ["This is a photo of a {}", "There is a {} here", "A {}, as seen from afar"]


@pytest.fixture
def project(packed: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set "tiny" with the base model, whose context is 16 tokens, and nothing described."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = tiny_project(packed, clip_folder)
    for name in ("prompts", "exemplars", "confusions", "inputs/waffle"):
        shutil.copytree(ROOT / "data" / name, folder / "data" / name)
    return folder


def trained_on(folder: Path, backend: str, options: dict[str, Any], **changes: Any) -> np.ndarray:
    """The texts that fine-tuning would read, float32 (classes, K, D)."""
    values = {
        "describe.dataset": "tiny", "describe.backend": backend, "filter.top_k": K,
        f"describe.options.{backend}": options,
        "embed.texts.template": {"default": ["This is a photo of a {}"]},
    }  # fmt: skip
    write_params(folder, **values | changes)
    describe.main()
    filter_stage.main()
    embed_training.main()
    return read_embeddings(training_files()[0], IDS)


def kept() -> list[dict[str, Any]]:
    rows = pq.read_table("data/filtered/descriptions.parquet").to_pylist()
    return [row for row in rows if row["kept"]]


def test_wordings_of_the_template_are_k_texts_each_once(project: Path) -> None:
    texts = trained_on(project, "templates", {"templates": WORDINGS, "count": None})
    assert texts.shape == (3, K, 16)
    for class_id in IDS:
        sentences = {row["sentence"] for row in kept() if row["class_id"] == class_id}
        assert sentences == {template.replace("{}", class_id) for template in WORDINGS}
    assert len(np.unique(texts.reshape(9, 16), axis=0)) == 9


def test_one_template_fills_k_places_if_it_may_be_repeated(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"templates": WORDINGS, "count": 1}
    with pytest.raises(SystemExit):
        trained_on(project, "templates", options)
    assert "3 of 3 classes have fewer than filter.top_k = 3" in capsys.readouterr().err
    texts = trained_on(project, "templates", options, **{"filter.short_class": "repeat"})
    template = read_embeddings(training_files()[1], IDS)
    # K times the text that methods without descriptions train on, but for the last bits
    np.testing.assert_allclose(texts, np.repeat(template, K, axis=1), atol=1e-6)
    sources = [row["source"] for row in kept()]
    assert sources == ["templates", *["templates, repeated"] * (K - 1)] * 3


def test_random_sentences_are_as_long_as_those_that_were_kept(project: Path) -> None:
    """The step from one run to its control: the filter's table becomes the lengths."""
    long = ["This is a photo of a {} and nothing else", "There is a {} here, and it can be seen",
            "A {}, as seen from far away by night"]  # fmt: skip
    trained_on(project, "templates", {"templates": long, "count": None})
    expected = {key: sorted(r["tokens"] for r in kept() if r["class_id"] == key) for key in IDS}
    assert len({count for counts in expected.values() for count in counts}) > 1
    shutil.copy("data/filtered/descriptions.parquet", "data/inputs/waffle/kept.parquet")
    options = {"sentences": K, "lengths": "kept.parquet", "shared": False}
    texts = trained_on(project, "waffle", options)
    assert texts.shape == (3, K, 16)
    for class_id in IDS:
        rows = [row for row in kept() if row["class_id"] == class_id]
        assert sorted(row["tokens"] for row in rows) == expected[class_id]
        assert not any(row["shortened"] for row in rows)
    provenance = read_json(Path("data/descriptions/provenance.json"))
    assert provenance["backend"] == "waffle"
    assert provenance["content"].startswith("random words and characters")
    assert provenance["of_other_length"] == 0
