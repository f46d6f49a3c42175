"""A published open_clip model: by name and tag, or a repository of the Hugging Face hub.

For instance ViT-B-32-quickgelu / openai, or hf-hub:<organisation>/<repository> with tag null.
The weights are downloaded on first use, or found in the hub's cache.
"""

import torch

from pipeline.models import hub, named
from pipeline.models.interface import BaseModel, ModelCardOrigin
from pipeline.models.named import OriginParams


class Params(hub.HubParams, OriginParams):
    """Options of `pretrained`."""


def build(params: Params, dataset: str, seed: int, device: torch.device) -> BaseModel:
    """Load the model in float32.

    Raises:
        UserError: see `pipeline.models.hub.load`.
    """
    model = named.compared(hub.load(params), params.origin, params.cache_dir)
    return named.say(model, hub.title(params))


def about(params: Params, dataset: str) -> ModelCardOrigin:
    """Its name, and the repository of the hub."""
    return hub.about(params)
