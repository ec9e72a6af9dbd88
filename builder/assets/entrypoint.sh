#!/bin/bash
# Runs the container's command on the assets of this very image.
#
# sites/ is a volume and outlives the image; the assets belong to the image. So sites/assets is
# made a link to them at every start, whatever an earlier release left there.
set -euo pipefail

bench=/home/frappe/frappe-bench

rm -rf "$bench/sites/assets"
ln -s "$bench/assets" "$bench/sites/assets"

exec "$@"
