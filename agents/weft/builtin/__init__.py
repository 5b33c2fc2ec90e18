"""The agents that come with Weft; a manifest names them as `weft.builtin:ChatAgent`."""

from weft.builtin.chat import ChatAgent
from weft.builtin.chooser import ChooserAgent
from weft.builtin.echo import EchoAgent
from weft.builtin.gatherer import GathererAgent
from weft.builtin.metadata import MetadataAgent
from weft.builtin.near_duplicates import NearDuplicateAgent
from weft.builtin.tools import ToolAgent
from weft.builtin.validator import ValidatorAgent

__all__ = [
    "ChatAgent",
    "ChooserAgent",
    "EchoAgent",
    "GathererAgent",
    "MetadataAgent",
    "NearDuplicateAgent",
    "ToolAgent",
    "ValidatorAgent",
]
