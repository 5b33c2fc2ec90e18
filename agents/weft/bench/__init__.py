"""`weft bench`: what Weft costs and holds on this machine, each figure beside its limit or a
baseline that is measured in the same run.

One file per benchmark; `commands` has the options. Nothing heavy is imported before a benchmark
runs.
"""

from weft.bench.commands import command

__all__ = ["command"]
