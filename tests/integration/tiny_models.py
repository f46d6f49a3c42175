"""Tiny random models that vLLM loads: a language model and a vision-language model.

Both are made on the spot in seconds, tokenizer included, with the same bytes each time. What
they write is gibberish, but it depends on question, images and seed, as a real model's does. It
is readable gibberish: a string seldom begins or ends with a bracket or runs to its limit, which
the reading of answers takes for broken JSON.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

BOS, EOS, PAD, IMAGE = "<s>", "</s>", "<pad>", "<image>"
SIZE, PATCH = 32, 8  # of the images the vision tower takes, in pixels
CONTEXT = 2048
CORPUS = [
    "a photo of a cat, a dog, a car and a plane in a clear blue sky",
    "describe what makes this class of object look like no other",
    # no word of the answer's key, so that it takes most of the 16 tokens that an answer may have
    '{"a long tail","two wings","four wheels"}',
    "user: assistant: system: the quick brown fox jumps over the lazy dog 0123456789",
] * 8
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: "
    "{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}" + IMAGE + "{% elif p['type'] == 'text' %}{{ p['text'] }}"
    "{% endif %}{% endfor %}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def build_text_model(folder: Path) -> Path:
    """A two-layer Llama."""
    tokenizer = _tokenizer(folder)
    _save(LlamaForCausalLM(_text_config(tokenizer)), tokenizer, folder)
    return folder


def build_vision_model(folder: Path) -> Path:
    """LLaVA: a two-layer CLIP tower in front of the two-layer Llama."""
    tokenizer = _tokenizer(folder)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIZE,
            patch_size=PATCH,
            projection_dim=32,
        ),
        text_config=_text_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(SIZE // PATCH) ** 2,
    )
    _save(LlavaForConditionalGeneration(config), tokenizer, folder)
    _rename_vision_weights(folder / "model.safetensors")
    _write_processor(folder)
    return folder


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        # no token such as '["', which would end most strings with a bracket
        [pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[BOS, EOS, PAD, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE},
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _text_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Weights ten times the usual size: with small ones only the seed decides the output. Those
    of the quotation mark are larger still, so that a string ends after some ten tokens."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.2, generator=generator)
        model.get_output_embeddings().weight[tokenizer.convert_tokens_to_ids('"')] *= 3
    model.save_pretrained(folder)


def _rename_vision_weights(file: Path) -> None:
    """The names that published LLaVA checkpoints and vLLM use."""
    old, new = "vision_tower.", "vision_tower.vision_model."
    tensors = {k if new in k else k.replace(old, new, 1): v for k, v in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def _write_processor(folder: Path) -> None:
    image_processor = {
        "processor_class": "LlavaProcessor",
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": IMAGE,
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(image_processor))
    (folder / "processor_config.json").write_text(json.dumps(processor))
