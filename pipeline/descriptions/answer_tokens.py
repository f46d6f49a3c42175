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
# The same after a server dropped the tokens: "analysisTwo, so ...assistantfinal{}".
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z{\[\"'])")
_BARE_FINAL = "assistantfinal"
_BARE_TURN = re.compile(r"assistant(?:analysis|commentary)")

_THOUGHT_BEGINS = re.compile(
    r"<\|(?:begin_of_thought|START_THINKING|begin_of_think|think_start)\|>|<\|channel>\s*thought|"
    r"<unused94>(?:thought)?"
)
_THOUGHT_ENDS = re.compile(
    r"<\|(?:end_of_thought|END_THINKING|end_of_think|think_end)\|>|<channel\|>|<unused95>"
)
_TURN = r"(?:<\|(?:im_start|start_header_id|start|header_start)\|>|<start_of_turn>|<\|turn>)"
# The model went on with a question of its own making.
_USER_TURN = re.compile(rf"{_TURN}\s*(?:user|human|system)\b|<[|｜]user[|｜]>", re.IGNORECASE)
_TOKEN = re.compile(
    rf"{_TURN}\s*(?:assistant|model|user|human|system)?"
    r"|<[|｜][^<>|｜\s]{1,40}[|｜]>"  # <|im_end|>, <|eot_id|>, <｜end▁of▁sentence｜>
    r"|</?s>|<(?:bos|eos|pad|unk|end_of_turn|end_of_utterance|turn\|)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>"
    r"|<\|\w*\Z",  # one that was cut
    re.IGNORECASE,
)


def messages_to_user(text: str) -> list[str]:
    """The messages to the user in a model's text, in their order, without template tokens.

    More than one only where Harmony's channels are written; none where they are and no channel
    is `final`.
    """
    return [_without_tokens(message) for message in _final_messages(text)]


def _final_messages(text: str) -> list[str]:
    if _CHANNEL in text:
        channels = (part.partition(_MESSAGE) for part in text.split(_CHANNEL)[1:])
        return [
            _MESSAGE_END.split(body if mark else header.lstrip().removeprefix("final"))[0]
            for header, mark, body in channels
            if header.lstrip().startswith("final")
        ]
    if _BARE_ANALYSIS.match(text):
        return [_BARE_TURN.split(part)[0] for part in text.split(_BARE_FINAL)[1:]]
    return [text]


def _without_tokens(text: str) -> str:
    text = _THOUGHT_ENDS.sub("</think>", _THOUGHT_BEGINS.sub("<think>", text)).strip()
    turn = _USER_TURN.search(text, 1)
    return _TOKEN.sub(" ", text[: turn.start()] if turn else text).strip()
