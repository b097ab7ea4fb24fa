FROM python:3.12-slim

LABEL org.opencontainers.image.title="evcharge" \
      org.opencontainers.image.licenses="MIT"

# The server's user has a number that does not change, as what is in a volume belongs to a number.
# Until the first start anybody may write there, so that `docker run --user` can do without root.
RUN groupadd --gid 8888 evcharge \
    && useradd --uid 8888 --gid 8888 --no-create-home --home-dir /data evcharge \
    && mkdir --mode=1777 /data \
    && chown evcharge:evcharge /data \
    && setpriv --version > /dev/null

WORKDIR /app
COPY constraints.txt ./
RUN pip install --no-cache-dir --require-hashes -r constraints.txt

COPY LICENSE README.md pyproject.toml setup.cfg ./
COPY twisted twisted
COPY evcharge evcharge
COPY tools/entrypoint.sh /usr/local/bin/evcharge-entrypoint
# The last command writes the plugin cache, which the unprivileged user could not.
RUN pip install --no-cache-dir --no-deps . \
    && chmod 755 /usr/local/bin/evcharge-entrypoint \
    && twistd --help > /dev/null

WORKDIR /data
VOLUME /data
EXPOSE 8888 8080
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=6s --start-period=10s \
    CMD ["python", "-m", "evcharge.healthcheck", "8888"]

# As root, it makes the volume the server's, and then gives root up.
ENTRYPOINT ["evcharge-entrypoint", "8888", "/data"]
# By its number alone the web port would be for the container itself.
CMD ["twistd", "--nodaemon", "--pidfile=", "evcharge", "--port", "8888", "--web-port", "tcp:8080", "--data", "/data"]
