"""Chat templates with tools, as `transformers` applies them, for a tokenizer without a model.

Written for these tests after the two common forms: ChatML with Hermes-like tool calls, which needs
a call's arguments as an object, and one in which they may be text.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

_TOOLS = """\
{%- if tools %}<|im_start|>system
# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}"""
_MESSAGES = """\
{%- for message in messages %}
{%- if message.role == 'tool' %}<|im_start|>user
<tool_response>{{ message.content }}</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": ARGUMENTS}</tool_call>
{%- endfor %}<|im_end|>
{% endif %}{% endfor %}"""
OBJECTS = _TOOLS + _MESSAGES.replace("ARGUMENTS", "{{ call.function.arguments | tojson }}")
EITHER = _TOOLS + _MESSAGES.replace(
    "ARGUMENTS",
    "{{ call.function.arguments if call.function.arguments is string "
    "else call.function.arguments | tojson }}",
)


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))


def formatted(messages: list[dict[str, Any]], tools: list[dict[str, Any]], template: str) -> str:
    """What a model is trained on."""
    text = _tokenizer().apply_chat_template(
        messages, tools=tools or None, chat_template=template, tokenize=False
    )
    assert isinstance(text, str)
    return text
