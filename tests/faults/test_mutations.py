"""One file of a finished project damaged at a time, and the next stage run on it: it says so in one
line, or its outputs are the same, or the change is one that only a checksum could see."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.common import params
from pipeline.report import drawing
from pipeline.report import inputs as report_inputs
from tests.support import mutated_artifacts as table
from tests.support.mutated_project import build, build_texts, outcome
from tests.support.mutation_outcomes import (
    EITHER,
    ELSEWHERE,
    ERROR,
    NO_EFFECT,
    OUTCOMES,
    expected,
)

SAMPLE = 60


@contextmanager
def entered(
    folder: Path, weights: Path, build_project: Callable[[Path, Path], None]
) -> Iterator[None]:
    """The project as current folder; params.yaml is parsed once and pictures are not drawn, which
    would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SAFT_DEVICE", "cpu")
        for name in ("DVC_ROOT", "SAFT_DATA"):
            patch.delenv(name, raising=False)
        build_project(weights, folder)
        values = params.read_params()
        for module in (params, report_inputs):
            patch.setattr(module, "read_params", lambda file=None: values)
        patch.setattr(drawing, "svg", _numbers_of)
        yield


def _numbers_of(draw, height: float) -> bytes:
    """In place of a picture: the numbers in it."""
    figure = drawing.Figure()
    draw(figure)
    shown = [
        [line.get_xydata().tolist() for line in axes.lines]
        + [patch.get_extents().bounds for patch in axes.patches]
        + [image.get_array().tolist() for image in axes.images]
        for axes in figure.axes
    ]
    return repr(shown).encode()


Done = tuple[str, str, str, str]  # file, mutation, what was expected of it, what came of it


def apply(artifacts: list[table.Artifact]) -> list[Done]:
    """Apply every mutation."""
    done = []
    for artifact in artifacts:
        file = sorted(Path().glob(artifact.file))[0]
        before = artifact.again()
        for name, damage in artifact.mutations:
            actual = outcome(file, damage, artifact.again, before)
            done.append((artifact.file, name, expected(artifact.file, name), actual))
        if artifact.again() != before:
            done.append((artifact.file, "none", NO_EFFECT, "changed: the project as it was"))
    return done


def is_as_expected(outcome_expected: str, actual: str) -> bool:
    if outcome_expected in (ERROR, NO_EFFECT):
        return actual == outcome_expected
    if outcome_expected == EITHER:
        return actual in (ERROR, NO_EFFECT)
    if outcome_expected == ELSEWHERE:
        return actual.startswith(ELSEWHERE)
    return actual == "changed"  # as listed, with the reason


def insist(done: list[Done]) -> None:
    wrong = [
        f"{file}: {name}: expected {of_it}: {actual}"
        for file, name, of_it, actual in done
        if not is_as_expected(of_it, actual)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(done)}", *wrong])


def test_every_outcome_is_of_a_mutation():
    known: dict[str, list[str]] = {}
    for artifact in table.all_artifacts():
        known.setdefault(artifact.file, []).extend(name for name, _ in artifact.mutations)
    for file, names in known.items():
        assert len(set(names)) == len(names), file
    for file, outcomes in OUTCOMES.items():
        assert set(outcomes) <= set(known[file]), file


@pytest.mark.campaign
def test_every_mutation_has_its_outcome(tmp_path, clip_folder):
    with entered(tmp_path, clip_folder, build):
        done = apply(table.all_artifacts())
    insist(done)
    counts = Counter(actual.split(":")[0] for *_, actual in done)
    print(f"{len(done)} mutations of {len(table.all_artifacts())} files: {dict(counts)}; changed:")
    for file, name, reason, actual in done:
        if actual == "changed":
            print(f"  {file}: {name}: {reason}")
    assert len(done) >= 200


def test_a_sample_of_the_mutations_of_texts_is_refused(tmp_path, clip_folder):
    """Of those that have to be: what a stage makes of the undamaged file is not computed."""
    with entered(tmp_path, clip_folder, build_texts):
        refused = [
            (artifact, name, damage)
            for artifact in table.of_texts()
            if Path(artifact.file).exists()
            for name, damage in artifact.mutations
            if expected(artifact.file, name) == ERROR
        ]
        assert len(refused) > 300
        done = [
            (artifact.file, name, ERROR, outcome(Path(artifact.file), damage, artifact.again, {}))
            for artifact, name, damage in random.Random(16).sample(refused, SAMPLE)
        ]
    insist(done)
