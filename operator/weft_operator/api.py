"""Kubernetes' API over `kubernetes.aio`: JSON in, JSON out, a time-out on everything.

The typed clients of that package would make thousands of model objects out of what is stored as
JSON again; its ApiClient (addresses, TLS, tokens that renew themselves) is what is used.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import ClientError
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from weft_operator.jsontypes import Object, dig
from weft_operator.metrics import API_REQUESTS
from weft_operator.names import MANAGER

TIMEOUT: Final = 15.0
CONNECTIONS: Final = 24
"""At once. Each TLS connection holds 128 KiB of buffers."""
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind are found."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace:
            parts += ["namespaces", namespace]
        return "/".join(part for part in (*parts, self.plural, name, subresource) if part)


PIPELINES: Final = Kind("weft.dev", "v1alpha1", "syntheticpipelines")
POOLS: Final = Kind("weft.dev", "v1alpha1", "agentpools")
CLUSTERS: Final = Kind("ray.io", "v1", "rayclusters")
PODS: Final = Kind("", "v1", "pods")
NODES: Final = Kind("", "v1", "nodes")
CONFIG_MAPS: Final = Kind("", "v1", "configmaps")
SECRETS: Final = Kind("", "v1", "secrets")
NETWORK_POLICIES: Final = Kind("networking.k8s.io", "v1", "networkpolicies")
LEASES: Final = Kind("coordination.k8s.io", "v1", "leases")
EVENTS: Final = Kind("", "v1", "events")


class ApiError(Exception):
    """The API server said no, or nothing at all (status 0). `str()` is one line."""

    def __init__(self, status: int, what: str, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"{what}: {status or 'no answer'}: {message}")

    @property
    def namespace_leaves(self) -> bool:
        """Nothing can be made in a namespace that is being deleted; that is no want of rights. (The
        words are those of the admission plug-in NamespaceLifecycle.)"""
        return self.status == 403 and "because it is being terminated" in self.message


class Api:
    """Close it, or use it as an async context manager."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls) -> Api:
        """From a pod's service account, else from KUBECONFIG. Raises `ApiError` with what to do."""
        try:
            config.load_incluster_config()
        except config.ConfigException:
            try:
                await config.load_kube_config()
            except (config.ConfigException, OSError) as error:
                raise ApiError(
                    0,
                    "connecting to Kubernetes",
                    f"no service account and no usable kubeconfig ({error}); set KUBECONFIG",
                ) from None
        settings = Configuration.get_default_copy()
        # Else aiohttp looks for a .netrc before each request, in a thread.
        settings.client_session_kwargs = {"trust_env": False}
        settings.connection_pool_maxsize = CONNECTIONS
        return cls(ApiClient(settings))

    async def close(self) -> None:
        await self._client.close()

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """None where there is none."""
        try:
            return await self._ask("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind now."""
        try:
            found = await self._ask("GET", f"/apis/{kind.group}/{kind.version}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return any(each["name"] == kind.plural for each in found.get("resources", ()))

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "") -> Object:
        """Metadata only: names, uids, versions and labels."""
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        query = {"labelSelector": labels} if labels else {}
        return await self._ask("GET", kind.path(namespace), query=query, accept=accept)

    async def objects(
        self, kind: Kind, namespace: str = "", *, labels: str = ""
    ) -> AsyncIterator[Object]:
        """Whole objects, listed in parts, so that never all of them are in memory twice."""
        query = {"limit": "200"} | ({"labelSelector": labels} if labels else {})
        while True:
            answer = await self._ask("GET", kind.path(namespace), query=query)
            for item in answer.get("items") or ():
                yield item
            if not (more := dig(answer, "metadata", "continue")):
                return
            query["continue"] = more

    async def create(self, kind: Kind, obj: Mapping[str, Any]) -> Object:
        path = kind.path(obj["metadata"]["namespace"])
        return await self._ask("POST", path, body=obj, query={"fieldManager": MANAGER})

    async def replace(self, kind: Kind, obj: Mapping[str, Any]) -> Object:
        """Guarded by the object's resourceVersion, where it has one."""
        meta = obj["metadata"]
        path = kind.path(meta["namespace"], meta["name"])
        return await self._ask("PUT", path, body=obj, query={"fieldManager": MANAGER})

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
    ) -> Object:
        """A list is taken for a JSON patch, a mapping for a merge patch."""
        content = MERGE if isinstance(body, Mapping) else JSON_PATCH
        path = kind.path(namespace, name, subresource)
        query = {"fieldManager": MANAGER}
        return await self._ask("PATCH", path, body=body, content=content, query=query)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """That very object; quiet where it is gone already, or another has its name."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._ask("DELETE", kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        headers = {"Accept": accept, "Content-Type": content}
        what = f"{method} {path}"
        try:
            # Without the body: it is JSON already, and would be walked through in search of models.
            _, url, headers, _, _ = await self._client.param_serialize(
                method,
                path,
                header_params=headers,
                query_params=list((query or {}).items()),
                auth_settings=["BearerToken"],
            )
            answer = await self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=TIMEOUT
            )
            text = await answer.read()
        except ApiException as error:
            raise ApiError(int(error.status or 0), what, _message(error.body)) from None
        except (ClientError, TimeoutError, OSError) as error:
            API_REQUESTS.labels(method, "none").inc()
            raise ApiError(0, what, str(error) or type(error).__name__) from None
        API_REQUESTS.labels(method, str(answer.status)).inc()
        if not 200 <= answer.status <= 299:
            raise ApiError(answer.status, what, _message(text))
        found: Object = msgspec.json.decode(text)
        return found


def _message(body: str | bytes | None) -> str:
    """The API server's own sentence out of its Status object."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200]
