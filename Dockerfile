FROM python:3.12-slim

LABEL org.opencontainers.image.title="evcharge" \
      org.opencontainers.image.licenses="MIT"

WORKDIR /app
COPY . /app

# The last command writes the plugin cache, which the unprivileged user could not.
RUN pip install --no-cache-dir --require-hashes -r constraints.txt \
    && pip install --no-cache-dir --no-deps . \
    && useradd --system --no-create-home --home-dir /data evcharge \
    && mkdir --mode=700 /data \
    && chown evcharge /data \
    && twistd --help > /dev/null

USER evcharge
WORKDIR /data
VOLUME /data
EXPOSE 8888
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=6s --start-period=10s \
    CMD ["python", "-m", "evcharge.healthcheck", "8888"]

CMD ["twistd", "--nodaemon", "--pidfile=", "evcharge", "--port", "8888", "--data", "/data"]
