"""Make a tiny random Llama with a byte-level BPE tokenizer and a chat template that knows tools.

    python tiny_model.py FOLDER

It says nonsense, at once, on any CPU: what it is for is the engine around it. Needs torch,
transformers and tokenizers, and no network.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SEED = 20250101
SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
TEXT = """Hello, how can I help you today? I have a question about my order. Thank you for reaching
out; let me look that up for you. {"name": "lookup_order", "arguments": {"order_id": "A-1042"}}
{"verdict": "accept", "score": 8, "reason": "The reply answers the question."} true false null
"""

CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
You may call these tools, each by <tool_call>{"name": ..., "arguments": ...}</tool_call>:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif -%}
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
{%- set asked = {"name": call.function.name, "arguments": call.function.arguments} %}
<tool_call>{{ asked | tojson }}</tool_call>
{%- endfor %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""


def make_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.train_from_iterator(
        TEXT.splitlines(),
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def make(folder: Path) -> None:
    # Here, because a tokenizer alone needs none of it.
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    tokenizer = make_tokenizer(folder)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32768,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    ).save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
