"""YAML with the line of every value kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from weft_api.errors import Path

MAX_VALUES = 200_000
"""Values of one document, aliases expanded: a bound against files that grow when they are read."""
MAX_DEPTH = 100


class YamlError(Exception):
    """Text that is no YAML, or no YAML that can stand in a manifest."""

    def __init__(self, line: int, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.line, self.problem, self.fix = line, problem, fix


@dataclass
class Document:
    """One document of a file: its value, and the line (from 1) of every path in it."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing above it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """The safe loader, with dates left as text as they are in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own name)
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_documents(text: str) -> Iterator[Document]:
    """The documents of a YAML text, empty ones left out. Raises `YamlError`."""
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        while loader.check_node():
            document = Document(None)
            reader = _Reader(loader, document.lines)
            node = loader.get_node()
            document.value = reader.read(node, ()) if node is not None else None
            if document.value is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        quote_opened = error.context == "while scanning a quoted scalar"
        mark = error.context_mark if quote_opened else error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise YamlError(line, *_in_words(error)) from None
    except yaml.YAMLError as error:
        problem = f"is no YAML: {str(error).splitlines()[0]}"
        raise YamlError(_line_of(error, text), problem, "remove what is no text") from None
    except RecursionError:
        raise YamlError(1, "is nested too deeply", f"keep to {MAX_DEPTH} levels") from None
    finally:
        if loader is not None:
            loader.dispose()


class _Reader:
    def __init__(self, loader: _Loader, lines: dict[Path, int]) -> None:
        self.loader, self.lines = loader, lines

    def read(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if len(path) > MAX_DEPTH:
            raise YamlError(line, "is nested too deeply", f"keep to {MAX_DEPTH} levels")
        if len(self.lines) > MAX_VALUES:
            raise YamlError(line, "has too many values", f"keep to {MAX_VALUES}")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, at)) for at, item in enumerate(node.value)]
        try:
            value = self.loader.construct_object(node)
        except ValueError as error:
            raise YamlError(line, f"cannot be read: {error}", "put it in quotes") from None
        if not _is_json(value):
            raise YamlError(line, f"{node.value} is nothing that JSON has", "put it in quotes")
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        own = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        self.loader.flatten_mapping(node)
        value: dict[str, Any] = {}
        for key_node, item in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(
                    line,
                    "a field's name is no text",
                    "put { and } in quotes where they are meant as text",
                )
            key = key_node.value
            if own.count(key) > 1:
                raise YamlError(line, f'"{key}" is there twice', "remove one of the two")
            self.lines[(*path, key)] = line
            value[key] = self.read(item, (*path, key))
        return value


def _is_json(value: Any) -> bool:
    """Whether a scalar survives the way to the API server or into a Plan."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


def _line_of(error: yaml.YAMLError, text: str) -> int:
    """The line of an unreadable character, which PyYAML gives by its position."""
    position = getattr(error, "position", 0)
    return text.count("\n", 0, position) + 1 if isinstance(position, int) else 1


def _in_words(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    problem = " ".join(filter(None, [error.context, error.problem]))
    text = error.problem or ""
    if "\\t" in text:
        return "is no YAML: a tab stands where spaces belong", "indent with spaces"
    if error.context == "while scanning a quoted scalar":
        return "is no YAML: a quote is opened and not closed", "close it"
    if "mapping values are not allowed" in text:
        return "is no YAML: a colon where none can be", (
            'align the line with the one above, or put text with ": " in quotes'
        )
    if "but got ':'" in text:
        return "is no YAML: a second colon", 'put text with ": " in quotes'
    if "expected <block end>" in text:
        return "is no YAML: the indentation does not fit the lines above", "align it with them"
    if "could not find expected ':'" in text:
        return "is no YAML: a field's name lacks its colon", "write name: value"
    if "could not determine a constructor" in text:
        return f"is no plain YAML: {text}", "remove the tag (the word with !)"
    return f"is no YAML: {problem}", "correct the line"
