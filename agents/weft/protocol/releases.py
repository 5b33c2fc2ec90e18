"""Messages of a kind that only another release of Weft knows, told from damage.

While an image goes out, processes of two releases talk to each other for a while. What one of them
cannot know it passes over; to close the connection would help neither, since the same would be sent
again on the next.
"""

from __future__ import annotations

import logging
from typing import TypeVar, get_args

import msgspec

_shape = msgspec.msgpack.Decoder(list[msgspec.Raw])
_kind = msgspec.msgpack.Decoder(str)

_T = TypeVar("_T")

log = logging.getLogger(__name__)


def decode_known(decoder: msgspec.msgpack.Decoder[_T], payload: memoryview | bytes) -> _T | None:
    """What the decoder, of a union of tagged arrays, makes of it; None for a tag that it does not
    know. Raises msgspec's errors for damage."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:
        kind = _kind.decode(next(iter(_shape.decode(payload)), b""))
        if kind in {each.__struct_config__.tag for each in get_args(decoder.type)}:
            raise
        log.info("passed over `%s`, which only another release of weft knows", kind)
        return None
