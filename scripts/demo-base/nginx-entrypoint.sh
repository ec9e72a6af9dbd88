#!/bin/bash
# Fills in nginx's template from the environment and runs nginx in front.
set -euo pipefail

export BACKEND=${BACKEND:-127.0.0.1:8000}
export FRAPPE_SITE_NAME_HEADER=${FRAPPE_SITE_NAME_HEADER:-\$host}
export PROXY_READ_TIMEOUT=${PROXY_READ_TIMEOUT:-120}
export CLIENT_MAX_BODY_SIZE=${CLIENT_MAX_BODY_SIZE:-50m}

# Only these names: the template's other dollars are nginx's own.
envsubst '$BACKEND $FRAPPE_SITE_NAME_HEADER $PROXY_READ_TIMEOUT $CLIENT_MAX_BODY_SIZE' \
    </templates/nginx/frappe.conf.template >/etc/nginx/conf.d/frappe.conf
exec nginx -g 'daemon off;'
