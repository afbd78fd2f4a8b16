#!/bin/bash
# SPDX-License-Identifier: MIT
# Has nginx's configure write the headers that a module is compiled with (ngx_auto_config.h), as the nginx of this machine was
# configured: a module that was compiled otherwise is "not binary compatible".
#   bash configure.sh SOURCE OUT      SOURCE: nginx's sources, or /usr/share/nginx/src of Debian's nginx-dev
set -eu
source=$1 out=$2
rm -rf "$out"
mkdir -p "$out"
cp -r "$source/." "$out"
chmod -R u+w "$out"
cd "$out"
flags=()
if [ -f conf_flags ]; then # nginx-dev's
    . ./conf_flags
    flags=("${NGX_CONF_FLAGS[@]}")
elif command -v nginx >/dev/null; then # --add-dynamic-module names folders of the machine that built it
    eval "flags=($(nginx -V 2>&1 | sed -n 's/^configure arguments: //p'))"
    kept=()
    for flag in "${flags[@]}"; do
        case $flag in --add-*module=* | --with-*=dynamic | --with-ld-opt=*) ;; *) kept+=("$flag") ;; esac
    done
    flags=("${kept[@]}")
else
    flags=(--with-compat)
fi
[ -e configure ] || ln -s auto/configure configure # nginx's repository
./configure "${flags[@]}" >configure.log 2>&1 || { tail -n 30 configure.log >&2; exit 1; }
