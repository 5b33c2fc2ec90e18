"""Prompts by name: compiled once per version, rendered over a row."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import Template, TemplateSyntaxError, UndefinedError, nodes

from weft.prompts.sandbox import Sandbox
from weft.row import Row
from weft_api.errors import did_you_mean

if TYPE_CHECKING:
    from weft_api.plan import Prompt


class PromptError(Exception):
    """A prompt that is missing, does not compile or cannot be rendered for this row. One line."""


class Prompts:
    """The prompts of one plan. Raises `PromptError` where one does not compile."""

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self._versions: dict[str, str] = {}
        self._compiled: dict[str, Compiled] = {}
        for prompt in prompts:
            self._versions[prompt.name] = prompt.version
            self._compiled[prompt.name] = compiled(prompt.name, prompt.text)

    def __contains__(self, name: object) -> bool:
        return name in self._compiled

    def version(self, name: str) -> str:
        """The hash that names the prompt's text. Raises `PromptError` for an unknown name."""
        self._find(name)
        return self._versions[name]

    def render(self, name: str, row: Row, **extra: Any) -> str:
        """The prompt's text for this row; the template sees `row` (`Row.view`) and `extra`.

        Raises `PromptError`.
        """
        return self._find(name).render(row, extra)

    def _find(self, name: str) -> Compiled:
        found = self._compiled.get(name)
        if found is None:
            hint = did_you_mean(name, self._compiled, otherwise="the pipeline defines none")
            raise PromptError(f"there is no prompt `{name[:80]}`; {hint}")
        return found


class Compiled:
    """One prompt's text, compiled, with the names that it reads of the row."""

    __slots__ = ("_fields", "_name", "_template")

    def __init__(self, name: str, template: Template, fields: frozenset[str] | None) -> None:
        self._name = name
        self._template = template
        self._fields = fields

    def render(self, row: Row, extra: dict[str, Any]) -> str:
        """Raises `PromptError`."""
        try:
            try:
                return self._attempt(row.view(self._fields), extra)
            except UndefinedError:
                if self._fields is None:
                    raise
                # Once more over the whole row, so that the error can say which names there are.
                return self._attempt(row.view(), extra)
        except Exception as error:
            line = _line(error, self._template)
            where = f"prompt {self._name}" + (f", line {line}" if line else "")
            raise PromptError(f"{where}: {_told(error)}") from None

    def _attempt(self, view: dict[str, Any], extra: dict[str, Any]) -> str:
        _sandbox.budget.fill()
        context = self._template.new_context({**extra, "row": view})
        return _sandbox.concat(self._template.root_render_func(context))


_sandbox = Sandbox()


@lru_cache(maxsize=1024)
def compiled(name: str, text: str) -> Compiled:
    """Compile a prompt; the name is for errors only. Raises `PromptError`."""
    try:
        template = _sandbox.from_string(text)
        return Compiled(name, template, fields_used(text))
    except TemplateSyntaxError as error:
        raise PromptError(f"prompt {name}, line {error.lineno}: {error.message}") from None
    except Exception as error:
        raise PromptError(f"prompt {name}: {_told(error)}") from None


def fields_used(text: str) -> frozenset[str] | None:
    """The names that a template reads of `row`; None when it uses the row as a whole.

    Raises `jinja2.TemplateSyntaxError`.
    """
    tree = _sandbox.parse(text)
    names: set[str] = set()
    whole = sum(1 for node in tree.find_all(nodes.Name) if node.name == "row")
    for node in tree.find_all(nodes.Getattr):
        if _is_row(node.node):
            names.add(node.attr)
            whole -= 1
    for item in tree.find_all(nodes.Getitem):
        if _is_row(item.node) and isinstance(item.arg, nodes.Const):
            names.add(str(item.arg.value))
            whole -= 1
    return None if whole else frozenset(names)


def _is_row(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "row"


def _line(error: Exception, template: Template) -> int | None:
    """The template's line that an error came from."""
    found = None
    frame = error.__traceback__
    while frame is not None:
        if "__jinja_template__" in frame.tb_frame.f_globals or (
            frame.tb_frame.f_code.co_filename == "<template>"
        ):
            found = template.get_corresponding_lineno(frame.tb_lineno)
        frame = frame.tb_next
    return found


def _told(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it calls itself too often"
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    return " ".join(str(error).split())[:300] or type(error).__name__
