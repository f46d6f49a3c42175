"""AutoAttack by the authors' library, and what is done where there are few classes."""

import sys

import numpy as np
import pyautoattack
import pytest
import torch
from torch import Tensor

from pipeline.attacks import apgd_ce, autoattack, autoattack_ce_dlr
from pipeline.common.errors import UserError
from pipeline.evaluation import autoattack_library
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from tests.support.classifiers import (
    CPU,
    Counting,
    Hand,
    Net,
    attack,
    fit,
    make_targets,
    only_right,
    settings,
    with_other_texts,
)

N, C = 24, 5
EPSILON = 10 / 255


@pytest.fixture(scope="module")
def targets() -> Targets:
    return make_targets(N, C)


@pytest.fixture(scope="module")
def classifier(targets: Targets) -> ZeroShotClassifier:
    return fit(Net(), targets)


@pytest.fixture
def steps_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which attack of the library was run on how many images, in order."""
    ran: list[str] = []

    def noted(kind, name):
        whole = kind.perturb

        def perturb(self, x, y=None, *arguments):
            ran.append(f"{name(self)} {len(x)}")
            return whole(self, x, y, *arguments)

        monkeypatch.setattr(kind, "perturb", perturb)

    library = pyautoattack.autoattack
    noted(library.APGDAttack, lambda a: f"apgd-{a.loss} {a.n_iter} {a.n_restarts}")
    noted(
        library.APGDAttack_targeted,
        lambda a: f"apgd-t {a.n_iter} {a.n_restarts} {a.n_target_classes}",
    )
    noted(
        library.FABAttack_PT,
        lambda a: f"fab-t {a.targeted} {a.n_iter} {a.n_restarts} {a.n_target_classes}",
    )
    noted(library.SquareAttack, lambda a: f"square {a.n_queries} {a.n_restarts}")
    return ran


def test_the_standard_version_runs_its_four_attacks_and_beats_the_first(
    classifier, targets, steps_run
):
    s = settings(N, epsilon=EPSILON, examples=np.arange(N))
    whole = autoattack.run(classifier, targets, autoattack.Params(), s)
    names = [line.rsplit(" ", 1)[0] for line in steps_run]
    assert names == ["apgd-ce 100 1", "apgd-t 100 1 4", "fab-t True 100 1 4", "square 5000 1"]
    attacked = [int(line.rsplit(" ", 1)[1]) for line in steps_run]
    assert attacked[0] == len(only_right(classifier, targets).labels)
    assert attacked == sorted(attacked, reverse=True), "each has what those before it left"
    first = autoattack_library.run(classifier, targets, s, ["apgd-ce"], "first")
    assert ((whole.fooled_at == 0) >= (first.fooled_at == 0)).all()
    ours = apgd_ce.run(classifier, targets, apgd_ce.Params(steps=100, restarts=1), s)
    robust = int((whole.fooled_at < 0).sum())
    assert robust <= (ours.fooled_at < 0).sum()
    assert robust <= attacked[-1]
    assert 0 < robust < attacked[0]
    assert whole.note == ""


def test_the_short_form_runs_two(classifier, targets, steps_run):
    s = settings(N, epsilon=EPSILON)
    autoattack_ce_dlr.run(classifier, targets, autoattack_ce_dlr.Params(), s)
    assert [line.rsplit(" ", 1)[0] for line in steps_run] == ["apgd-ce 100 1", "apgd-dlr 100 1"]


@pytest.mark.parametrize(
    ("name", "classes", "note"),
    [
        ("apgd_dlr", 2, "2 classes: margin loss, DLR needs 3"),
        ("apgd_dlr", 3, ""),
        ("apgd_dlr", 4, ""),
        ("apgd_t", 2, "2 classes: margin loss, targeted DLR needs 4"),
        ("apgd_t", 3, "3 classes: margin loss, targeted DLR needs 4"),
        ("apgd_t", 4, "4 classes: 3 targets each"),
        ("apgd_t", 5, "5 classes: 4 targets each"),
        ("apgd_t", 8, "8 classes: 7 targets each"),
        ("apgd_t", 10, ""),
        ("autoattack", 2, "2 classes: APGD-T left out, it needs 4"),
        ("autoattack", 3, "3 classes: APGD-T left out, it needs 4"),
        ("autoattack", 4, ""),
        ("autoattack_ce_dlr", 2, "2 classes: APGD-DLR left out, it needs 3"),
        ("autoattack_ce_dlr", 3, ""),
    ],
)
def test_few_classes_are_attacked_and_the_outcome_says_how(name, classes, note):
    targets = make_targets(12, classes)
    classifier = fit(Net(), targets)
    module, options = attack(name, targets=9, steps=20)
    # wide enough that little is left for the library's slow attacks
    outcome = module.run(classifier, targets, options, settings(12, epsilon=40 / 255))
    assert outcome.note == note
    images, labels = targets.read(slice(None), CPU)
    clean = classifier(images).argmax(1) == labels
    assert clean.sum() > (outcome.fooled_at < 0).sum()


@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_left_runs_with_few_classes(classes, steps_run, monkeypatch):
    whole = autoattack_library._make_adversary

    def short(*arguments):
        adversary = whole(*arguments)
        adversary.square.n_queries = adversary.fab.n_iter = 10
        return adversary

    monkeypatch.setattr(autoattack_library, "_make_adversary", short)
    targets = make_targets(12, classes)
    classifier = fit(Net(), targets)
    outcome = autoattack.run(
        classifier, targets, autoattack.Params(), settings(12, epsilon=4 / 255)
    )
    kinds = [line.split(" ")[0] for line in steps_run]
    assert kinds == ["apgd-ce", "fab-t", "square"]
    assert (outcome.fooled_at < 0).any()


def test_targets_never_outnumber_the_other_classes():
    targets = make_targets(12, 3)
    encoder = Counting(Net())
    classifier = fit(encoder, targets)
    encoder.batches.clear()
    module, options = attack("apgd_t", targets=9, steps=2)
    s = settings(12, epsilon=0.01 / 255)  # nothing more is misclassified
    robust = int((module.run(classifier, targets, options, s).fooled_at < 0).sum())
    # two rounds of three iterates, two rankings of the classes, and the last verdict
    fooled = 12 - robust
    assert encoder.images == robust * (2 * 3 + 2 + 1) + fooled * 3


@pytest.mark.parametrize("seed", [0, 1])
def test_ours_and_the_librarys_agree_on_most_images_from_starts_of_their_own(seed):
    """Two tools draw two starts: at least 90 % of the verdicts are the same all the same."""
    many = make_targets(60, C)
    classifier = fit(Net(), many)
    s = settings(60, epsilon=6 / 255, seed=seed)
    theirs = autoattack_library.run(classifier, many, s, ["apgd-ce"], "x").fooled_at < 0
    ours = apgd_ce.run(classifier, many, apgd_ce.Params(steps=100, restarts=1), s).fooled_at < 0
    assert (theirs == ours).mean() >= 0.9
    assert 0.1 < ours.mean() < 0.9


def test_calls_are_whole_batches_and_their_number_changes_no_verdict(
    classifier, targets, steps_run, monkeypatch
):
    s = settings(N, epsilon=EPSILON, batch_size=5, examples=np.array([1, 13, 22]))
    kinds = ["apgd-ce"]
    monkeypatch.setattr(autoattack_library, "IMAGES_AT_ONCE", 12)
    parts = autoattack_library.run(classifier, targets, s, kinds, "x")
    images, _ = targets.read(slice(None), CPU)
    logits = classifier((images[s.examples] + torch.from_numpy(parts.perturbations)).clamp(0, 1))
    assert logits.argmax(1).tolist() == parts.prediction[s.examples].tolist()
    calls = [int(line.rsplit(" ", 1)[1]) for line in steps_run]
    assert max(calls) <= 5
    assert sum(calls) == len(only_right(classifier, targets).labels)


def test_a_missing_library_is_a_plain_message(classifier, targets, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(UserError, match=r"pip install pyautoattack==0.2.0"):
        autoattack.run(classifier, targets, autoattack.Params(), settings(N))


def test_the_librarys_doubts_become_a_note(targets):
    net, generator = Net(), torch.Generator().manual_seed(0)

    def noisy(images: Tensor) -> Tensor:
        features = net(images).pooled
        return features + 0.05 * torch.randn(features.shape, generator=generator)

    classifier = fit(Hand(noisy), targets)
    outcome = autoattack_library.run(
        classifier, targets, settings(N, epsilon=EPSILON), ["apgd-ce"], "x"
    )
    assert outcome.note == "the library warns: two forward passes of the same images differ"


def test_an_attacker_with_other_texts_is_refused(classifier, targets):
    """The library would stop at what the attacker's texts get wrong and call it AutoAttack."""
    other = with_other_texts(classifier, [1, 0, 2, 3, 4])
    with pytest.raises(UserError, match="evaluate.attacker: x needs the classifier's own texts"):
        autoattack_library.run(other, targets, settings(N, epsilon=EPSILON), ["apgd-ce"], "x")


def test_a_debugger_or_coverage_keeps_its_trace(classifier, targets):
    def trace(frame, event, argument):
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        autoattack_library.run(classifier, targets, settings(N, epsilon=EPSILON), ["apgd-ce"], "x")
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is trace
