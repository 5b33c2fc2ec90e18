"""A whole pipeline on this machine: an embedded Ray with the head, the agents and the writers."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
import ray
from ray._private.parameter import RayParams as _RayParams

from weft.data.errors import OutputError
from weft.data.plans import StoredPlans, next_generation
from weft.data.storage import from_environment
from weft.runtime.actors import FOREVER, HEAD, AgentActor, HeadActor, WriterActor
from weft.runtime.control_thread import ControlThread
from weft.runtime.process import Place
from weft.runtime.remote_head import RemoteHead
from weft.runtime.running_here import RunFile, announced
from weft.runtime.status import Status
from weft_api.plan import Plan

OBJECT_STORE_BYTES = 256 << 20
ASK_TIMEOUT = 30.0
"""Seconds that the head has to answer; it may be starting again."""
START_ATTEMPTS = 3
END_TIMEOUT = 20.0
"""Seconds that the actors have to end by themselves when the run is over."""


class RunFailed(Exception):
    """The run cannot go on. One line."""


class LocalRun:
    """Use as a context manager; `status` until it is finished.

    Ray's own processes end with this one, however it ends.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        import_from: Sequence[Path] = (),
        wishes: Mapping[str, Any] | None = None,
    ) -> None:
        """`import_from`: folders that the agents' own modules may lie in. `wishes`: what was asked
        for besides the manifests, for those who hand the run a new plan (`running_here`).

        The plan's generation follows those that the output has seen before."""
        self.plan = plan
        self._import_from = import_from
        self._wishes = dict(wishes or {})
        self._remote = RemoteHead()
        self._control: ControlThread | None = None
        self._open = contextlib.ExitStack()
        self._token = secrets.token_hex(32)
        self._head: Any = None
        self._head_run: Any = None
        self._runs: dict[Any, str] = {}
        self._ray_is_gone = False
        self._actors: dict[str, Any] = {}
        self.over = False
        """The head has ended, and `status` gave the final one (`finished` or not: a run that was
        drained or stopped ends without being either)."""

    def __enter__(self) -> LocalRun:
        try:
            self.plan = self.numbered()
            start_ray(self.plan.pipeline, import_from=self._import_from)
            self._start_actors()
            self._serve_control_api()
        except BaseException:
            self._open.close()
            ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        if self._ray_is_gone:
            # Nobody answers any more; what is asked waits a minute for it.
            kill_ray()
            return
        if self._runs:
            for actor in self._actors.values():
                actor.end.options(max_task_retries=0).remote()
            with contextlib.suppress(ray.exceptions.RayError):
                ray.wait(list(self._runs), num_returns=len(self._runs), timeout=END_TIMEOUT)
        for actor in self._actors.values():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)
        ray.shutdown()

    def status(self) -> Status | None:
        """How it stands, at last the final status; None while the head is not up.

        Raises `RunFailed` when a part cannot go on."""
        if dead := dead_part_of_ray():
            self._ray_is_gone = True
            raise RunFailed(
                f"Ray's {dead} has died under it; the same command goes on with what is committed"
            )
        done, _ = ray.wait([self._head_run, *self._runs], num_returns=1, timeout=0)
        if self._head_run in done:
            self.over = True
            self._remote.final = final = _final(self._head_run)
            return final
        for run in done:
            if line := ray.get(run):
                raise RunFailed(f"{self._runs[run]}: {line}")
            del self._runs[run]
        with contextlib.suppress(ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError):
            answer: bytes = ray.get(self._head.status.remote(), timeout=ASK_TIMEOUT)
            return msgspec.json.decode(answer, type=Status) if answer else None
        return None

    def wait(self, seconds: float) -> None:
        """For so long, or until the run or a part of it ends. Asking for the status costs some 4 ms
        of CPU, here and in the head: this is how to learn of the end without asking often."""
        try:
            ray.wait([self._head_run, *self._runs], num_returns=1, timeout=seconds)
        except ray.exceptions.RayError:
            time.sleep(seconds)  # What is wrong the status will tell; nobody must spin until then.

    def drain(self) -> None:
        """Issue nothing more; the run ends when what is on its way has ended."""
        self._head.drain.remote()

    def stop(self) -> None:
        """End now; the next run goes on from what is committed."""
        self._head.stop.remote()

    def hand_over(self, plan: Plan) -> str:
        """Hand the head a newer plan: "" or the lines that say why it is refused."""
        return str(ray.get(self._head.update.remote(plan.to_json()), timeout=ASK_TIMEOUT))

    def pids(self) -> dict[str, int]:
        """Process id of the head and of each agent and writer that is up, by name."""
        actors = {HEAD: self._head, **self._actors}
        asked = {actor.pid.remote(): name for name, actor in actors.items()}
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ASK_TIMEOUT)
        return {asked[ref]: ray.get(ref) for ref in done}

    def numbered(self) -> Plan:
        """The plan with the generation that it has in the life of this output. Raises
        `RunFailed`."""
        plan = self.plan
        try:
            stored = StoredPlans(plan.output.uri, from_environment()).newest(uid=plan.uid, most=1)
        except OutputError as error:
            raise RunFailed(str(error)) from None
        return plan.model_copy(update={"generation": next_generation(plan, stored)})

    def _serve_control_api(self) -> None:
        """Beside the run; where that is not possible, the run goes on without."""
        self._remote.actor = self._head
        control = ControlThread(self._remote, self._token)
        try:
            control.start()
            self._open.callback(control.stop)
            run = RunFile(
                self.plan.pipeline,
                self.plan.output.uri,
                control.address,
                self._token,
                os.getpid(),
                self._wishes,
            )
            self._open.enter_context(announced(run))
        except OSError as error:
            logging.getLogger(__name__).warning("weft apply will not find this run: %s", error)

    def _start_actors(self) -> None:
        plan = self.plan
        head = Place(name=HEAD, pipeline=plan.pipeline, token=self._token)
        self._head = (
            ray.remote(HeadActor).options(name=HEAD, **FOREVER).remote(head, plan.to_json())
        )
        self._head_run = self._head.run.remote()
        for number in range(plan.delivery.writers):
            self._start(WriterActor, Place(f"writer-{number}", plan.pipeline, self._token))
        for pool in plan.pools:
            for number in range(pool.replicas):
                place = Place(
                    f"{pool.name}-{number}",
                    plan.pipeline,
                    self._token,
                    pool=pool.name,
                    revision=pool.revision,
                    image=pool.image,
                )
                self._start(AgentActor, place)

    def _start(self, kind: type, place: Place) -> None:
        actor = ray.remote(kind).options(name=place.name, **FOREVER).remote(place)
        self._actors[place.name] = actor
        self._runs[actor.run.remote()] = place.name


def dead_part_of_ray() -> str:
    """`gcs_server` or `raylet` where that has ended, without which nothing of Ray goes on; else "".

    Ray itself notices the first after a minute, and ends this process without a word."""
    node = ray._private.worker._global_node
    dead = [kind for kind, _ in node.dead_processes()] if node else []
    return next((kind for kind in dead if kind in ("gcs_server", "raylet")), "")


def kill_ray() -> None:
    """End Ray's processes without asking them, and what they have started: some of that would
    notice only after a minute."""
    node = ray._private.worker._global_node
    if node is None:
        return
    started: list[psutil.Process] = []
    for part in [part for parts in node.all_processes.values() for part in parts]:
        with contextlib.suppress(psutil.NoSuchProcess):
            started += psutil.Process(part.process.pid).children(recursive=True)
    node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _final(run: Any) -> Status:
    try:
        return msgspec.json.decode(ray.get(run), type=Status)
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()
        raise RunFailed(f"the head: {first[0] if first else type(error).__name__}") from None


def start_ray(namespace: str, *, import_from: Sequence[Path] = (), cpus: int = 1) -> None:
    """An embedded Ray of our own, never one that happens to run here. Raises `RunFailed`."""
    folders = [str(folder.resolve()) for folder in import_from]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    if path:
        os.environ["PYTHONPATH"] = path
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    logging.getLogger("ray").setLevel(logging.ERROR)  # Notices about its own set-up, not a run's.
    # Ray prints to standard output, whatever it is told, when a process dies: into `--json`, too.
    ray._private.worker.print_to_stdstream = lambda *args, **options: None
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # No port: Ray says in its log that it serves no metrics there, and goes on. (It has no other
    # switch for this one, which is open to all and the same for every run.)
    os.environ.setdefault("DASHBOARD_METRIC_PORT", "99999")
    # Two of its processes have nothing to do in a run: one would send logs to a driver that does
    # not listen, the other add nodes. There is no other switch for them.
    ray._private.parameter.RayParams = functools.partial(
        _RayParams, include_log_monitor=False, no_monitor=True
    )
    started = time.monotonic()
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(
                address="local",
                _system_config={
                    # They would be served on all interfaces to anybody. A run's own are the
                    # control API's `/metrics`.
                    "enable_metrics_collection": False,
                    # Else as many as `num_cpus`, one process after the other.
                    "worker_maximum_startup_concurrency": os.cpu_count() or 1,
                },
                namespace=namespace,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE_BYTES,
            )
            break
        # Ray gives its processes 30 s to come up, which cannot be changed, and then raises a bare
        # Exception; on a busy machine that is too short.
        except Exception as error:
            ray.shutdown()
            if attempt == START_ATTEMPTS or "timed out" not in str(error):
                told = " ".join(str(error).split()) or type(error).__name__
                raise RunFailed(
                    f"Ray does not start on this machine ({told}); free CPU or memory and try again"
                ) from error
    logging.getLogger(__name__).debug("Ray is up after %.1f s", time.monotonic() - started)
