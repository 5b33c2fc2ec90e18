"""Makes the helpers beside the tests importable under pytest's importlib mode."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # Last: other folders have a `conftest` too.
