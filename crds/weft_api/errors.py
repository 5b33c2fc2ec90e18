"""What is wrong with manifests: all faults at once, each as one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

INVALID = "Invalid"
"""The reason of a fault that only a change of the manifest mends."""

Path = tuple[str | int, ...]
"""The way to a field from the top of its object: `("spec", "flow", "steps", 2, "name")`."""


def dotted(path: Sequence[str | int]) -> str:
    """`("spec", "steps", 2, "name")` -> `spec.steps[2].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True)
class ManifestError:
    """One fault. `where` names file or object and field; `fix` says what to do.

    `kind`, `name` and `path` say the same for machines; `load.Manifests` turns them into
    `file:line`. `reason` is one word for a Kubernetes condition: `Invalid`, or `PoolMissing` and
    `PromptMissing` where another object may mend it.
    """

    where: str
    problem: str
    fix: str
    kind: str = ""
    name: str = ""
    path: Path = ()
    reason: str = INVALID

    @classmethod
    def at(
        cls, kind: str, name: str, path: Path, problem: str, fix: str, *, reason: str = INVALID
    ) -> ManifestError:
        """A fault of an object's field, where its file is not known."""
        return cls(f"{kind} {name}: {dotted(path)}", problem, fix, kind, name, path, reason)

    def __str__(self) -> str:
        # Names come from manifests and may hold anything; a fault is one line all the same.
        return " ".join(f"{self.where}: {self.problem}; {self.fix}".splitlines())


class ManifestErrors(Exception):
    """All the faults found, in the order of the manifests."""

    def __init__(self, errors: Iterable[ManifestError]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(map(str, self.errors)))


def did_you_mean(wrong: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """A fix for a name that does not exist: the likeliest one, or those that do.

    `otherwise` is for where there are none.
    """
    names = sorted(set(known))
    if likely := likeliest(wrong, names):
        return f'did you mean "{likely}"?'
    if len(names) == 1:
        return f'there is only "{names[0]}"'
    if names:
        return f"there are {', '.join(names[:12])}{' …' if len(names) > 12 else ''}"
    return otherwise


def likeliest(wrong: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    return next(iter(difflib.get_close_matches(wrong, sorted(known), n=1, cutoff=0.6)), None)
