#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs Go, Rust and Node, for the bindings. Debian's, unless a machine has others already, beside which Debian's cannot be installed.
#   sh tests/need_languages.sh
set -eu
need="sh $(dirname "$0")/need.sh"
command -v go >/dev/null || $need golang-go
$need cargo rustc librust-tokio-dev librust-tower-dev librust-http-dev librust-libc-dev # beside another Rust: these fit each other
command -v node >/dev/null || $need nodejs
node=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
[ -e "$node/include/node/node_api.h" ] || $need libnode-dev
command -v npm >/dev/null || $need npm
