# The images of Weft: `operator`, `agents` (head, writers, agents) and `agents-vllm`.
#
#   docker build --target agents -t registry.example/weft-agents:0.1.0 .
#
# BASE may be any Debian-like image with Python 3.11 and venv; agents and head must have the very
# same Python and Ray. Nothing is compiled: every pinned package comes as a wheel.
ARG BASE=python:3.11-slim

# The project's own wheel, made apart so that its build tools stay out of the images.
FROM ${BASE} AS wheel
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --quiet hatchling
WORKDIR /src
COPY pyproject.toml README.md ./
COPY crds/weft_api crds/weft_api
COPY agents/weft agents/weft
COPY operator/weft_operator operator/weft_operator
RUN /opt/build/bin/hatchling build -t wheel -d /wheel

FROM ${BASE} AS base
# Numeric, so that `runAsNonRoot` can be checked by the kubelet.
RUN echo 'weft:x:10001:10001::/home/weft:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'weft:x:10001:' >> /etc/group \
    && mkdir -p /home/weft && chown 10001:10001 /home/weft \
    && python3 -m venv /opt/weft
ENV PATH=/opt/weft/bin:$PATH HOME=/home/weft PYTHONUNBUFFERED=1
WORKDIR /home/weft

FROM base AS operator
COPY requirements/operator.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --no-deps --only-binary :all: -r /tmp/requirements.txt
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheel/*.whl
# One heap for all threads: what a burst took is used again instead of being kept for each.
ENV MALLOC_ARENA_MAX=1
USER 10001:10001
ENTRYPOINT ["python", "-m", "weft_operator"]

FROM base AS agents-packages
COPY requirements/agents.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --no-deps --only-binary :all: -r /tmp/requirements.txt

FROM agents-packages AS agents
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheel/*.whl
USER 10001:10001
ENTRYPOINT ["weft"]

FROM agents-packages AS agents-vllm
# The one image with a compiler: Triton, which vLLM's kernels are written in, builds its launchers
# with it when a model starts.
RUN apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/*
ARG VLLM=vllm>=0.32
RUN pip install --no-cache-dir --only-binary :all: "${VLLM}" -c /tmp/requirements.txt
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheel/*.whl
USER 10001:10001
ENTRYPOINT ["weft"]
