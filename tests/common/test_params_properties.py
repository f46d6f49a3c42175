"""Whatever a params file holds: it is read and accepted, or refused in one short line."""

import math
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.bounds import Factor, Momentum, Radius, Rate, Share, Weight
from pipeline.common.errors import UserError
from pipeline.common.params import Section, read_params, validate
from pipeline.common.plain_values import problem
from pipeline.training.recipe import AttackParams
from tests.support.project import DEMO

bounded = settings(derandomize=True, deadline=None, max_examples=60, database=None)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
    | st.integers(min_value=10**300, max_value=10**5000)
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
GOOD = {"norm": "linf", "epsilon_255": 4, "step_255": 2, "steps": 2, "momentum": None,
        "random_start": None, "texts": None}  # fmt: skip


def insist_on_one_line(error: UserError, start: str = "") -> None:
    assert "\n" not in str(error)
    assert str(error).startswith(start)
    assert len(str(error)) < 1000
    str(error).encode()  # no half of a character, which cannot be printed


@bounded
@given(st.sampled_from(sorted(GOOD)), values)
def test_a_key_with_any_value_is_accepted_or_named(key, value):
    try:
        params = validate(GOOD | {key: value}, AttackParams, "params.yaml: finetune.attack")
    except UserError as error:
        insist_on_one_line(error, f"params.yaml: finetune.attack: key '{key}")
    else:
        assert type(getattr(params, key)) in (type(value), float)
        assert problem(value) is None


@bounded
@given(values)
def test_a_section_of_any_kind_is_refused_in_one_line(value):
    with pytest.raises(UserError) as caught:
        validate(value, AttackParams, "params.yaml: finetune.attack")
    insist_on_one_line(caught.value)


@bounded
@given(st.floats() | st.integers())
def test_what_is_accepted_is_a_number_that_32_bits_hold(number):
    class Numbers(Section):
        value: Rate | Weight | Factor | Share | Momentum | Radius

    try:
        accepted = validate({"value": number}, Numbers, "file").value
    except UserError as error:
        insist_on_one_line(error)
    else:
        assert math.isfinite(accepted)
        assert accepted == number
        assert accepted == 0 or 2**-126 <= abs(accepted) <= 3.4e38


@bounded
@given(st.text(alphabet="abc:-[]{}&*!|>'\"#?%@,.0123456789~\\ \n\t<" + "\N{SNOWMAN}"))
def test_any_text_is_a_mapping_or_refused(tmp_path_factory, text):
    file = _written(tmp_path_factory, text)
    try:
        assert isinstance(read_params(file), dict)
    except UserError as error:
        insist_on_one_line(error, f"{file}: ")


@bounded
@given(st.integers(0, len(DEMO.read_text()) - 1), st.sampled_from(string.punctuation + "\n\t "))
def test_the_demo_with_another_character_is_read_or_refused(tmp_path_factory, at, character):
    text = DEMO.read_text()[:6000]
    at %= len(text)
    file = _written(tmp_path_factory, text[:at] + character + text[at + 1 :])
    try:
        assert isinstance(read_params(file), dict)
    except UserError as error:
        insist_on_one_line(error)


def _written(factory: pytest.TempPathFactory, text: str) -> Path:
    file = factory.getbasetemp() / "params.yaml"
    file.write_text(text, encoding="utf-8")
    return file
