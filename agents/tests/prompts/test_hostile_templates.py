"""Templates that try to get out, to fill the memory or to run for ever."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from weft.prompts.budget import MAX_CHARACTERS
from weft.prompts.render import PromptError, compiled
from weft.row import ChatMessage, Row

LOOP = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}"


def grow(start: str, step: str, end: str = "{{ ns.x|length }}") -> str:
    return LOOP.replace("START", start).replace("STEP", step) + end


HOSTILE = {
    # Out of the sandbox
    "the class of a text": "{{ ''.__class__ }}",
    "the class by index": "{{ ''['__class__'] }}",
    "the class by attr": "{{ ''|attr('__class__') }}",
    "the class by map": "{{ ['']|map(attribute='__class__')|list }}",
    "the class by selectattr": "{{ ['']|selectattr('__class__')|list }}",
    "the class by sort": "{{ ['', 'a']|sort(attribute='__class__.__mro__') }}",
    "the class by groupby": "{{ ['']|groupby('__class__') }}",
    "subclasses": "{{ ().__class__.__base__.__subclasses__() }}",
    "globals of a macro": "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "the function of a macro": "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "init of a namespace": "{{ namespace.__init__.__globals__ }}",
    "globals of range": "{{ range.__self__ }}",
    "the environment": "{{ self._TemplateReference__context.environment }}",
    "self": "{{ self }}",
    "globals of loop": "{% for i in [1] %}{{ loop.__init__ }}{% endfor %}",
    "the loop's iterator": "{% for i in [1] %}{{ loop._iterator }}{% endfor %}",
    "cycler": "{{ cycler.__init__.__globals__.os }}",
    "joiner": "{{ joiner.__init__.__globals__ }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "format attribute": "{{ '{0.__class__}'.format('') }}",
    "format_map": "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "format kept in a variable": "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    "format through map": "{{ ['{0.__class__}']|map('format', '')|list }}",
    "a method as data": "{{ row.get }}",
    "a method in a list": "{{ [row.get] }}",
    "append": "{{ row.tags.append('x') }}",
    "update": "{{ row.update({'a': 1}) }}",
    "pop": "{{ row.pop('id') }}",
    "setattr by set": "{% set row.id = 'other' %}",
    "import": "{% import 'os' as os %}",
    "from import": "{% from 'x' import y %}",
    "include": "{% include '/etc/passwd' %}",
    "extends": "{% extends 'base' %}",
    "block": "{% block a %}x{% endblock %}",
    "encode": "{{ 'x'.encode() }}",
    "a type as function": "{{ dict.fromkeys('ab') }}",
    "maketrans": "{{ ''.maketrans('a', 'b') }}",
    # Too much memory
    "text times number": "{{ 'x' * 10**9 }}",
    "number times text": "{{ 10**9 * 'x' }}",
    "list times number": "{{ ([1] * 10**9)|length }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "power of a variable": "{% set n = 999999 %}{{ n ** n }}",
    "text format": "{{ '%999999999d' % 1 }}",
    "format filter": "{{ '%999999999d'|format(1) }}",
    "center filter": "{{ 'x'|center(999999999) }}",
    "center method": "{{ 'x'.center(999999999) }}",
    "ljust": "{{ 'x'.ljust(999999999) }}",
    "zfill": "{{ 'x'.zfill(999999999) }}",
    "expandtabs": "{{ '\t'.expandtabs(999999999) }}",
    "wordwrap": "{{ row.long|wordwrap(1, True, row.long) }}",
    "indent": "{{ row.lines|indent(999999999) }}",
    "indent by a text": "{{ row.lines|indent(row.long) }}",
    "tojson indent": "{{ row.nested|tojson(indent=9999999) }}",
    "batch fill": "{{ [1]|batch(999999999, 'x')|list }}",
    "slice": "{{ [1]|slice(999999999)|list|length }}",
    "replace filter": "{{ row.long|replace('x', row.long) }}",
    "replace by nothing": "{{ row.long|replace('', row.long) }}",
    "replace method": "{{ row.long.replace('x', row.long) }}",
    "join method": "{{ row.long.join(row.long) }}",
    "join filter": "{{ row.long|join(row.long) }}",
    "join of a range": "{{ range(99999)|join(row.long) }}",
    "map replace": "{{ ([row.long] * 99)|map('replace', 'x', row.long)|join }}",
    "truncate": "{{ row.long|truncate(5, True, 'x' * 10**8) }}",
    "sum of lists": "{{ ([[1] * 1000] * 90)|sum(start=[1] * 99999)|length }}",
    "large range": "{{ range(10**9)|list|length }}",
    "larger range": "{{ range(10**30) }}",
    "round": "{{ 1.5|round(999999999) }}",
    "text doubled by +": grow("'x'", "ns.x + ns.x"),
    "text doubled by ~": grow("'x'", "ns.x ~ ns.x"),
    "text doubled by join": grow("'x'", "[ns.x, ns.x]|join"),
    "text doubled by a macro": "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}"
    + grow("'x'", "d(ns.x)"),
    "list doubled": grow("[1]", "ns.x + ns.x"),
    "list nested": grow("[1]", "[ns.x, ns.x]", "{{ ns.x }}"),
    "tuple nested": grow("(1,)", "(ns.x, ns.x)", "{{ ns.x }}"),
    "mapping nested": grow("{}", "{'a': ns.x, 'b': ns.x}", "{{ ns.x|tojson }}"),
    "mapping nested by dict": grow("{}", "dict(a=ns.x, b=ns.x)", "{{ ns.x }}"),
    "nested by batch": grow("[1]", "[ns.x, ns.x]|batch(2)|list", "{{ ns.x }}"),
    "nested by zip of items": grow("{}", "dict(a=ns.x, b=ns.x).items()", "{{ ns.x }}"),
    "compared towers": grow("[1]", "[ns.x, ns.x]", "{{ ns.x == ns.x }}"),
    "number squared": grow("3", "ns.x * ns.x", "{{ ns.x }}"),
    "namespace in itself": "{% set a = namespace() %}{% set a.a = a %}{{ a }}",
    "namespace in a list": "{% set a = namespace() %}{{ [a, a] }}",
    "a long text repeated": "{% for i in range(9999) %}{{ row.long }}{% endfor %}",
    "a set block": "{% set t %}{% for i in range(9999) %}{{ row.long }}{% endfor %}{% endset %}",
    "a call block": "{% macro m() %}{% for i in range(9999) %}{{ caller() }}{% endfor %}"
    "{% endmacro %}{% call m() %}{{ row.long }}{% endcall %}",
    "a filter block": "{% filter upper %}{% for i in range(999) %}{{ row.long }}{% endfor %}"
    "{% endfilter %}",
    # Too much time
    "loops in loops": "{% for a in range(999) %}{% for b in range(999) %}{% endfor %}{% endfor %}",
    "three loops": "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}"
    "{{ a }}{% endfor %}{% endfor %}{% endfor %}",
    "a filtered loop": "{% for a in range(9999) %}{% for b in range(9999) if b > a %}{% endfor %}"
    "{% endfor %}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}"
    "{% endif %}{% endmacro %}{{ m(60) }}",
    "a recursive loop": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "searches": "{% for a in range(9999) %}{{ row.long.count('xy') }}{% endfor %}",
    "searches by in": "{% for a in range(99999) %}{% if 'xxxxy' in row.long %}{% endif %}"
    "{% endfor %}" * 3,
    "sorts": "{% for a in range(9999) %}{% if range(9999)|sort(reverse=True) %}{% endif %}"
    "{% endfor %}",
    "deep brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "deep lists": "{{ " + "[" * 3000 + "1" + "]" * 3000 + " }}",
    "a chain of not": "{{ " + "not " * 5000 + "1 }}",
    "random": "{{ [1, 2]|random }}",
    "urlize": "{{ row.long|urlize }}",
    "pprint": "{{ row|pprint }}",
    "filesizeformat": "{{ 1|filesizeformat }}",
    "xmlattr": "{{ {'a': 1}|xmlattr }}",
    "forceescape": "{{ 'x'|forceescape }}",
}


def row() -> Row:
    source = {
        "tags": ["a", "b"],
        "long": "x" * 50_000,
        "lines": "a\n" * 20_000,
        "nested": [[[[[1, 2], 3], 4], 5]] * 100,
    }
    return Row("r1", source, messages=[ChatMessage("user", "hi")])


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_refused_in_one_line_soon_and_in_little_memory(template: str) -> None:
    given = row()
    tracemalloc.start()
    began = time.perf_counter()
    try:
        with pytest.raises(PromptError) as refused:
            compiled("evil", template).render(given, {})
        seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(refused.value).startswith("prompt evil")
    assert "\n" not in str(refused.value)
    assert "/" not in str(refused.value).replace("and/or", "")
    assert seconds < 10  # the limit is 2 s; tracing and a busy machine slow it down
    assert peak < 64 * MAX_CHARACTERS
    assert given == row()


def test_hostile_templates_are_many() -> None:
    assert len(HOSTILE) >= 100
