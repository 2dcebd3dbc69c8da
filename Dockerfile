FROM python:3.13.15-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

# Without pip: what runs later has no use for it.
RUN python -m venv --without-pip /opt/syncer

WORKDIR /src
# Before the sources, which change more often: what is installed here stays in the cache. An index of your own comes in
# with `docker build --secret id=pip.conf,src=pip.conf` and stays out of the image and its history. To build the wheel
# takes hatchling and what it needs, in the locked versions: pip refuses whatever is missing from this list.
COPY requirements/ requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/syncer install --require-hashes --only-binary :all: --requirement requirements/runtime.txt \
    && awk '/^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/, !/\\$/' requirements/dev.txt > build.txt \
    && pip install --require-hashes --only-binary :all: --requirement build.txt

COPY pyproject.toml README.md LICENSE config.example.toml ./
COPY alembic/ alembic/
COPY syncer/ syncer/
RUN python -m hatchling build --target wheel --directory dist \
    && pip --python /opt/syncer install --no-index --no-deps dist/*.whl


FROM python:3.13.15-slim-trixie

LABEL org.opencontainers.image.title="syncer" \
      org.opencontainers.image.description="Copies the execution history of workflow-automation platforms into PostgreSQL" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

ENV PATH=/opt/syncer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SYNCER_CONFIG=/etc/syncer/config.toml

RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent syncer
COPY --from=build /opt/syncer /opt/syncer

# By number, so that Kubernetes can see that it is not root.
USER 10001:10001

# What is mounted at $SYNCER_CONFIG says `listen = "0.0.0.0:9108"`: 127.0.0.1 is the container alone.
EXPOSE 9108

# http.client, because urllib would ask the proxy of the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9108, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]

ENTRYPOINT ["syncer"]
CMD ["run"]
