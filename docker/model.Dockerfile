# The local model server, for compose.yaml: a small language model and an embedding model on loopback.
FROM debian:trixie-slim

# Only for a build behind a proxy that inspects TLS: the certificate bundle that pip uses.
ARG PIP_CERT

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-pip ca-certificates libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system model \
    && install -d -o model -m 755 /var/cache/pgagentos
COPY scripts/make_venv plpy_src/requirements/local_models.lock /usr/src/pgagentos/
RUN /usr/src/pgagentos/make_venv /opt/local_models /usr/src/pgagentos/local_models.lock && rm -rf /root/.cache
COPY plpy_src/pgagentos /usr/src/pgagentos/pgagentos

ENV LANG=C.UTF-8 PYTHONPATH=/usr/src/pgagentos XDG_CACHE_HOME=/var/cache
# the model file: 1.1 GB, downloaded at the first start
VOLUME /var/cache/pgagentos
USER model
CMD ["sh", "-c", "/usr/bin/python3 -m pgagentos.local_models fetch && exec /opt/local_models/bin/python -m pgagentos.local_models serve --port 8091"]
