"""The agents and callables that the manifests of these tests name."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # Last: other folders have a `conftest` too.
