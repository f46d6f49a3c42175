"""What every description backend declares."""

import pytest

from pipeline.common import registry
from pipeline.descriptions.generation_params import GenerationParams


@pytest.mark.parametrize("name", registry.names("pipeline.backends"))
def test_a_backend_declares_whether_it_asks_a_model(name):
    backend = registry.load("pipeline.backends", name, "test")
    assert isinstance(backend.ASKS_MODEL, bool)
    assert issubclass(backend.Params, GenerationParams) == backend.ASKS_MODEL
