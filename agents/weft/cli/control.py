"""Asking the control API of a run on this machine."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from weft.cli.refused import FAILED, Refused
from weft.runtime.running_here import RunFile, chosen, runs

TIMEOUT = 30.0
"""Seconds for one answer; a plan is offered to every process before it is taken."""


class NoAnswer(Exception):
    """The head does not answer at the moment (it may be starting again). One line."""


def find(pipeline: str | None, output: str | None, *, command: str) -> RunFile:
    """The run that is meant. Raises `Refused`."""
    try:
        run, problem = chosen(runs(), pipeline, output)
    except OSError as error:
        raise Refused(f"{command}: the runs of this machine cannot be found: {error}") from None
    if run is None:
        raise Refused(f"{command}: {problem}")
    return run


def ask(
    run: RunFile, method: str, path: str, body: bytes = b"", *, content_type: str = ""
) -> tuple[int, bytes]:
    """Status and body of the answer. Raises `NoAnswer`."""
    address = urlsplit(run.address)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT)
    headers = {"Authorization": f"Bearer {run.token}"}
    if content_type:
        headers["Content-Type"] = content_type
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        status, content = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None
    finally:
        connection.close()
    if status == http.client.SERVICE_UNAVAILABLE:
        raise NoAnswer(problem_in(content))
    return status, content


def ask_now(run: RunFile, method: str, path: str, body: bytes = b"", *, command: str) -> bytes:
    """The body of a good answer. Raises `Refused`, with the answer's own lines."""
    try:
        status, content = ask(run, method, path, body)
    except NoAnswer as error:
        fix = "see whether it has ended, and try again"
        raise Refused(f"{command}: the run does not answer: {error}; {fix}", code=FAILED) from None
    if status >= http.client.BAD_REQUEST:
        raise Refused(problem_in(content).splitlines())
    return content


def problem_in(content: bytes) -> str:
    """The `error` of a refusal."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip() or "no reason given"
