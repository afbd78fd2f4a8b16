#!/bin/sh
# SPDX-License-Identifier: MIT
# A command with a Valkey in Redis' place: Debian's own package of it, from the backports, laid into a directory of its own.
# Nothing is installed.
#   sh tests/package/valkey.sh DIRECTORY ctest --test-dir build -R system_life
#   sh tests/package/valkey.sh DIRECTORY sh tests/faults/run.sh --out DIRECTORY/faults --long
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift

fetch() {
    apt=$out/apt
    . /etc/os-release
    archive=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' | awk '$2 == "main" && !/security/ { print $1; exit }')
    rm -rf "$apt" && mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $VERSION_CODENAME-backports main" >"$apt/sources.list"
    set -- -q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists" \
        -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
    apt-get "$@" update
    (cd "$apt" && apt-get "$@" download valkey-server valkey-tools)
    for package in "$apt"/*.deb; do dpkg -x "$package" "$out"; done
    rm -rf "$apt"
}

[ -x "$out/usr/bin/valkey-server" ] || fetch
mkdir -p "$out/bin"
ln -sf "$out/usr/bin/valkey-server" "$out/bin/redis-server"
PATH=$out/bin:$PATH
export PATH
redis-server --version
redis-server --version | grep -q '^Valkey server v=8'
"$@"
