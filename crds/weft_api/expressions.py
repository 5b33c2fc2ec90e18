"""CEL expressions over a row, read without running them: do they compile, and what do they name.

The evaluator (`cel`) tells the variables and functions of an expression, but not the fields that
it reads of a variable, so these are found in its tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from weft_api.errors import did_you_mean, likeliest
from weft_api.evaluator import cel

ROW = "row"
"""The one variable."""

FUNCTIONS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches"}
    | {"int", "uint", "double", "string", "bytes", "timestamp", "duration"}
    | {"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
"""The functions that the evaluator has; operators and macros aside."""

_TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*)
    | (?P<string>[bBrR]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_MACROS = {"all", "exists", "exists_one", "map", "filter"}
_PLAIN_STRING = re.compile(r"""^(['"])(?!\1)([^\\]*)\1$""")
_OF_OTHER_LANGUAGES = {"and": "&&", "or": "||", "not": "!"}
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}


Kind = type[bool] | type[int] | type[timedelta]
"""What an expression is to give: a condition, a whole number, a duration."""

_KINDS: dict[type, tuple[str, str]] = {
    bool: ("yes or no", "write a condition such as row.verdict == 'revise'"),
    int: ("whole number", "write a number such as row.urgent ? 10 : 0"),
    timedelta: (
        "duration",
        "write one such as row.urgent ? duration('30s') : duration('10m')",
    ),
}
"""Of each kind, its name and an example."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with an expression, and what to do."""

    problem: str
    fix: str


def problem_of(
    source: str, *, gives: Kind = bool, known: frozenset[str] | None = None
) -> Problem | None:
    """The first thing wrong with an expression over `row` that is to give a `gives`; None when
    nothing is.

    `known` are the names that a row may have; without them the names are not looked at.
    """
    try:
        program = cel.compile(source)
    except ValueError as error:
        return Problem(f"{quoted(source)} is no CEL: {_syntax(str(error))}", _hint(source, gives))
    for variable in program.variables():
        if variable == ROW or variable in _bound(source):
            continue
        if variable in _CONSTANTS:
            return Problem(f'CEL has no "{variable}"', f"write {_CONSTANTS[variable]}")
        return Problem(f'"{variable}" is nothing that CEL knows here', f"write row.{variable}")
    for function in program.functions():
        if function.isidentifier() and function not in FUNCTIONS:
            return Problem(f'CEL has no function "{function}"', _other_function(function))
    if not program.variables() and not _gives(program, gives):
        return Problem(f"{quoted(source)} gives no {_KINDS[gives][0]}", _hint("", gives))
    if known is not None:
        for name in sorted((fields_used(source) or frozenset()) - known):
            return Problem(f'no row has "{name}"', did_you_mean(name, known))
    return None


def fields_used(source: str) -> frozenset[str] | None:
    """The names that an expression reads of `row` (`row.name`, `row['name']`).

    None when it uses the row as a whole (`row[key]`, `size(row)`), so that every name may matter.
    """
    tokens = _tokens(source)
    names: set[str] = set()
    for at, token in enumerate(tokens):
        if token != ("name", ROW) or (at and tokens[at - 1] == ("other", ".")):
            continue
        after = [*tokens[at + 1 : at + 4], ("", ""), ("", ""), ("", "")]
        if after[0][1] == "." and after[1][0] == "name":
            names.add(after[1][1])
        elif after[0][1] == "[" and after[1][0] == "string" and after[2][1] == "]":
            plain = _PLAIN_STRING.match(after[1][1])
            if plain is None:
                return None
            names.add(plain[2])
        else:
            return None
    return frozenset(names)


def quoted(source: str, length: int = 60) -> str:
    """The expression on one line, cut where it is long."""
    line = " ".join(source.split())
    return f'"{line[: length - 1]}…"' if len(line) > length else f'"{line}"'


def _other_function(wrong: str) -> str:
    if likely := likeliest(wrong, FUNCTIONS):
        return f'did you mean "{likely}"?'
    return "use one of size, contains, startsWith, endsWith, matches, int, double and string"


def _gives(program: cel.Program, kind: type) -> bool:
    """Whether an expression without variables gives this kind of value."""
    try:
        return type(program.execute({})) is kind
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError):
        return False


def _tokens(source: str) -> list[tuple[str, str]]:
    return [
        (match.lastgroup or "", match.group())
        for match in _TOKEN.finditer(source)
        if match.lastgroup not in ("comment", "space")
    ]


def _bound(source: str) -> set[str]:
    """Names that macros bind: the `m` of `row.messages.exists(m, …)`."""
    tokens = _tokens(source)
    windows = zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False)
    return {
        bound
        for (_, dot), (_, macro), (_, bracket), (kind, bound) in windows
        if dot == "." and macro in _MACROS and bracket == "(" and kind == "name"
    }


def _syntax(text: str) -> str:
    """The evaluator's message without its quotation of the source: `… at character 15`."""
    match = re.search(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)", text)
    if match is None:
        return text.splitlines()[0]
    if "`_?_:_`" in match[3]:
        return "a question mark lacks its colon"
    what = re.sub(r" expecting \{.*", "", match[3])
    what = re.sub(r"token recognition error at: '(.*?)\s*'$", r"'\1' is not understood", what)
    what = what.replace("mismatched input '<EOF>'", "it ends too early")
    what = what.replace(" at '<EOF>'", " at the end")
    line = f"line {match[1]}, " if match[1] != "1" else ""
    return f"{what} ({line}character {match[2]})"


def _hint(source: str, gives: type) -> str:
    tokens = _tokens(source)
    for kind, text in tokens:
        if kind == "name" and text in _OF_OTHER_LANGUAGES:
            return f'write {_OF_OTHER_LANGUAGES[text]} for "{text}"'
    code = "".join(text if kind != "string" else "''" for kind, text in tokens)
    if re.search(r"(?<![=!<>])=(?![=])", code):
        return "compare with =="
    return _KINDS[gives][1]
