#!/bin/sh
# SPDX-License-Identifier: MIT
# README.md's "Build and install" in a bare Debian: its commands as they stand there, one after the other, in a new root that holds
# only Debian's smallest system; and the program that they end with must run, on a private Redis. Needs root.
#   sh tests/package/bare.sh
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "bare.sh needs root: it makes a new root directory" >&2; exit 1; }
work=$(mktemp -d)
. "$root/tests/support/redis.sh"
cleanup() {
    redis_end
    umount "$work/root/proc" 2>/dev/null || :
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Debian's packages come from where this machine has them, whichever way it is told.
. /etc/os-release
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $VERSION_CODENAME" | head -n 1)
[ -n "$mirror" ] || { echo "apt-get knows no mirror of $VERSION_CODENAME: run apt-get update" >&2; exit 1; }
debootstrap --variant=minbase --include=ca-certificates "$VERSION_CODENAME" "$work/root" "$mirror" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
cp -a /etc/apt/. "$work/root/etc/apt/"
cp /etc/resolv.conf /etc/hosts "$work/root/etc/" 2>/dev/null || :
mount -t proc proc "$work/root/proc"
mkdir "$work/root/src"
(cd "$root" && tar -cf - --exclude='./build*' --exclude=.git .) | tar -xf - -C "$work/root/src"

awk '/^## Build and install/ { here = 1 } here && /^```sh/ { inside = 1; next } /^```/ { if (inside) exit } inside' \
    "$root/README.md" >"$work/root/commands"
[ "$(wc -l <"$work/root/commands")" -ge 3 ] || { echo "README.md has no commands under \"Build and install\"" >&2; exit 1; }
redis_start "$work/root/tmp"
chroot "$work/root" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive http_proxy="${http_proxy-}" https_proxy="${https_proxy-}" \
    sh -euc 'apt-get update -qq; cd /src; . /commands; ./minimal "unix://$1?deadline_ms=10000"; latchkey --version; man3=$(ls /usr/local/share/man/man3 | wc -l); [ "$man3" -gt 50 ]' - "${redis_socket#"$work/root"}" >"$work/log" 2>&1 ||
    { tail -n 40 "$work/log" >&2; exit 1; }
tail -n 3 "$work/log"
