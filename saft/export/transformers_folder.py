"""The folder that `transformers.CLIPModel.from_pretrained` and `CLIPProcessor` load."""

from pathlib import Path

from safetensors.torch import save_file

from pipeline.clip.model import Clip
from pipeline.common.storage import numbers_from_words
from saft.export import transformers_tokenizer
from saft.export.transformers_config import model_config, preprocessor_config
from saft.export.transformers_layout import to_transformers
from saft.export.transformers_tokenizer import write_json

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


def write(clip: Clip, folder: Path) -> None:
    """Write config, weights in float32, preprocessing and tokenizer. Same model, same bytes.

    Raises:
        UserError: transformers' CLIP cannot be this model.
        OSError: the weights cannot be written.
    """
    write_json(model_config(clip), folder / CONFIG_FILE)
    write_json(preprocessor_config(clip), folder / "preprocessor_config.json")
    transformers_tokenizer.write(clip.tokenize, clip.model.context_length, folder)
    weights = to_transformers(clip.model.state_dict())
    with numbers_from_words(folder / WEIGHTS_FILE):
        save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    # safetensors writes for the owner's eyes only
    (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode)
