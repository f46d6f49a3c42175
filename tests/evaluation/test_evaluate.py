"""From an attack's outcome to the columns and counts of a model, and the stage around it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from pipeline.attacks import apgd_ce, pgd
from pipeline.clip.folders import clip_folder
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section
from pipeline.cost.files import read_cost
from pipeline.evaluation.clean_predictions import Clean, clean_predictions
from pipeline.evaluation.evaluate import (
    Verdicts,
    accuracies,
    evaluate_attack,
    prediction_columns,
    run_to_last_mask,
)
from pipeline.evaluation.interface import Outcome, Targets
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.images.classes import ClassEntry
from pipeline.images.image_set import open_images
from pipeline.results.files import PREDICTIONS, evaluation_folder
from pipeline.results.seen_classes import training_overlap
from pipeline.splits.even_choice import evenly_spaced
from pipeline.splits.shared_images import write_validation_images
from stages import evaluate as stage
from tests.support.classifiers import Counting, Net, attack, fit, make_targets, on
from tests.support.failures import fails, one_line
from tests.support.tiny_project import evaluate_params, keep_one_class, tiny_project, write_params

N, C = 30, 5


@pytest.fixture(scope="module")
def targets() -> Targets:
    return make_targets(N, C)


@pytest.fixture(scope="module")
def classifier(targets: Targets) -> ZeroShotClassifier:
    return fit(Net(), targets)


def params(**changes: Any) -> EvaluateParams:
    values = {"last_images": 5, "batch_size": 7, "examples": 2}
    return EvaluateParams.model_validate(evaluate_params(**(values | changes)))


def judged(
    classifier: ZeroShotClassifier,
    module: Any,
    options: Any,
    targets: Targets,
    chosen: EvaluateParams,
    epsilon_255: float = 8,
) -> Verdicts:
    device = classifier.class_features.device
    clean = clean_predictions(classifier, targets, chosen.batch_size, device)
    return evaluate_attack(classifier, module, options, targets, chosen, epsilon_255, clean, device)


def columns(classifier: ZeroShotClassifier, targets: Targets, **changes: Any) -> dict[str, Any]:
    options = {key: changes.pop(key) for key in ("steps", "step_255") if key in changes}
    epsilon_255 = changes.pop("epsilon_255", 8)
    module, checked = attack("pgd", **options)
    verdicts = judged(classifier, module, checked, targets, params(**changes), epsilon_255)
    return prediction_columns("m", targets, verdicts)


def test_both_modes_agree_on_any_and_last_is_never_stricter(classifier, targets, device):
    classifier = on(classifier, device)
    dropping = columns(classifier, targets)
    following = columns(classifier, targets, robust="last")
    assert dropping["robust_any"].tolist() == following["robust_any"].tolist()
    measured = [i for i, value in enumerate(dropping["robust_last"]) if value is not None]
    assert measured == evenly_spaced(N, 5).tolist()
    assert None not in following["robust_last"]
    for short, long in zip(dropping["robust_last"], following["robust_last"], strict=True):
        assert short in (None, long)
    counts = accuracies(following)
    assert counts["robust_any"]["accuracy"] <= counts["robust_last"]["accuracy"]
    assert counts["robust_any"]["accuracy"] < counts["clean"]["accuracy"]
    assert accuracies(dropping)["robust_last"]["images"] == 5


def test_what_is_wrong_already_is_neither_attacked_nor_robust(targets, device):
    counted = Counting(Net())
    classifier = fit(counted, targets, device=device)
    module, options = attack("pgd")
    clean = classifier(targets.read(slice(None), device)[0]).argmax(1).cpu().numpy()
    wrong = clean != targets.labels
    assert 0 < wrong.sum() < N
    verdicts = judged(classifier, module, options, targets, params(last_images=0, examples=0))
    assert verdicts.attacked.tolist() == np.flatnonzero(~wrong).tolist()
    table = prediction_columns("m", targets, verdicts)
    assert not table["robust_any"][wrong].any()
    assert (table["adversarial_prediction"] == clean)[wrong].all()
    assert (table["fooled_at"] == 0)[wrong].all()
    assert (table["adversarial_margin"] == table["clean_margin"])[wrong].all()
    assert (table["adversarial_confidence"] == table["clean_confidence"])[wrong].all()
    assert (table["adversarial_confidence"] != table["clean_confidence"])[~wrong].all()
    assert set(np.array(table["zero_gradient"])[wrong]) == {None}
    # with `last`, the same image is attacked to the end, and may even end right
    followed_ = judged(classifier, module, options, targets, params(robust="last"))
    assert followed_.attacked.tolist() == list(range(N))


def test_a_wrong_image_that_an_attack_turns_right_is_not_robust():
    outcome = Outcome(
        fooled_at=np.array([-1, 2, -1], dtype=np.int32),
        prediction=np.array([0, 1, 1], dtype=np.int32),
        margin=np.array([1.0, -1.0, 0.5], dtype=np.float32),
        confidence=np.array([0.625, 0.75, 0.875], dtype=np.float32),
        last_prediction=np.array([0, 0, -1], dtype=np.int32),
        zero_gradient=np.array([0.5, np.nan, 0.0], dtype=np.float32),
        perturbations=np.zeros((0, 3, 2, 2), dtype=np.float32),
    )
    targets = Targets(
        np.zeros((9, 3, 2, 2), np.uint8), np.array([2, 4, 6, 8]), np.array([0, 0, 1, 1])
    )
    prediction = np.array([1, 0, 1, 0], dtype=np.int32)
    clean = Clean(prediction, np.ones(4, np.float32), np.full(4, 0.5, np.float32))
    verdicts = Verdicts(clean, np.array([0, 1, 2]), outcome)
    table = prediction_columns("m", targets, verdicts)
    assert table["robust_any"].tolist() == [False, False, True, False]
    assert table["robust_last"] == [True, True, None, None]
    assert table["zero_gradient"] == [0.5, None, 0.0, None]
    assert table["adversarial_prediction"].tolist() == [0, 1, 1, 0]
    assert table["adversarial_margin"].tolist() == [1.0, -1.0, 0.5, 1.0]
    assert table["adversarial_confidence"].tolist() == [0.625, 0.75, 0.875, 0.5]
    assert table["clean_confidence"].tolist() == [0.5] * 4, "the outcome is not written into it"
    assert table["number"].tolist() == [2, 4, 6, 8]
    assert table["model"] == ["m"] * 4
    assert set(table) == set(PREDICTIONS.names)
    counts = accuracies(table)
    assert counts["clean"] == {"correct": 2, "images": 4, "accuracy": 0.5}
    assert counts["robust_any"] == {"correct": 1, "images": 4, "accuracy": 0.25}
    assert counts["robust_last"] == {"correct": 2, "images": 2, "accuracy": 1.0}


def test_best_iterate_attacks_have_no_last(classifier, targets):
    module, options = attack("apgd_ce")
    for robust in ("any", "last"):
        verdicts = judged(classifier, module, options, targets, params(robust=robust, examples=0))
        right = np.flatnonzero(verdicts.clean.prediction == targets.labels)
        assert verdicts.attacked.tolist() == right.tolist(), "the others have nothing to tell"
        table = prediction_columns("m", targets, verdicts)
        assert accuracies(table)["robust_last"] is None
        assert accuracies(table)["robust_any"]["images"] == N
    assert not hasattr(apgd_ce, "LAST_ITERATE")


def test_nearly_no_ball_gives_clean_accuracy_and_a_huge_one_none(classifier, targets):
    unharmed = accuracies(columns(classifier, targets, epsilon_255=0.001, step_255=0.001))
    assert unharmed["robust_any"] == unharmed["clean"]
    assert unharmed["clean"]["accuracy"] > 0.5
    lost = accuracies(columns(classifier, targets, epsilon_255=64, step_255=8.0, steps=20))
    assert lost["robust_any"]["accuracy"] == 0


def test_dropping_is_exact_and_cheap_at_the_committed_options(targets):
    """PGD-100 as in params.yaml, with dropping and as the full loop."""
    counted = Counting(Net())
    classifier = fit(counted, targets)
    options = pgd.Params.model_validate(evaluate_params()["options"]["pgd"])
    assert options.steps == 100
    flags, images = {}, {}
    for robust in ("any", "last"):
        counted.batches.clear()
        chosen_ = params(robust=robust, last_images=0, examples=0)
        verdicts = judged(classifier, pgd, options, targets, chosen_, epsilon_255=4)
        flags[robust] = prediction_columns("m", targets, verdicts)["robust_any"]
        images[robust] = counted.images
    assert flags["any"].tolist() == flags["last"].tolist()
    robust_share = flags["any"].mean()
    assert 0.2 < robust_share < 0.8
    assert images["last"] >= N * 101
    # what is left to do is the robust images' share and little more
    assert images["any"] / images["last"] < robust_share + 0.15


def test_robust_last_is_reported_on_evenly_spaced_images():
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, None).tolist() == evenly_spaced(3, 9).tolist() == [0, 1, 2]
    assert run_to_last_mask(10, params(last_images=0)).sum() == 0
    assert run_to_last_mask(10, params(last_images=99)).sum() == 10
    assert run_to_last_mask(10, params(robust="last", last_images=0)).all()


def test_kept_examples_are_evenly_spaced_and_attacked_even_if_wrong(classifier, targets):
    module, options = attack("pgd")
    verdicts = judged(classifier, module, options, targets, params(examples=6, last_images=0))
    positions = evenly_spaced(N, 6)
    assert set(positions) <= set(verdicts.attacked)
    assert (verdicts.clean.prediction != targets.labels)[positions].any()
    sizes = np.abs(verdicts.outcome.perturbations).max(axis=(1, 2, 3))
    assert sizes.shape == (6,)
    assert sizes.min() > 0
    everything = judged(classifier, module, options, targets, params(examples=N, last_images=0))
    np.testing.assert_allclose(
        verdicts.outcome.perturbations, everything.outcome.perturbations[positions], atol=1e-6
    )


def test_clean_predictions_do_not_depend_on_the_batch(classifier, targets, device):
    classifier = on(classifier, device)
    one, other = (clean_predictions(classifier, targets, size, device) for size in (4, 64))
    assert one[0].tolist() == other[0].tolist()
    assert one[0].dtype == np.int32
    np.testing.assert_allclose(one.margin, other.margin, rtol=1e-5)
    np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-5)
    assert ((one[1] > 0) == (one[0] == targets.labels)).all()


def test_the_overlap_with_training_is_by_identity_not_by_name():
    crane, other = ClassEntry("n1", "crane"), ClassEntry("n2", "crane")
    assert training_overlap([crane, other], [other]) == 1


@pytest.mark.parametrize(
    ("key", "value", "name", "message"),
    [
        ("epsilons_255", [4, 0], "pgd", r"evaluate: key 'epsilons_255.1': .*\(found 0\)"),
        ("epsilons_255", [], "pgd", r"params.yaml: evaluate: key 'epsilons_255'"),
        ("models", [], "pgd", r"params.yaml: evaluate: key 'models'"),
        ("norm", "l1", "pgd", r"params.yaml: evaluate: key 'norm'"),
        ("options.pgd.steps", 0, "pgd", r"evaluate.options.pgd: key 'steps': .*\(found 0\)"),
        ("options.pgd.alpha", 1, "pgd", r"evaluate.options.pgd: unknown key 'alpha'"),
        ("options.apgd_t.targets", 0, "apgd_t", r"evaluate.options.apgd_t: key 'targets'"),
        ("options.cw_linf.confidence", -1, "cw_linf", r"options.cw_linf: key 'confidence'"),
        ("seed", 0, "apgd", r"evaluate.attacks: 'apgd' is not one of apgd_ce, .*, pgd, "),
    ],
)
def test_what_is_wrong_in_the_params_is_named(tmp_path, monkeypatch, key, value, name, message):
    values = evaluate_params()
    *path, last = key.split(".")
    section = values
    for part in path:
        section = section[part]
    section[last] = value
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps({"evaluate": values}))  # JSON is YAML

    def read() -> None:
        options = read_section("evaluate", EvaluateParams).options
        load_plugin("pipeline.attacks", "evaluate", "attacks", name, options)

    with pytest.raises(UserError, match=message):
        read()


@pytest.fixture
def project(packed: Path, clip_folder: Path) -> Path:
    return tiny_project(packed, clip_folder)


@pytest.mark.usefixtures("device")
def test_the_stage_writes_what_the_report_reads(project: Path, capsys) -> None:
    write_params(
        project,
        **{
            "evaluate.examples": 2,
            "evaluate.last_images": 4,
            "evaluate.options.pgd.steps": 3,
            "evaluate.attacker": "unseen",
        },
    )
    total = len(np.load(project / "data/images/tiny/images.npy"))
    results = {}
    for model in ("base", "finetuned"):
        stage.main("tiny", "pgd", "template", "4", model)
        folder = evaluation_folder("tiny", "template", "pgd", 4, model)
        table = pq.read_table(folder / "predictions.parquet")
        assert table.schema.names == PREDICTIONS.names
        assert table["model"].to_pylist() == [model] * total
        metrics = json.loads((folder / "metrics.json").read_text())
        assert (metrics.pop("model"), metrics["epsilon_255"]) == (model, 4)
        examples = load_file(folder / "examples.safetensors")
        results[model] = metrics, table.drop_columns(["model"]), examples["perturbation"].tolist()
    assert results["base"] == results["finetuned"], "the same weights, images and starts"
    assert metrics["budget"] == 4
    assert metrics["options"]["steps"] == 3
    assert metrics["texts"] == {"name": "template", "templates": ["a {}"]}
    assert metrics["attacker"] == {"name": "unseen", "templates": ["the {}"]}
    assert metrics["note"] == ""
    assert metrics["robust_any"]["correct"] == sum(table["robust_any"].to_pylist())
    assert metrics["robust_last"]["images"] == 4
    maps = {"clean_attention", "adversarial_attention"}
    assert set(examples) == {"numbers", "clean", "perturbation", *maps}
    assert examples["perturbation"].shape == examples["clean"].shape == (2, 3, 16, 16)
    assert 0 < np.abs(examples["perturbation"]).max() <= 4 / 255 + 1e-6
    for name in maps:
        assert examples[name].dtype == np.float16
        assert [(of.min(), of.max()) for of in examples[name]] == [(0, 1)] * 2
    assert (examples["clean_attention"] != examples["adversarial_attention"]).any()
    printed = capsys.readouterr().out
    assert "robust (any)" in printed
    name = "evaluate@tiny-pgd-template-4-finetuned"
    assert f"{name}: {total} images in " in printed
    spent = read_cost(folder, project)
    assert spent is not None
    assert (spent["stage"], spent["images"]) == (name, total)
    first = read_cost(evaluation_folder("tiny", "template", "pgd", 4, "base"), project)
    assert first["work"]["float32"]["plain"] >= total
    attacked = sum(value != 0 for value in table["fooled_at"].to_pylist())
    assert spent["work"]["float32"]["ascents"] >= attacked > 0
    assert spent["work"]["float32"]["descents"] == 0
    assert 0 < spent["share"] < 1


def test_a_second_radius_computes_no_clean_prediction_again(project: Path, monkeypatch) -> None:
    write_params(project, **{"evaluate.epsilons_255": [4, 2.5], "evaluate.options.pgd.steps": 2})
    stage.main("tiny", "pgd", "template", "4", "base")
    monkeypatch.setattr("pipeline.evaluation.clean_predictions.clean_predictions", None)
    stage.main("tiny", "pgd", "template", "2.5", "base")
    tables = [
        pq.read_table(
            evaluation_folder("tiny", "template", "pgd", radius, "base") / "predictions.parquet"
        )
        for radius in (4, 2.5)
    ]
    clean = [name for name in PREDICTIONS.names if name.startswith("clean_")]
    assert tables[0].select(clean) == tables[1].select(clean)
    assert tables[0] != tables[1]


def test_a_radius_is_one_of_the_params_as_it_is_written_there(project: Path, capsys) -> None:
    write_params(project)
    for radius in ("2", "4.0", "x"):
        with pytest.raises(SystemExit):
            stage.main("tiny", "pgd", "template", radius, "base")
        error = capsys.readouterr().err
        assert f"evaluate.epsilons_255 has no {radius}, only [4]" in error
    assert not (project / "data/evaluation").exists()


def test_a_set_of_one_class_ends_in_a_message(project: Path, capsys) -> None:
    write_params(project)
    keep_one_class()
    with pytest.raises(SystemExit):
        stage.main("tiny", "pgd", "template", "4", "base")
    error = capsys.readouterr().err
    assert "params.yaml: evaluate.datasets: set 'tiny' has 1 class" in error
    assert "Traceback" not in error
    assert not (project / "data/evaluation").exists()


def test_the_model_is_not_evaluated_on_what_its_training_was_validated_on(project, capsys):
    """The others are."""
    write_params(project, **{"evaluate.options.pgd.steps": 1})
    write_validation_images(clip_folder("finetuned"), open_images("tiny"))
    assert fails(stage.main, "tiny", "pgd", "template", "4", "finetuned") == 1
    message = "evaluate.datasets: set 'tiny' shares 16 images with set 'tiny', which the training"
    assert message in one_line(capsys)
    assert not Path("data/evaluation").exists()
    stage.main("tiny", "pgd", "template", "4", "base")
    assert evaluation_folder("tiny", "template", "pgd", 4, "base").is_dir()
