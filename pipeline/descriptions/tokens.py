"""How long a text is for CLIP, whose context ends at 77 tokens in OpenAI's models."""

from collections.abc import Sequence
from functools import cache
from typing import Any


def count_tokens(texts: Sequence[str], tokenizer: Any = None) -> list[int]:
    """Tokens of each text with start and end, before anything is cut off.

    Args:
        tokenizer: one of open_clip's; None: OpenAI's, which all CLIP models here share.
    """
    tokenizer = tokenizer or _openai_tokenizer()
    return [len(tokenizer.encode(text)) + 2 for text in texts]


@cache
def _openai_tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer  # seconds to import, a tenth to build

    return SimpleTokenizer()
