#!/bin/sh
# Installs the named Debian packages that are missing; does nothing, and asks for nothing, where all are there.
#   sh tests/need.sh PACKAGE...
set -eu
missing=
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "these packages are needed and this is not a Debian system:$missing" >&2
    exit 1
fi
root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "run as root, or install first:$missing" >&2; exit 1; }
    root=sudo
fi
echo "installing:$missing"
log=$(mktemp)
# A package's service must not start: what is needed here is started privately, on a port of its own.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null && $root chmod +x "$policy" && made=yes
fi
status=0
{ $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
    >"$log" 2>&1 || status=$?
[ -z "$made" ] || $root rm -f "$policy"
[ "$status" = 0 ] || { cat "$log" >&2; echo "could not install:$missing" >&2; }
rm -f "$log"
exit "$status"
