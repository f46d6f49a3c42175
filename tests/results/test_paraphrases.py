"""An image counts only if it is right under every text set."""

import numpy as np
import pytest

from pipeline.results.paraphrases import right_under_all, worst_case
from pipeline.results.statistics import wilson


def test_an_image_counts_only_if_right_under_every_text_set() -> None:
    first = np.array([True, True, False, False])
    second = np.array([True, False, True, False])
    assert right_under_all([first, second]).tolist() == [True, False, False, False]
    assert worst_case([first, second]) == wilson(1, 4)
    assert worst_case([first, second]).value < min(first.mean(), second.mean())


def test_one_text_set_is_its_own_worst_case_and_another_never_raises_it() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.random(50) < 0.8 for _ in range(4)]
    assert worst_case(sets[:1]) == wilson(int(sets[0].sum()), 50)
    shares = [worst_case(sets[: count + 1]).correct for count in range(4)]
    assert shares == sorted(shares, reverse=True)
    assert shares[3] == sum(all(flags) for flags in zip(*sets, strict=True))
    assert worst_case(sets[::-1]) == worst_case(sets)


def test_verdicts_of_other_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"of other images: \[3, 1\]"):
        right_under_all([np.ones(3, dtype=bool), np.ones(1, dtype=bool)])
    with pytest.raises(ValueError, match="of other images"):
        right_under_all([])
