"""One file of a finished project damaged at a time, and the next stage run on it: it says so in one
line, or its outputs are the same, or the change is one that only a checksum could see."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.common import params
from pipeline.report import drawing
from pipeline.report import inputs as report_inputs
from tests.support import mutated_artifacts as table
from tests.support.mutated_project import build, outcome
from tests.support.mutation_outcomes import (
    EITHER,
    ELSEWHERE,
    ERROR,
    NO_EFFECT,
    OUTCOMES,
    expected,
)

SAMPLE = 60


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, clip_folder: Path) -> Iterator[Path]:
    """The project, as current folder; params.yaml is parsed once and pictures are not drawn, which
    would take most of the time."""
    folder = tmp_path_factory.mktemp("mutated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SAFT_DEVICE", "cpu")
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("SAFT_DATA", raising=False)
        build(clip_folder, folder)
        values = params.read_params()
        for module in (params, report_inputs):
            patch.setattr(module, "read_params", lambda file=None: values)
        patch.setattr(drawing, "svg", _numbers_of)
        yield folder


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


def apply(
    artifacts: list[table.Artifact], chosen: set[tuple[str, str]] | None = None
) -> list[Done]:
    """Apply the mutations, or those `chosen` by file and name."""
    done = []
    for artifact in artifacts:
        mutations = [m for m in artifact.mutations if not chosen or (artifact.file, m[0]) in chosen]
        if not mutations:
            continue
        file = sorted(Path().glob(artifact.file))[0]
        before = artifact.again()
        for name, damage in mutations:
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
def test_every_mutation_has_its_outcome(project):
    done = apply(table.all_artifacts())
    insist(done)
    counts = Counter(actual.split(":")[0] for *_, actual in done)
    print(f"{len(done)} mutations of {len(table.all_artifacts())} files: {dict(counts)}; changed:")
    for file, name, reason, actual in done:
        if actual == "changed":
            print(f"  {file}: {name}: {reason}")
    assert len(done) >= 200


def test_a_sample_of_the_mutations_has_its_outcome(project):
    artifacts = table.all_artifacts()
    names = [(artifact.file, name) for artifact in artifacts for name, _ in artifact.mutations]
    insist(apply(artifacts, set(random.Random(16).sample(names, SAMPLE))))
