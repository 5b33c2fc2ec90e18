"""Where other systems are told of a pipeline's runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from weft_api.base import Model
from weft_api.engine import ApiKeyRef
from weft_api.patterns import URL


class OpenLineageSpec(Model):
    """An endpoint that takes OpenLineage's events."""

    url: Annotated[str, StringConstraints(pattern=URL, min_length=1, max_length=2048)] = Field(
        description="Address of the endpoint; events are sent to api/v1/lineage below it. Live.",
        examples=["http://marquez.lineage.svc:5000"],
    )
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = Field(
        default=None,
        description="Namespace of the job; default: the pipeline's own. Live.",
        examples=["synthetic-data"],
    )
    api_key_secret_ref: ApiKeyRef | None = Field(
        default=None,
        description="Where the API key is, which is sent as a bearer token; none is sent without "
        "it. On a laptop the key is read from the environment variable NAME_KEY "
        "(LINEAGE_API_KEY for the example).",
        examples=[{"name": "lineage", "key": "api-key"}],
    )


class LineageSpec(Model):
    """Whom the head tells of the run. A receiver that does not answer delays and ends nothing."""

    open_lineage: OpenLineageSpec | None = Field(
        default=None,
        description="Events of the run (START, RUNNING, COMPLETE, FAIL, ABORT) for an OpenLineage "
        "endpoint.",
        examples=[{"url": "http://marquez.lineage.svc:5000"}],
    )


def lineage_secret(spec: LineageSpec | None) -> ApiKeyRef | None:
    """The key that the head's pod is handed; None where it needs none."""
    receiver = spec.open_lineage if spec else None
    return receiver.api_key_secret_ref if receiver else None
