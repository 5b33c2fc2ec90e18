"""What `helm test` runs: is the operator there, well and led, and are the CRDs served?"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import aiohttp

from weft_operator.api import CLUSTERS, LEASES, PIPELINES, POOLS, Api, ApiError
from weft_operator.jsontypes import dig

PATIENCE = 60.0


def main() -> int:
    """Exit status 0 when all is well; else 1, with one line for each fault."""
    parser = argparse.ArgumentParser(prog="weft_operator.selftest", description=__doc__)
    parser.add_argument("--service", required=True, metavar="HOST", help="the operator's Service")
    parser.add_argument("--lease", required=True, metavar="NAMESPACE/NAME")
    options = parser.parse_args()
    faults = asyncio.run(_until_well(options.service, *options.lease.split("/", 1)))
    for fault in faults:
        print(f"weft: {fault}", file=sys.stderr)
    if not faults:
        print("weft: the operator is well")
    return 1 if faults else 0


async def _until_well(service: str, namespace: str, lease: str) -> list[str]:
    """A replica that has just started is given a minute."""
    deadline = time.monotonic() + PATIENCE
    while True:
        faults = await _faults(service, namespace, lease)
        if not faults or time.monotonic() > deadline:
            return faults
        await asyncio.sleep(2.0)


async def _faults(service: str, namespace: str, lease: str) -> list[str]:
    faults = []
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{service}:8081/healthz") as answer,
        ):
            if answer.status != 200:
                faults.append(f"the operator is not well: {await answer.text()}")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        faults.append(f"the operator is not reachable at {service}: {error}")
    try:
        async with await Api.connect() as api:
            held = await api.get(LEASES, namespace, lease)
            if not dig(held or {}, "spec", "holderIdentity"):
                faults.append(f"nobody leads: the Lease {namespace}/{lease} has no holder")
            missing = [k.plural for k in (PIPELINES, POOLS, CLUSTERS) if not await api.serves(k)]
            faults += [f"the API server does not serve {plural}" for plural in missing]
    except ApiError as error:
        faults.append(str(error))
    return faults


if __name__ == "__main__":
    sys.exit(main())
