#!/bin/sh
# Scans an image for known vulnerabilities that have a fix: scan.sh IMAGE. The nightly run's step for it.
# Exits with 0 when there are none, 1 when there are, 2 when nothing was scanned.
set -u
image="${1:?which image?}"
if command -v trivy > /dev/null; then
    trivy image --quiet --scanners vuln --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1 "$image"
    code=$?
elif command -v grype > /dev/null; then
    grype --quiet --only-fixed --fail-on high "$image"
    code=$?
else
    echo "Nothing was scanned: neither trivy nor grype is here." >&2
    exit 2
fi
# Both say 1 for what they found; whatever else went wrong, nothing was scanned to the end.
test "$code" -le 1 || exit 2
exit "$code"
