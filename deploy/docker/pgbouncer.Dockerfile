# Debian's PgBouncer, the one that the topology test runs too.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends pgbouncer && rm -rf /var/lib/apt/lists/*
USER nobody
EXPOSE 6432
CMD ["pgbouncer", "/config/pgbouncer.ini"]
