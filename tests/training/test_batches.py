"""The order in which images are trained on."""

import numpy as np

from pipeline.training.batches import batch_indices, total_steps
from tests.support.training_runs import N, recipe


def test_every_epoch_visits_every_image_once_in_a_new_order():
    total = total_steps(N, recipe())
    assert total == 9
    orders = []
    for epoch in range(3):
        steps = [batch_indices(3 * epoch + s, N, 4, seed=0) for s in range(3)]
        assert [len(s) for s in steps] == [4, 4, 2]
        assert sorted(np.concatenate(steps).tolist()) == list(range(N))
        orders.append([s.tolist() for s in steps])
    assert orders[0] != orders[1]
    assert [s.tolist() for s in (batch_indices(i, N, 4, seed=0) for i in range(3))] == orders[0]
    assert [s.tolist() for s in (batch_indices(i, N, 4, seed=1) for i in range(3))] != orders[0]
