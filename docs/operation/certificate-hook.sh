#!/bin/sh
# certbot runs this for each new certificate, with its folder in RENEWED_LINEAGE: a copy that
# evcharge may read goes to /etc/evcharge/tls, and evcharge reads it while connections stay open.
set -eu
install -d -o root -g evcharge -m 750 /etc/evcharge/tls
for name in fullchain privkey; do
    install -o root -g evcharge -m 640 "$RENEWED_LINEAGE/$name.pem" /etc/evcharge/tls/
done
systemctl try-reload-or-restart evcharge
