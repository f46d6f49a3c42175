"""Prefixes by one rule: stripped if all keys then are the weights of one layout."""

import pytest
import torch
from open_clip.model import CLIP

from pipeline.models import layouts, prefixes
from tests.conftest import MODEL_CFG
from tests.support.clip_layouts import prefixed, transformers_state

MODEL = CLIP(**MODEL_CFG)
WHOLE = MODEL.state_dict()
IMAGE = MODEL.visual.state_dict()
PREFIXES = (
    "", "module.", "_orig_mod.", "model.", "visual.", "model.visual.", "net.", "encoder.",
    "backbone.", "module.model.visual.", "model.module._orig_mod.", "student.net.",
)  # fmt: skip


def best(state) -> tuple[prefixes.Match, dict]:
    state = prefixes.unwrapped(state)
    return prefixes.matches(state, layouts.of_model(MODEL))[0], state


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("part", ["image encoder", "whole CLIP"])
def test_every_prefix_of_all_keys_is_stripped(prefix, part):
    weights = IMAGE if part == "image encoder" else WHOLE
    match, state = best(prefixed(prefix, weights))
    assert match.exact
    assert match.layout.title == part
    bare = {key.removeprefix(match.prefix): value for key, value in state.items()}
    for name, value in match.layout.convert(bare).items():
        assert torch.equal(value, WHOLE[name]), name


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_the_transformers_layout(prefix):
    match, _ = best(prefixed(prefix, transformers_state(WHOLE)))
    assert match.exact
    assert match.layout.title == "whole CLIP in the layout of transformers"


def test_wrapped_modules_further_down():
    inside = {f"visual._orig_mod.{key}": value for key, value in IMAGE.items()}
    text = {key: value for key, value in WHOLE.items() if not key.startswith("visual.")}
    blocks = {key.replace("resblocks.0.", "resblocks.0.module."): v for key, v in IMAGE.items()}
    for state in (inside | text, blocks):
        assert best(state)[0].exact


def test_two_keys_that_would_become_one_are_kept_apart():
    state = {"a.module.b": torch.zeros(1), "a.b": torch.ones(1)}
    assert prefixes.unwrapped(state) == state


def test_sizes_and_masks_beside_the_weights_are_no_weights():
    sizes = {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77),
             "vocab_size": torch.tensor(49408), "attn_mask": torch.zeros(2, 2)}  # fmt: skip
    assert best(prefixed("module.", WHOLE | sizes))[0].exact


def test_open_clips_later_layout_has_the_text_half_below_text():
    inside = ("visual.", "logit_scale")
    state = {key if key.startswith(inside) else f"text.{key}": v for key, v in WHOLE.items()}
    match, _ = best(state)
    assert match.exact
    assert torch.equal(match.layout.convert(state)["ln_final.weight"], WHOLE["ln_final.weight"])


@pytest.mark.parametrize("change", ["one more", "one less", "one without the prefix"])
def test_never_a_part(change):
    state = prefixed("module.", IMAGE)
    if change == "one more":
        state["module.head"] = torch.zeros(2)
    elif change == "one less":
        del state["module.ln_post.bias"]
    else:
        state["proj"] = state.pop("module.proj")
    assert not any(
        match.exact
        for match in prefixes.matches(prefixes.unwrapped(state), layouts.of_model(MODEL))
    )
