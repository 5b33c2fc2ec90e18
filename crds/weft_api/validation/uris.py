"""Addresses of source and output."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weft_api.errors import ManifestError, Path
from weft_api.patterns import ABSOLUTE
from weft_api.pipeline import SyntheticPipeline


def is_relative(uri: str) -> bool:
    """A path that means something else in another folder."""
    return re.match(ABSOLUTE, uri) is None


def uri_faults(pipeline: SyntheticPipeline) -> Iterator[ManifestError]:
    spec = pipeline.spec
    uris: list[tuple[Path, str]] = [(("spec", "output", "uri"), spec.output.uri)]
    if spec.source.dataset is not None:
        uris.append((("spec", "source", "dataset", "uri"), spec.source.dataset.uri))
    for path, uri in uris:
        if is_relative(uri):
            yield pipeline.fault(
                path,
                f'"{uri}" is a relative path, and there is no folder that it starts at',
                "write an absolute path or an address such as s3://bucket/folder",
            )
    if len(uris) == 2 and uris[0][1].rstrip("/") == uris[1][1].rstrip("/"):
        yield pipeline.fault(
            uris[0][0], "the output lies where the source is", "choose a folder of its own"
        )
