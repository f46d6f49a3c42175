"""First step of reading an answer: what the assistant says to the user, without the tokens that a
chat template puts around it.

Servers leave such tokens in when the model's template is not theirs. Those that mark a thought
become <think> tags, which the next step (answer_reasoning) takes out. For example

    <|channel|>analysis<|message|>Two, so ...<|end|><|start|>assistant<|channel|>final<|message|>{}

holds one message to the user, `{}`; `<|im_start|>assistant {}<|im_end|>` holds the same.
"""

import re

# Harmony (gpt-oss): the channels `analysis` and `commentary` are not for the user.
_CHANNEL = "<|channel|>"
_MESSAGE = "<|message|>"
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start)\|>")

_THOUGHT_BEGINS = re.compile(
    r"<\|(?:begin_of_thought|START_THINKING|begin_of_think|think_start)\|>|<\|channel>\s*thought|"
    r"<unused94>(?:thought)?"
)
_THOUGHT_ENDS = re.compile(
    r"<\|(?:end_of_thought|END_THINKING|end_of_think|think_end)\|>|<channel\|>|<unused95>"
)
_TURN = r"(?:<\|(?:im_start|start_header_id|start|header_start)\|>|<start_of_turn>|<\|turn>)"
# What the model writes from here on, questions of its own making, is cut after the reasoning, which
# may quote such a token.
_USER_MARK = "<|user|>"
_USER_TURN = re.compile(rf"{_TURN}\s*(?:user|human|system)\b|<[|｜]user[|｜]>", re.IGNORECASE)
# What any token of a template looks like, also one that was cut: <|im_end|>, <|eot_i,
# <｜end▁of▁sentence｜>. [CLS] and the like are those of older models.
_ANY_TOKEN = (
    r"<[|｜][^<>|｜\s]{1,40}(?:[|｜]>?|\Z)|</?s>|</?(?:start|end)_of_turn>"
    r"|<(?:bos|eos|pad|unk|eot|end_of_utterance|turn\|)>|\[(?:PAD|EOS|BOS|UNK|SEP|CLS)\]"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>"
)
TOKEN = re.compile(_ANY_TOKEN, re.IGNORECASE)
# Where the assistant's turn begins: "<|im_start|>assistant", "[/INST]".
ASSISTANT = re.compile(
    rf"{_TURN}\s*(?:assistant|model)\b\s*(?:<\|end_header_id\|>)?|<\|assistant\|>|\[/INST\]",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    rf"{_TURN}\s*(?:assistant|model|user|human|system)?"
    rf"|(?!{re.escape(_USER_MARK)})(?:{_ANY_TOKEN})",
    re.IGNORECASE,
)


def messages_to_user(text: str) -> list[str]:
    """The messages to the user in a model's text, in their order, without template tokens but
    those that `first_turn` needs.

    More than one only where Harmony's channels are written; none where they are and no channel
    is `final`.
    """
    return [_without_tokens(message) for message in _final_messages(text)]


def _final_messages(text: str) -> list[str]:
    if _CHANNEL not in text:
        return [text]
    channels = (part.partition(_MESSAGE) for part in text.split(_CHANNEL)[1:])
    return [
        _MESSAGE_END.split(body if mark else header.lstrip().removeprefix("final"))[0]
        for header, mark, body in channels
        if header.lstrip().startswith("final")
    ]


def first_turn(text: str) -> str:
    """A text without reasoning up to the first turn that the model wrote for the user."""
    before, _, after = text.strip().partition(_USER_MARK)
    return (before or after.replace(_USER_MARK, " ")).strip()


def _without_tokens(text: str) -> str:
    text = _THOUGHT_ENDS.sub("</think>", _THOUGHT_BEGINS.sub("<think>", text))
    return _TOKEN.sub(" ", _USER_TURN.sub(_USER_MARK, text)).strip()
