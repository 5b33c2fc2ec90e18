"""The CEL evaluator, without the command line that its package always imports.

`cel.cli` brings typer, rich and prompt_toolkit: 0.65 s of CPU and 27 MiB in every process (measured
with common-expression-language 0.10), and nothing here calls it. So an empty module stands in its
place while the package is imported. Import `cel` from here, and nowhere else.
"""

from __future__ import annotations

import sys
from types import ModuleType

_NAME = "cel.cli"

if _NAME in sys.modules:
    import cel
else:
    sys.modules[_NAME] = ModuleType(_NAME)
    try:
        import cel
    finally:
        del sys.modules[_NAME]

__all__ = ["cel"]
