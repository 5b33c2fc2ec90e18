"""Runs in the image that the test builds: shows that the package of its lower layer is there."""

import iniconfig

print("hello with", iniconfig.__name__, flush=True)
