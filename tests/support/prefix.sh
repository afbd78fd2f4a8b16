# SPDX-License-Identifier: MIT
# For shell scripts: the library, shared and static, installed into a prefix of its own, for what finds it by pkg-config.
#   . support/prefix.sh; prefix_install ROOT DIR [CMAKE OPTIONS]   sets and exports LATCHKEY_PREFIX, PKG_CONFIG_PATH, LD_LIBRARY_PATH
prefix_install() {
    prefix_root=$1 prefix_dir=$2
    shift 2
    export LATCHKEY_PREFIX="$prefix_dir/prefix"
    ! command -v ccache >/dev/null || set -- -DCMAKE_C_COMPILER_LAUNCHER=ccache "$@"
    mkdir -p "$prefix_dir"
    # The objects are the same ones, so the second is quick where there is a ccache.
    for prefix_shared in OFF ON; do
        cmake -S "$prefix_root" -B "$prefix_dir/build" -DBUILD_SHARED_LIBS=$prefix_shared -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
            -DCMAKE_INSTALL_PREFIX="$LATCHKEY_PREFIX" -DCMAKE_INSTALL_LIBDIR=lib -DLATCHKEY_CLI=OFF -DLATCHKEY_WERROR=ON "$@" >"$prefix_dir/install.log" 2>&1 &&
            cmake --build "$prefix_dir/build" --parallel "$(nproc)" >>"$prefix_dir/install.log" 2>&1 &&
            cmake --install "$prefix_dir/build" >>"$prefix_dir/install.log" 2>&1 || { cat "$prefix_dir/install.log" >&2; return 1; }
    done
    rm -rf "$prefix_dir/build"
    export PKG_CONFIG_PATH="$LATCHKEY_PREFIX/lib/pkgconfig" LD_LIBRARY_PATH="$LATCHKEY_PREFIX/lib"
}
