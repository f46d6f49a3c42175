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


def check(artifacts: list[table.Artifact], chosen: set[tuple[str, str]] | None = None) -> Counter:
    """Apply the mutations, or those `chosen` by file and name; how many had which outcome."""
    counts: Counter[str] = Counter()
    wrong = []
    for artifact in artifacts:
        mutations = [m for m in artifact.mutations if not chosen or (artifact.file, m[0]) in chosen]
        if not mutations:
            continue
        file = sorted(Path().glob(artifact.file))[0]
        before = artifact.again()
        assert artifact.again() == before, f"{file}: the stage has to do the same twice"
        for name, damage in mutations:
            expected = artifact.expected(name)
            kind = expected if expected in (table.ERROR, table.NO_EFFECT) else "changed"
            actual = outcome(file, damage, artifact.again, before)
            counts[kind] += 1
            if actual != kind:
                wrong.append(f"{artifact.file}: {name}: expected {expected}: {actual}")
        assert artifact.again() == before, f"{file}: the project has to be as it was"
    assert not wrong, "\n".join([f"{len(wrong)} of {counts.total()}", *wrong])
    return counts


def test_every_outcome_is_of_a_mutation():
    for artifact in table.all_artifacts():
        names = [name for name, _ in artifact.mutations]
        assert len(set(names)) == len(names), artifact.file
    known = {}
    for artifact in table.all_artifacts():
        known.setdefault(artifact.file, set()).update(name for name, _ in artifact.mutations)
    for file, outcomes in table.OUTCOMES.items():
        assert set(outcomes) <= known[file], file


@pytest.mark.campaign
def test_every_mutation_has_its_outcome(project):
    counts = check(table.all_artifacts())
    print(f"{counts.total()} mutations: {dict(counts)}")
    assert counts.total() >= 200


def test_a_sample_of_the_mutations_has_its_outcome(project):
    artifacts = table.all_artifacts()
    names = [(artifact.file, name) for artifact in artifacts for name, _ in artifact.mutations]
    check(artifacts, set(random.Random(16).sample(names, SAMPLE)))
