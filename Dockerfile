# One image for every process of the platform: `python -m libs.service <service>`, the jobs before them
# (`python -m migrations …`, `python -m libs.messaging create-topics`) and the simulated card provider.
ARG PYTHON_IMAGE=python:3.11-slim

# All dependencies come as wheels, checked against the hashes of the lock; a compiler is not needed anywhere.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv --without-pip /venv
COPY requirements-image.lock /build/
RUN python -m pip --python /venv/bin/python install --quiet --no-compile --no-deps --only-binary :all: \
        --require-hashes -r /build/requirements-image.lock
# Compiled once, here: where this runs, the file system is read-only.
RUN python -m compileall -q -j 0 /venv/lib
COPY . /app/
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="order-saga" \
      org.opencontainers.image.description="An order platform on Kafka and PostgreSQL: every service and job in one image" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --system --gid 10001 app && useradd --system --uid 10001 --gid app --no-create-home --home-dir /nonexistent app \
    && install -d -o app -g app -m 0750 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HTTP_HOST=0.0.0.0 LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
# The process itself asks, over HTTP, whether it is ready; jobs, which have no port, end before they are asked.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-I", "-S", "deploy/healthcheck.py"]
# Exec form and no shell: SIGTERM reaches the service, which stops in order within ten seconds.
CMD ["python", "-m", "libs.service"]
