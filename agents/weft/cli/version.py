"""`weft version`."""

from __future__ import annotations

import platform

import click


@click.command
def command() -> None:
    """Print the version of Weft, of Ray and of Python.

    \b
    weft version
    """
    from importlib.metadata import PackageNotFoundError, version

    from weft import __version__

    try:
        ray = version("ray")
    except PackageNotFoundError:
        ray = "not installed"
    click.echo(f"weft {__version__} (ray {ray}, python {platform.python_version()})")
