"""The recipe of each provider in docs/descriptions.md, against a stand-in that is as strict."""

import pytest

from tests.support import providers
from tests.support.openai_backend import describe, refused
from tests.support.tasks import PROMPTS

KEYED = {"api_key_env": "PROVIDER_KEY"}
RECIPES = {
    "vllm": ("/v1", {
        "model": "qwen", "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
    }),
    "llama_cpp": ("/v1", KEYED),
    "ollama": ("/v1", {"model": "qwen2.5:7b"}),
    "openai_reasoning": ("/v1", KEYED | {
        "temperature": None, "top_p": None, "limit_field": "max_completion_tokens",
        "extra_body": {"reasoning_effort": "low"},
    }),
    "gemini": ("/v1beta/openai", KEYED | {"seed_field": None}),
    "mistral": ("/v1", KEYED | {"seed_field": "random_seed"}),
    "azure": ("/openai/deployments/my-gpt", KEYED | {
        "key_header": "api-key", "query": {"api-version": "2024-10-21"},
    }),
}  # fmt: skip


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("PROVIDER_KEY", providers.KEY)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_gets_every_answer_that_is_not_refused(provide, tmp_path, name):
    path, changes = RECIPES[name]
    answers = describe(tmp_path, provide(getattr(providers, name)).origin + path, **changes)
    refused_class = {"c1"} if name in ("gemini", "azure") else set()
    described = {"c0", "c1", "c2"} - refused_class
    assert {s.class_id for s in answers.sentences} == described
    assert len(answers.sentences) == 30 * len(described)
    assert not any("think" in s.text for s in answers.sentences)
    counts = answers.provenance["counts"]
    assert counts["lost"] == 10 * len(refused_class)
    assert counts["refused"] == 3 * counts["lost"], "each is asked again twice"
    assert providers.KEY not in str(answers.provenance)


@pytest.mark.parametrize(
    ("name", "without", "says"),
    [
        ("vllm", {"model": "other"}, "HTTP 404: The model `other` does not exist.; does base_url"),
        ("llama_cpp", {"api_key_env": None}, "HTTP 401: Invalid API Key; does api_key_env name"),
        ("ollama", {"model": "other"}, 'model "other" not found, try pulling it first; does'),
        ("openai_reasoning", {"limit_field": "max_tokens"}, "Use 'max_completion_tokens' instead."),
        ("openai_reasoning", {"temperature": 0.9}, "'temperature' does not support 0.9 with this"),
        ("gemini", {"seed_field": "seed"}, 'HTTP 400: Invalid JSON payload received. Unknown name '
         '"seed": Cannot find field.; what a server does not take is left out: null for'),
        ("mistral", {"seed_field": "seed"}, '"loc": ["body", "seed"]'),
        ("azure", {"key_header": "Authorization"}, "HTTP 401: Access denied due to invalid"),
        ("azure", {"query": {}}, "HTTP 404: Resource not found; does base_url end"),
    ],
)  # fmt: skip
def test_what_the_recipe_is_for(provide, tmp_path, name, without, says):
    path, changes = RECIPES[name]
    server = provide(getattr(providers, name))
    message = refused(tmp_path, server.origin + path, **changes | without)
    assert says in message
    assert "class 'c" in message
    assert "question '" in message


def test_a_base_url_without_v1_is_asked_about(provide, tmp_path):
    for provider in (providers.vllm, providers.ollama):
        message = refused(tmp_path, provide(provider).origin)
        assert "HTTP 404: " in message
        assert "does base_url end where the API begins (mostly in /v1)" in message


def test_thoughts_are_never_an_answer(provide, tmp_path):
    """Of vLLM with a reasoning parser and thinking switched on: content is empty."""
    server = provide(providers.vllm)
    message = refused(tmp_path, server.origin + "/v1", "describe: ", model="qwen")
    assert "none of the first 20 answers of qwen can be read (20 unreadable)" in message
    assert """only thoughts: '{"sentences": ["Hm."]}'""" in message
    assert "switch thinking off" in message


def test_a_key_of_its_own_header_is_not_shown(provide, tmp_path, monkeypatch):
    path, changes = RECIPES["openai_reasoning"]
    monkeypatch.setenv("PROVIDER_KEY", "sk-wrong-0123456789")
    message = refused(tmp_path, provide(providers.openai_reasoning).origin + path, **changes)
    assert "Incorrect API key provided: ***.; does PROVIDER_KEY hold the key" in message


def test_the_model_that_answered_is_in_provenance(provide, tmp_path):
    path, changes = RECIPES["azure"]
    answers = describe(tmp_path, provide(providers.azure).origin + path, **changes)
    assert answers.provenance["served_by"] == {"gpt-4o-2024-11-20 (fp_a)": 20}
    assert answers.provenance["requests"] == 20 + 3 * 10
    refusals = answers.provenance["refused"]
    assert set(refusals) == {f"c1/{prompt}" for prompt in PROMPTS.questions}
    assert all(text.startswith("The response was filtered") for text in refusals.values())
