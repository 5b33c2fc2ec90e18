"""A run as OpenLineage events. Pure.

Job: the pipeline. Run: from its first start to its end, however many heads it takes. Inputs: the
source. Outputs: the Delta table. What OpenLineage has no facet for is in our own, `weft`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import attr
import msgspec
import pyarrow as pa
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    RunFacet,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    processing_engine_run,
    schema_dataset,
    storage_dataset,
)

from weft import __version__
from weft.data.columns import TABLE_SCHEMA
from weft.data.storage import absolute, local_path
from weft.runtime.status import Status
from weft_api.limits import model_of
from weft_api.plan import Plan

PRODUCER = f"https://weft.dev/{__version__}"
FACET_SCHEMA = "https://weft.dev/schemas/1-0-0/WeftRunFacet.json#/$defs/WeftRunFacet"

STATES = {"Succeeded": RunState.COMPLETE, "Failed": RunState.FAIL, "Stopped": RunState.ABORT}
"""By the phase that a run ends in; in any other it goes on, with another head."""


class Written(msgspec.Struct, frozen=True):
    """What the output's table holds."""

    rows: int
    bytes: int
    files: int
    version: int

    def since(self, before: Written) -> Written:
        """What was written after `before`; compaction by others may make files fewer."""
        return Written(
            self.rows - before.rows,
            max(0, self.bytes - before.bytes),
            max(0, self.files - before.files),
            self.version,
        )


@attr.define(kw_only=True)
class WeftRunFacet(RunFacet):
    """What made the rows, and what became of them; `docs/schemas` says what each field is."""

    planGeneration: int
    plan: str
    seed: int
    prompts: list[dict[str, Any]]
    models: list[str]
    agents: list[dict[str, Any]]
    rows: dict[str, int]
    tokens: dict[str, int]
    phase: str
    reason: str
    cost: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return FACET_SCHEMA


def event_of(
    state: RunState,
    *,
    run_id: str,
    at: datetime,
    plan: Plan,
    status: Status,
    columns: frozenset[str] | None,
    written: Written | None,
) -> RunEvent:
    """`columns`: the source's, where they are known. `written`: by this run; None where the table
    could not be asked."""
    receiver = plan.open_lineage
    engine = processing_engine_run.ProcessingEngineRunFacet(
        version=__version__, name="Weft", openlineageAdapterVersion=__version__, producer=PRODUCER
    )
    facets: dict[str, RunFacet] = {"processing_engine": engine, "weft": _weft(plan, status)}
    if state is RunState.FAIL:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=f"{status.reason or 'Failed'}: {status.message}",
            programmingLanguage="Python",
            producer=PRODUCER,
        )
    kind = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="WEFT", jobType="PIPELINE", producer=PRODUCER
    )
    return RunEvent(
        eventType=state,
        eventTime=at.astimezone(UTC).isoformat(timespec="milliseconds"),
        producer=PRODUCER,
        run=Run(runId=run_id, facets=facets),
        job=Job(
            namespace=(receiver.namespace if receiver else None) or plan.namespace,
            name=plan.pipeline,
            facets={"jobType": kind},
        ),
        inputs=_inputs(plan, columns),
        outputs=[_output(plan, written)],
    )


def name_of(uri: str) -> tuple[str, str]:
    """A dataset's namespace and name by OpenLineage's conventions: `s3://bucket` and the key,
    `file` and the path."""
    whole = absolute(uri)
    if (path := local_path(whole)) is not None:
        return "file", str(path)
    parts = urlsplit(whole)
    # Never what stands before the @ of an address of the web: it may be a password.
    host = parts.netloc if parts.scheme in ("abfs", "abfss") else parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}", parts.path.strip("/") or "/"


def _weft(plan: Plan, status: Status) -> WeftRunFacet:
    rows = status.rows
    return WeftRunFacet(
        planGeneration=plan.generation,
        plan=plan.digest(),
        seed=plan.seed,
        prompts=[{"name": each.name, "version": each.version} for each in plan.prompts],
        models=sorted({model_of(pool.engine) for pool in plan.pools} - {""}),
        agents=[
            {
                "pool": pool.name,
                "step": pool.step,
                "agent": pool.agent,
                "revision": pool.revision,
                "image": pool.image,
            }
            for pool in plan.pools
        ],
        rows={
            "accepted": rows.accepted,
            "rejected": rows.rejected,
            "dead": rows.dead,
            "inFlight": rows.in_flight,
            "resumed": rows.resumed,
        },
        tokens={"prompt": status.tokens.prompt, "completion": status.tokens.completion},
        cost=status.cost,
        phase=status.phase,
        reason=status.reason,
        producer=PRODUCER,
    )


def _inputs(plan: Plan, columns: frozenset[str] | None) -> list[InputDataset]:
    dataset = plan.source.dataset
    if dataset is None:
        return []
    namespace, name = name_of(dataset.uri)
    facets: dict[str, DatasetFacet] = {}
    if columns:
        fields = [schema_dataset.SchemaDatasetFacetFields(name=each) for each in sorted(columns)]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields, producer=PRODUCER)
    return [InputDataset(namespace=namespace, name=name, facets=facets)]


def _output(plan: Plan, written: Written | None) -> OutputDataset:
    namespace, name = name_of(plan.output.uri)
    facets: dict[str, DatasetFacet] = {
        "schema": schema_dataset.SchemaDatasetFacet(
            fields=[_field(field) for field in TABLE_SCHEMA], producer=PRODUCER
        ),
        "storage": storage_dataset.StorageDatasetFacet(
            storageLayer="delta", fileFormat="parquet", producer=PRODUCER
        ),
    }
    output = OutputDataset(namespace=namespace, name=name, facets=facets)
    if written is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(
            datasetVersion=str(written.version), producer=PRODUCER
        )
        output.outputFacets = {
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=written.rows,
                size=written.bytes,
                fileCount=written.files,
                producer=PRODUCER,
            )
        }
    return output


def _field(field: pa.Field) -> schema_dataset.SchemaDatasetFacetFields:
    """An Arrow field; of structs and lists of structs, with the fields inside."""
    kind = field.type
    listed = pa.types.is_list(kind)
    inner = kind.value_type if listed else kind
    named = "struct" if pa.types.is_struct(inner) else str(inner)
    return schema_dataset.SchemaDatasetFacetFields(
        name=field.name,
        type=f"array<{named}>" if listed else named,
        fields=[_field(each) for each in inner] if pa.types.is_struct(inner) else [],
    )
