"""Text embeddings on disk: identity by class id, text sets, what classifies and what is seen."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import read_params, validate
from pipeline.common.tables import write_table
from pipeline.embeddings import tables
from pipeline.filtering.table import FILTERED
from pipeline.filtering.table import SCHEMA as FILTERED_SCHEMA
from pipeline.images.classes import ClassEntry
from pipeline.zeroshot import text_sets as embed
from stages import embed as stage
from tests.support.classifiers import tiny_project, write_params
from tests.support.fake_text_features import fake_encode
from tests.support.project import DEMO

ANT, BEE = ClassEntry("n1", "ant"), ClassEntry("n2", "bee")


def described(texts: dict[str, list[str]]) -> tables.Columns:
    kept = [
        {"class_id": class_id, "sentence": text, "rank": rank}
        for class_id, class_sentences in texts.items()
        for rank, text in enumerate(class_sentences)
    ]
    return tables.description_columns(kept, fake_encode)


def params(**texts: Any) -> tables.EmbedParams:
    return tables.EmbedParams(texts=texts)


def test_embeddings_round_trip_by_class_id_in_the_asked_order(tmp_path):
    columns, schema = described({"a": ["aa", "b"], "b": ["ccc", "da"]})
    write_table(tmp_path / "e.parquet", columns, schema)
    first = (tmp_path / "e.parquet").read_bytes()
    write_table(tmp_path / "e.parquet", columns, schema)
    assert (tmp_path / "e.parquet").read_bytes() == first
    embeddings = embed.read_embeddings(tmp_path / "e.parquet", ["b", "a"])
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(
        embeddings, np.stack([fake_encode(["ccc", "da"]), fake_encode(["aa", "b"])])
    )
    kind = pq.read_schema(tmp_path / "e.parquet").field("embedding").type
    assert kind == pa.list_(pa.float32(), 3)
    with pytest.raises(UserError, match="no embedding for class 'n9'"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a", "n9"])
    with pytest.raises(UserError, match="names no text set; run `dvc repro embed`"):
        embed.read_texts(tmp_path / "e.parquet", ["a"])


def test_a_templates_classifier_is_the_normalised_mean(tmp_path):
    templates = ["a {}", "some {} there, a big one"]
    write_table(
        tmp_path / "c.parquet", *tables.template_columns("t", [ANT, BEE], templates, fake_encode)
    )
    text_set = embed.read_texts(tmp_path / "c.parquet", ["n2", "n1"])
    assert (text_set.name, text_set.templates) == ("t", templates)
    singles = [fake_encode([t.replace("{}", name) for t in templates]) for name in ("bee", "ant")]
    np.testing.assert_array_equal(text_set.captions, np.stack(singles))
    means = np.stack(singles).mean(1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    assert lengths.max() < 1 - 1e-3, "or the plain mean would do as well"
    np.testing.assert_allclose(text_set.class_features, means / lengths, rtol=1e-6)
    assert (
        embed.read_class_features(tmp_path / "c.parquet", ["n2", "n1"]) == text_set.class_features
    ).all()


def test_a_descriptions_classifier_is_the_plain_mean(tmp_path):
    """Its logits are then the mean of the logits of the single descriptions."""
    columns = described({"n1": ["an ant", "six legs has it"], "n3": ["x", "y"], "n2": ["b", "a b"]})
    class_columns = tables.described_columns("set", [BEE, ANT], columns)
    write_table(tmp_path / "d.parquet", *class_columns)
    assert set(class_columns[0]["class_id"]) == {"n1", "n2"}
    text_set = embed.read_texts(tmp_path / "d.parquet", ["n2", "n1"])
    assert (text_set.name, text_set.templates) == (embed.DESCRIPTIONS, [])
    assert text_set.captions.shape == (2, 2, 3)
    image = np.array([0.6, 0.0, 0.8], dtype=np.float32)
    single = text_set.captions @ image
    np.testing.assert_allclose(text_set.class_features @ image, single.mean(1), rtol=1e-6)
    assert (np.linalg.norm(text_set.class_features, axis=1) < 1).all()


def test_a_class_without_description_is_named_with_its_set():
    columns = described({"n1": ["an ant"]})
    with pytest.raises(UserError, match=r"class 'n2' of set 'zoo' has no description \(1 of 2"):
        tables.described_columns("zoo", [ANT, BEE], columns)


def test_templates_are_the_sets_own_or_default():
    chosen = params(t={"default": ["a {}"], "x": ["the {}", "{}!"]}, only={"x": ["{}"]})
    assert tables.templates_of("t", "x", chosen) == ["the {}", "{}!"]
    assert tables.templates_of("t", "y", chosen) == ["a {}"]
    with pytest.raises(UserError, match="embed.texts.only has neither 'y' nor 'default'"):
        tables.templates_of("only", "y", chosen)
    with pytest.raises(UserError, match="'z' is not a text set; .* has only, t, descriptions"):
        tables.templates_of("z", "x", chosen)


@pytest.mark.parametrize("bad", ["no slot", "{} and {}"])
def test_a_template_needs_one_slot(bad):
    where = "params.yaml: embed"
    with pytest.raises(UserError, match=r"texts.t.x.* needs exactly one \{\}"):
        validate({"texts": {"t": {"x": [bad]}}}, tables.EmbedParams, where)
    with pytest.raises(UserError, match="key 'texts.t.x"):
        validate({"texts": {"t": {"x": "imagenet"}}}, tables.EmbedParams, where)


def test_openai_is_its_80_templates():
    templates = tables.templates_of("o", "any", params(o={"default": "openai"}))
    assert len(templates) == len(set(templates)) == 80
    assert all(text.count("{}") == 1 for text in templates)
    assert templates == [f("{}") for f in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert "a photo of a {}." in templates


def test_the_committed_text_sets_hold(tmp_path):
    chosen = validate(read_params(DEMO)["embed"], tables.EmbedParams, "params.yaml: embed")
    assert embed.TEMPLATE in chosen.texts
    for name in chosen.texts:
        assert tables.templates_of(name, "digits", chosen)


def test_parquet_of_another_schema_is_refused(tmp_path):
    pd.DataFrame({"class_id": ["a"], "slot": [0]}).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(UserError, match=r"expected columns class_id:string, slot:int32.*found"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a"])
    (tmp_path / "e.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a"])


def test_classes_with_different_numbers_of_texts_are_refused(tmp_path):
    write_table(tmp_path / "e.parquet", *described({"a": ["x"], "b": ["y", "z"]}))
    with pytest.raises(UserError, match="differ in their number of captions"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a", "b"])


@pytest.fixture
def project(packed: Path, clip_folder: Path) -> Path:
    """Set "tiny" with two kept descriptions of each of its classes n00, n01, n02."""
    folder = tiny_project(packed, clip_folder)
    columns: dict[str, list[Any]] = {name: [] for name in FILTERED_SCHEMA.names}
    for class_id in ("n00", "n01", "n02"):
        for rank in range(3):
            row: dict[str, Any] = {
                "class_id": class_id,
                "class_name": class_id,
                "sentence": f"{class_id} has trait {rank}.",
                "rank": rank if rank < 2 else None,
                "kept": rank < 2,
            }
            for field in FILTERED_SCHEMA:
                blank = "" if pa.types.is_string(field.type) else None
                columns[field.name].append(row.get(field.name, blank))
    write_table(FILTERED, columns, FILTERED_SCHEMA)
    return folder


def read(part: str, name: str) -> embed.TextSet:
    return embed.read_texts(embed.FOLDER / part / name / "tiny.parquet", ["n00", "n01", "n02"])


@pytest.mark.usefixtures("device")
def test_the_stage_writes_what_classifies_and_what_the_attacker_sees(project: Path) -> None:
    texts = ["template", "unseen", "descriptions"]
    write_params(project, **{"evaluate.texts": texts, "evaluate.attacker": "same"})
    stage.main()
    for name in texts:
        assert (read("texts", name).captions == read("attacker", name).captions).all()
        assert read("attacker", name).name == name
    ensemble = embed.read_embeddings(embed.FOLDER / "descriptions.parquet", ["n00", "n01", "n02"])
    assert ensemble.shape == (3, 2, 16)
    np.testing.assert_array_equal(read("texts", "descriptions").captions, ensemble)
    write_params(project, **{"evaluate.texts": texts, "evaluate.attacker": "unseen"})
    stage.main()
    for name in texts:
        assert read("texts", name).name == name
        assert read("attacker", name).name == "unseen"
        assert (read("attacker", name).captions == read("texts", "unseen").captions).all()


def test_the_attackers_set_needs_not_classify(project: Path) -> None:
    write_params(project, **{"evaluate.attacker": "unseen"})
    stage.main()
    assert read("texts", "template").name == "template"
    assert read("attacker", "template").name == "unseen"
    assert len(read("attacker", "template").templates) == 3


@pytest.mark.parametrize("key", ["evaluate.texts", "evaluate.attacker"])
def test_an_unknown_text_set_ends_the_stage_in_a_message(project: Path, capsys, key) -> None:
    write_params(project, **{key: ["poems"] if key.endswith("texts") else "poems"})
    before = sorted(embed.FOLDER.rglob("*"))
    with pytest.raises(SystemExit):
        stage.main()
    error = capsys.readouterr().err
    assert "'poems' is not a text set; embed.texts has" in error
    assert "Traceback" not in error
    assert sorted(embed.FOLDER.rglob("*")) == before, "what was there stays"
