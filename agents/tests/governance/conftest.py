"""The agents and callables that the manifests of these tests name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
