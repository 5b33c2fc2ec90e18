"""Running code that a model wrote: in a process of its own, under limits, never in the agent."""

from weft.sandbox.run import Limits, Ran, run_python

__all__ = ["Limits", "Ran", "run_python"]
