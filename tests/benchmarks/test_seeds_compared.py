"""The comparison of settings over seeds."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.seeds_compared import bootstrap, main, settings
from pipeline.results.files import PREDICTIONS

LABEL = [0, 1, 2, 3]


def write(runs, run, attack, predicted, robust, dataset="digits", epsilon="4"):
    """predictions.parquet of one attack: four images, right where `predicted` is the label."""
    folder = runs / run / dataset / "template" / attack / epsilon / "finetuned"
    folder.mkdir(parents=True)
    columns = {name: [None] * len(LABEL) for name in PREDICTIONS.names}
    columns |= {"label": LABEL, "clean_prediction": predicted, "robust_any": robust}
    pq.write_table(pa.table(columns, PREDICTIONS), folder / "predictions.parquet")


@pytest.fixture
def runs(tmp_path):
    for seed in (0, 1):
        write(tmp_path, f"a-{seed}", "pgd", [0, 1, 2, 0], [True, True, False, False])
        write(tmp_path, f"a-{seed}", "apgd_ce", [0, 1, 2, 0], [True, False, True, False])
        write(tmp_path, f"b-c-{seed}", "pgd", [0, 1, 2, 3], [True, True, True, seed == 1])
    return tmp_path


def test_an_image_is_robust_only_if_it_withstands_every_attack(runs, capsys):
    main(runs, "a")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| image set | setting | seeds | clean | clean, less a |")
    assert lines[2] == "| `digits` | a | 2 | 75.00 ± 0.00 |  | 25.00 ± 0.00 |  |"
    assert lines[3].startswith("| `digits` | b-c | 2 | 100.00 ± 0.00 | +25.00 (+0.00 to ")
    assert "| 87.50 ± 17.68 | +62.50 (" in lines[3]


def test_settings_are_what_stands_before_the_last_dash(runs):
    (runs / "notes-of-mine").mkdir()
    assert settings(runs) == {"a": (0, 1), "b-c": (0, 1)}


def test_the_interval_covers_seeds_as_well_as_images():
    """Seeds that differ and images that do not, and the reverse: both widen it."""
    generator = np.random.default_rng(1)
    of_seeds = np.repeat(generator.normal(size=(8, 1)), 500, axis=1)
    of_images = np.repeat(generator.normal(size=(1, 500)), 8, axis=0)
    for values, draws in ((of_seeds, 8), (of_images, 500)):
        low, high = bootstrap(values, 2000, 0)
        expected = 2 * 1.96 * values.std() / np.sqrt(draws)
        assert low < values.mean() < high
        assert high - low == pytest.approx(expected, rel=0.12)


def test_what_cannot_be_compared_is_one_line(runs, tmp_path, capsys):
    for arguments, words in (
        ((runs, "c"), "--reference c: no such setting"),
        ((tmp_path / "empty", "a"), "has no folders <setting>-<seed>"),
    ):
        with pytest.raises(SystemExit):
            main(*arguments)
        assert words in capsys.readouterr().err
    write(runs, "a-2", "pgd", LABEL, [True] * 4)
    write(runs, "a-2", "apgd_ce", LABEL, [True] * 4, epsilon="8")
    with pytest.raises(SystemExit):
        main(runs, "a")
    assert "2 text sets and epsilons of finetuned; leave one" in capsys.readouterr().err
