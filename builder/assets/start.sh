#!/bin/bash
# Serves the sites with gunicorn on port 8000.
#
# GUNICORN_WORKERS processes of GUNICORN_THREADS threads each; GUNICORN_TIMEOUT is in seconds.
set -euo pipefail

bench=/home/frappe/frappe-bench

# A worker's heartbeat file on a disk can block for longer than the time-out: so /dev/shm.
exec "$bench/env/bin/gunicorn" \
    --bind=0.0.0.0:8000 \
    --chdir="$bench/sites" \
    --worker-class=gthread \
    --worker-tmp-dir=/dev/shm \
    --workers="${GUNICORN_WORKERS:-2}" \
    --threads="${GUNICORN_THREADS:-4}" \
    --timeout="${GUNICORN_TIMEOUT:-120}" \
    --preload \
    frappe.app:application
