"""Models on disk and behind the pixel contract."""

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.clip import model as clip
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.errors import UserError


def pixels(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_folder_loads_with_plain_open_clip_and_gives_equal_outputs(clip_folder):
    ours = clip.load(clip_folder)
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    theirs.eval()
    encoder = clip.image_encoder(ours)
    normalised = (pixels() - encoder.mean) / encoder.std
    with torch.no_grad():  # the patch embedding is another sum: see pipeline.clip.fused
        expected = theirs.encode_image(normalised, normalize=True)
        torch.testing.assert_close(encoder(pixels()).pooled, expected, rtol=0, atol=1e-6)
    assert tuple(transform.transforms[-1].mean) == open_clip.OPENAI_DATASET_MEAN


def test_saving_twice_gives_the_same_bytes_and_the_same_outputs(clip_folder, tmp_path):
    loaded = clip.load(clip_folder)
    clip.save(loaded.model, loaded.config, tmp_path / "copy")
    for name in (clip.CONFIG_FILE, clip.WEIGHTS_FILE):
        assert (tmp_path / "copy" / name).read_bytes() == (clip_folder / name).read_bytes()


def test_patch_tokens_equal_forward_intermediates(clip_folder):
    encoder = clip.image_encoder(clip.load(clip_folder))
    normalised = (pixels() - encoder.mean) / encoder.std
    with torch.no_grad():
        features = encoder(pixels())
        expected = encoder.visual.forward_intermediates(
            normalised, indices=1, normalize_intermediates=True, output_fmt="NLC"
        )["image_intermediates"][0]
    torch.testing.assert_close(features.tokens, expected)
    projected = encoder.project(features)
    assert projected.shape == (3, 1 + 16, 16)
    torch.testing.assert_close(projected[:, 1:], expected @ encoder.visual.proj)
    torch.testing.assert_close(projected[:, 0], encoder.visual(normalised)[0])


def test_grad_and_no_grad_forwards_are_bit_equal(clip_folder):
    encoder = clip.image_encoder(clip.load(clip_folder))
    with torch.no_grad():
        plain = encoder(pixels()).pooled
    assert torch.equal(plain, encoder(pixels().requires_grad_()).pooled.detach())


def test_text_features_do_not_depend_on_the_batch(clip_folder):
    loaded = clip.load(clip_folder)
    texts = [f"a photo of a {c}" for c in ("red star", "blue ring", "dog")]
    whole = encode_texts(loaded, texts, torch.device("cpu"))
    single = encode_texts(loaded, texts, torch.device("cpu"), batch=1)
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(3))


def test_one_text_and_three_hundred_give_the_same_features_and_ranks(clip_folder):
    loaded = clip.load(clip_folder)
    texts = [
        f"a photo of a {colour} {n}"
        for n in range(60)
        for colour in ["red", "blue", "grey", "pink", "tan"]
    ]
    images = clip.image_encoder(loaded)(pixels(8)).pooled.detach()
    whole = encode_texts(loaded, texts, torch.device("cpu"))
    for number in (0, 17, 255, 256, 299):  # before and after the encoder's own batches of 256
        alone = encode_texts(loaded, [texts[number]], torch.device("cpu"))[0]
        torch.testing.assert_close(whole[number], alone, rtol=0, atol=1e-6)
    single = torch.cat([encode_texts(loaded, [text], torch.device("cpu")) for text in texts])
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-6)
    orders = [(images.double() @ text.double().T).argsort(1) for text in (whole, single)]
    scores = images.double() @ whole.double().T
    ranked = [scores.gather(1, order) for order in orders]
    torch.testing.assert_close(*ranked, rtol=0, atol=1e-6)  # texts nearer than that may swap
    assert whole.std(0).min() > 1e-3, "the texts differ"


def test_only_the_image_encoder_takes_gradients(clip_folder):
    loaded = clip.load(clip_folder)
    encoder = clip.image_encoder(loaded)
    clip.train_only_image_encoder(loaded, encoder)
    trained = {name for name, p in loaded.model.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in loaded.model.named_parameters() if n.startswith("visual.")}


def damaged(clip_folder: Path, tmp_path: Path, change) -> Path:
    folder = tmp_path / "damaged"
    shutil.copytree(clip_folder, folder)
    weights = load_file(folder / clip.WEIGHTS_FILE)
    change(weights)
    save_file(weights, folder / clip.WEIGHTS_FILE)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.pop("visual.proj"),
        lambda w: w.update({"visual.proj": torch.zeros(32, 8)}),
        lambda w: w.update({"extra": torch.zeros(1)}),
    ],
    ids=["missing key", "other shape", "unknown key"],
)
def test_weights_that_do_not_fit_are_named(clip_folder, tmp_path, change):
    with pytest.raises(UserError, match=clip.WEIGHTS_FILE) as caught:
        clip.load(damaged(clip_folder, tmp_path, change))
    assert "\n" not in str(caught.value)


def test_missing_files_and_broken_config_are_named(clip_folder, tmp_path):
    with pytest.raises(UserError, match="not found"):
        clip.load(tmp_path)
    (tmp_path / clip.CONFIG_FILE).write_text("{")
    with pytest.raises(UserError, match="not an open_clip config"):
        clip.load(tmp_path)
    (tmp_path / clip.CONFIG_FILE).write_text(
        json.dumps(json.loads((clip_folder / clip.CONFIG_FILE).read_text()))
    )
    with pytest.raises(UserError, match=clip.WEIGHTS_FILE):
        clip.load(tmp_path)


def test_check_fit_names_both_sizes(clip_folder):
    encoder = clip.image_encoder(clip.load(clip_folder))
    clip.check_fit(encoder, 16, 16, "model")
    with pytest.raises(UserError, match="16 x 16 pixels, the images are 32 x 32"):
        clip.check_fit(encoder, 32, 16, "model")
    with pytest.raises(UserError, match="the text embeddings 8"):
        clip.check_fit(encoder, 16, 8, "model")
