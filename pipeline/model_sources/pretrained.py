"""A published open_clip model: by name and tag, or a repository of the Hugging Face hub.

For instance ViT-B-32-quickgelu / openai, or hf-hub:<organisation>/<repository> with tag null.
The weights are downloaded on first use, or found in the hub's cache.
"""

from pipeline.models import hub, named
from pipeline.models.interface import BaseModel, ModelCardOrigin
from pipeline.models.named import OriginParams


class Params(hub.HubParams, OriginParams):
    """`models.<name>.options` with source: pretrained."""


def build(params: Params) -> BaseModel:
    """Load the model in float32.

    Raises:
        UserError: see `pipeline.models.hub.load`.
    """
    return named.compared(hub.load(params), params.origin, params.cache_dir)


def about(params: Params) -> ModelCardOrigin:
    """Its name, and the repository of the hub."""
    return hub.about(params)
