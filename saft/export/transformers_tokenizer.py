"""Files of transformers' CLIPTokenizer with the vocabulary that open_clip ships.

Both give the same ids up to the end of the text; behind it open_clip pads with 0 and transformers
with the end token, which the causal mask hides from the pooled token. open_clip also repairs
mojibake and HTML entities ("&amp;") in a text; transformers does not.
"""

import json
from pathlib import Path
from typing import Any

from open_clip.tokenizer import SimpleTokenizer, get_clean_fn

from pipeline.common.errors import UserError

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
BEGIN_ID, END_ID = 49406, 49407
VOCABULARY_FILE, MERGES_FILE = "vocab.json", "merges.txt"
SPECIAL = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": END}


def write(tokenizer: Any, context: int, folder: Path) -> None:
    """Write the four files of CLIPTokenizer. context: tokens that the text encoder reads.

    Raises:
        UserError: the tokenizer is another than CLIP's.
    """
    _check_is_clips(tokenizer, context)
    vocabulary = dict(tokenizer.encoder)
    for token_id, name in ((BEGIN_ID, BEGIN), (END_ID, END)):
        del vocabulary[tokenizer.decoder[token_id]]
        vocabulary[name] = token_id
    merges = ["#version: 0.2", *(" ".join(pair) for pair in tokenizer.bpe_ranks)]
    config = SPECIAL | {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": context,
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
    }
    write_json(vocabulary, folder / VOCABULARY_FILE)
    (folder / MERGES_FILE).write_text("\n".join(merges) + "\n", encoding="utf-8")
    write_json(config, folder / "tokenizer_config.json")
    write_json(SPECIAL, folder / "special_tokens_map.json")


def reread(folder: Path, context: int) -> SimpleTokenizer:
    """open_clip's tokenizer with the vocabulary and the merges of a written folder."""
    tokenizer = SimpleTokenizer(context_length=context)
    tokenizer.encoder = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
    merges = (folder / MERGES_FILE).read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    tokenizer.bpe_ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(merges)}
    tokenizer.sot_token_id, tokenizer.eot_token_id = (tokenizer.encoder[t] for t in (BEGIN, END))
    return tokenizer


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write a JSON file as transformers does, keys in the order of `values`."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _check_is_clips(tokenizer: Any, context: int) -> None:
    clips = (
        type(tokenizer) is SimpleTokenizer
        and len(tokenizer.encoder) == END_ID + 1
        and tokenizer.clean_fn is get_clean_fn("lower")
        and tokenizer.reduction_fn is None
    )
    if not clips:
        raise UserError(
            "model_cfg.text_cfg.tokenizer_kwargs: transformers' CLIP has only CLIP's own "
            "tokenizer; use --format open_clip"
        )
    if tokenizer.context_length != context:
        raise UserError(
            f"model_cfg.text_cfg: a tokenizer of {tokenizer.context_length} tokens for a text "
            f"encoder of {context}: transformers' CLIP has one length; use --format open_clip"
        )
