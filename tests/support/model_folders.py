"""A chat model in a folder, as small as can be; no engine runs it."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def write_model_folder(folder: Path, weight: float = 1.0) -> Path:
    """Configuration, template and one tensor of 4 x `weight`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "some", "architectures": ["SomeForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    save_file({"w": torch.full((4,), weight)}, folder / "model.safetensors")
    return folder
