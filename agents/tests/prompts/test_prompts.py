"""Prompts: what templates can say, and what they say when they cannot."""

from __future__ import annotations

import pytest

from weft.prompts.render import PromptError, Prompts, compiled, fields_used
from weft.row import ChatMessage, Row
from weft_api.plan import Prompt, prompt_version


def prompts(**texts: str) -> Prompts:
    return Prompts([Prompt(name=n, text=t, version=prompt_version(t)) for n, t in texts.items()])


def row() -> Row:
    source = {"customer": "Ann", "items": ["a", "b"], "price": 3, "note": None}
    messages = [ChatMessage("user", "Hello"), ChatMessage("assistant", "Good day")]
    return Row("r1", source, {"score": 7}, messages)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("No names", "No names"),
        ("{{ row.customer }}, {{ row.score }}, {{ row.id }}", "Ann, 7, r1"),
        ("{{ row['customer']|upper }}", "ANN"),
        ("{{ row.items|join(', ') }}", "a, b"),
        ("{{ row.items }}", "['a', 'b']"),
        ("{{ row.items|tojson }}", '["a", "b"]'),
        ("{% for i in row.items %}{{ loop.index }}{{ i }} {% endfor %}", "1a 2b "),
        ("{% if row.missing is defined %}yes{% else %}no{% endif %}", "no"),
        ("{{ row.missing|default('none') }}", "none"),
        ("{{ row.get('missing', 'none') }}", "none"),
        ("{{ row.price * 2 + 1 }} {{ row.price / 2 }}", "7 1.5"),
        ("{{ row.customer ~ row.price }}", "Ann3"),
        ("{{ 'ab' * 2 }}{{ [1] + [2] }}", "abab[1, 2]"),
        ("{% for m in row.messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
         "user: Hello\nassistant: Good day\n"),
        ("{{ row.messages|map(attribute='content')|join('|') }}", "Hello|Good day"),
        ("{{ row.messages|selectattr('role', 'equalto', 'user')|list|length }}", "1"),
        ("{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}"
         "{{ ns.n }}", "6"),
        ("{% macro b(x) %}<{{ x }}>{% endmacro %}{{ b('y') }}", "<y>"),
        ("{% set t %}a{{ row.price }}{% endset %}{{ t }}", "a3"),
        ("{{ row.customer.lower().replace('n', 'm') }}", "amm"),
        ("{{ {'a': 1}.items()|list }}", "[('a', 1)]"),
        ("{{ topic }}", "cats"),
        ("{{ row.note }}", "None"),
        ("{# a remark #}x", "x"),
        ("<b>{{ row.customer }}</b> & co", "<b>Ann</b> & co"),
        ("{% for k, v in {'a': 1}|dictsort %}{{ k }}={{ v }}{% endfor %}", "a=1"),
        ("{% for i in row.items if i != 'a' %}{{ i }}{% else %}none{% endfor %}", "b"),
        ("{{ [3, 1, 2]|sort|first }}{{ range(3)|list|last }}{{ [1, 2]|sum }}", "123"),
        ("{{ 'x y'|title|replace(' ', '_') }}{{ 'a\nb'|indent(2) }}", "X_Ya\n  b"),
    ],
)  # fmt: skip
def test_a_template_can_say(template: str, expected: str) -> None:
    assert prompts(p=template).render("p", row(), topic="cats") == expected


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("a\nb {{ row.custmer }}", 'p, line 2: there is no `custmer` here; did you mean "cust'),
        ("{{ customer }}", "prompt p, line 1: there is no `customer`; write `row.customer`"),
        ("{{ row.note.text }}", "prompt p, line 1: null has no `text`"),
        ("\n\n{{ row.price + 'x' }}", "prompt p, line 3: unsupported operand"),
        ("{{ row.messages[0].contnt }}", 'did you mean "content"?'),
        ("{% for m in row.messages %}\n{{ m.no }}{% endfor %}", "line 2: there is no `no` here"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_rendered_names_prompt_line_and_name(
    template: str, told: str
) -> None:
    with pytest.raises(PromptError) as refused:
        prompts(p=template).render("p", row())
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("a\n{% for x in y %}", "prompt p, line 2"),
        ("{{ row. }}", "prompt p, line 1"),
        ("{{ x|nope }}", "No filter named 'nope'"),
        ("{% include 'x' %}", "prompts have no `include`"),
        ("{% frob %}", "unknown tag 'frob'"),
    ],
)
def test_a_template_that_does_not_compile_is_refused_when_the_plan_is_made(
    template: str, told: str
) -> None:
    with pytest.raises(PromptError) as refused:
        prompts(p=template)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_prompt_is_named_with_the_likeliest_one() -> None:
    with pytest.raises(PromptError, match='no prompt `drafft`; did you mean "draft"'):
        prompts(draft="x").render("drafft", row())


def test_the_version_is_that_of_the_plan() -> None:
    assert prompts(p="x").version("p") == prompt_version("x")
    assert len(prompt_version("x")) == 12


def test_a_template_gets_only_the_names_that_it_reads() -> None:
    assert fields_used("{{ row.a }} {{ row['b'] }} {{ x.c }}") == {"a", "b"}
    assert fields_used("{{ row }}") is None
    assert fields_used("{{ row[x] }}") is None
    assert fields_used("{% set r = row %}{{ r.a }}") is None


def test_the_same_text_is_compiled_once() -> None:
    assert compiled("p", "{{ row.a }}") is compiled("p", "{{ row.a }}")


def test_a_rendering_starts_with_a_full_budget_each_time() -> None:
    made = prompts(p="{% for i in range(90000) %}{% endfor %}x")
    assert [made.render("p", row()) for _ in range(4)] == ["x"] * 4
