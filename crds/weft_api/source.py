"""Where rows come from, and where they end."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from weft_api.base import Model, Rule, immutable
from weft_api.patterns import ABSOLUTE
from weft_api.scalars import Condition, ObjectName, Span

NEW_PIPELINE = "make a pipeline of another name"

Uri = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
ABSOLUTE_URI = Rule(
    f"self.uri.matches(r'{ABSOLUTE}')",
    "uri is a relative path, and on a cluster there is no folder that it starts at",
    "write an absolute path or an address such as s3://bucket/folder",
    "uri",
    told_better=True,
)
Format = Literal["jsonl", "parquet", "csv", "huggingface", "text"]

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
}
"""The formats that a URI's suffix tells; a `huggingface` folder has to be named as such."""


class Dataset(Model):
    """Rows that exist: a file or folder."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.format) || self.uri.matches('[.](jsonl|ndjson|parquet|csv)$')",
            "the format cannot be told from the uri's suffix",
            "set format to jsonl, parquet, csv, huggingface or text",
            "uri",
        ),
        ABSOLUTE_URI,
    )

    uri: Uri = Field(
        description="File or folder: a local path (of the head, on a cluster) or any address that "
        "fsspec reads. On a laptop a relative path starts at the manifest's folder.",
        examples=["s3://bucket/tickets.jsonl"],
        json_schema_extra=immutable("the source cannot change", NEW_PIPELINE),
    )
    format: Format | None = Field(
        default=None,
        description="Format of the rows; default: told by the suffix (.jsonl, .ndjson, .parquet, "
        ".csv). text: a folder of documents (.txt, .md), each passage of which is a row.",
        examples=["jsonl"],
    )
    id_field: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = Field(
        default=None,
        description="Column whose value names a row; it must be unique. Default: the row's place "
        "in the source, so that rows may then only be added at the end.",
        examples=["ticket_id"],
    )


class Generate(Model):
    """Rows that start empty but for their number."""

    rows: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        description="How many rows to start.",
        examples=[10000],
        json_schema_extra=immutable("the number of rows cannot change", NEW_PIPELINE),
    )


class SourceSpec(Model):
    """Exactly one of `dataset` and `generate`."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.dataset) != has(self.generate)",
            "a source is exactly one of dataset and generate",
            "keep the one that you mean",
        ),
        Rule(
            "has(self.dataset) == has(oldSelf.dataset)",
            "the kind of source cannot change",
            NEW_PIPELINE,
        ),
    )

    dataset: Dataset | None = Field(
        default=None,
        description="Rows from a file or folder.",
        examples=[{"uri": "s3://bucket/tickets.jsonl", "format": "jsonl"}],
    )
    generate: Generate | None = Field(
        default=None,
        description="Rows made up from nothing but their number.",
        examples=[{"rows": 10000}],
    )
    priority: Condition | None = Field(
        default=None,
        description="CEL over the source's row that gives an integer; rows of a higher number go "
        "first, as with Kubernetes' priorities. Default: all alike, oldest first.",
        examples=["row.urgent ? 10 : 0"],
    )
    deadline: Condition | None = Field(
        default=None,
        description="CEL over the source's row that gives a duration, or null for none: within "
        "this time of being begun the row is to be made. Among rows of one priority the earliest "
        "deadline goes first. Each row's record says whether it was met. Live.",
        examples=["row.tier == 'gold' ? duration('30s') : duration('10m')"],
    )
    on_late: Literal["Continue", "Reject"] = Field(
        default="Continue",
        description="A row whose deadline has passed: Continue it to its end, or Reject it before "
        "its next hop is begun. Live.",
        examples=["Reject"],
    )


class OutputSpec(Model):
    """One Delta table that takes accepted, rejected and dead rows, partitioned by status."""

    rules: ClassVar[tuple[Rule, ...]] = (ABSOLUTE_URI,)

    uri: Uri = Field(
        description="Folder of the Delta table: a local path or an object store's address. On a "
        "laptop a relative path starts at the manifest's folder.",
        examples=["s3://bucket/support"],
        json_schema_extra=immutable("the output cannot change", NEW_PIPELINE),
    )
    target_rows: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None,
        description="Exactly so many accepted rows are made, and then it has succeeded. Rows are "
        "begun only while all of those on their way could still be needed. Live: it can rise.",
        examples=[10000],
    )
    commit_interval: Span = Field(
        default=Span("5s"),
        description="How often finished rows are committed.",
        examples=["5s"],
    )


class SecretRef(Model):
    """A Secret by name."""

    name: ObjectName = Field(
        description="Name of the Secret, in this namespace.", examples=["bucket"]
    )


class StorageSpec(Model):
    """Credentials of the stores that source and output are in."""

    secret_ref: SecretRef = Field(
        description="Secret whose keys become environment variables of all pods "
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, …), by reference. On a "
        "laptop the environment has them.",
        examples=[{"name": "bucket"}],
    )
