"""Arguments and options that several commands have."""

from __future__ import annotations

import click

paths = click.argument("paths", nargs=-1, required=True, metavar="PATH…")
"""Manifests: files, or folders of them."""

pipeline_name = click.option(
    "--pipeline", metavar="NAME", help="Which pipeline, where the manifests hold several."
)
