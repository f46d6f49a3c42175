"""Answers in which nothing can be read: their kinds, how they are named, and when to give up."""

import sys
from collections.abc import Mapping

from pipeline.common.errors import UserError
from pipeline.descriptions.answer_log import Reply

SHOWN = 200  # most characters of an answer in a message
UNREAD = ("truncated", "unreadable", "refused")


def kind_of_unread(reply: Reply) -> str:
    """One of UNREAD: cut off at the token limit, declined, or anything else."""
    if reply.refusal:
        return "refused"
    return "unreadable" if reply.complete else "truncated"


def check_some_readable(
    counts: Mapping[str, int], reply: Reply, model: str, limit: int | None
) -> None:
    """Where no answer could be read so far, the last one being `reply`.

    Raises:
        UserError: these are `limit` answers; one is shown.
    """
    if limit is None or sum(counts[kind] for kind in UNREAD) < limit:
        return
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in UNREAD if counts[kind])
    raise UserError(
        f"describe: none of the first {limit} answers of {model} can be read ({kinds}); "
        f"{_shown(reply)}; raise max_tokens where answers are cut off, switch thinking off or "
        "try another response_format or model"
    )


def _shown(reply: Reply) -> str:
    forms = {"one of them": reply.text, "refused": reply.refusal, "only thoughts": reply.thoughts}
    label, text = next(((n, t) for n, t in forms.items() if t), ("one of them", ""))
    return f"{label}: {' '.join(text.split())[:SHOWN]!r}"


def report(
    counts: Mapping[str, int], refusals: Mapping[tuple[str, str, int, int | None], str]
) -> dict[str, dict[str, str]]:
    """Say how many answers were not complete. `refusals`: (class, question, answer, image)
    of those that are lost -> the words of each refusal; they are returned for provenance, by
    "class/question", or "class/question/image" where it is about an image."""
    if any(counts[kind] for kind in (*UNREAD, "short")):
        print(f"describe: some answers were not complete: {dict(counts)}", file=sys.stderr)
    words = {
        _question(*key): " ".join(text.split())[:SHOWN] for key, text in refusals.items() if text
    }
    if not words:
        return {}
    first, text = next(iter(words.items()))
    print(
        f"describe: {len(words)} questions were refused (all in provenance.json), e.g. {first}: "
        f"{text!r}",
        file=sys.stderr,
    )
    return {"refused": words}


def _question(class_id: str, prompt_id: str, _: int, image: int | None) -> str:
    question = f"{class_id}/{prompt_id}"
    return question if image is None else f"{question}/{image}"
