// SPDX-License-Identifier: MIT
//! Finds the library by pkg-config. Nothing is generated: src/lib.rs is written by hand, and a test compares it with the library.
//! LATCHKEY_STATIC=1 links liblatchkey.a and the static libraries below it.
use std::env;
use std::process::Command;

fn main() {
    for name in ["PKG_CONFIG_PATH", "LATCHKEY_STATIC"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let fixed = env::var_os("LATCHKEY_STATIC").is_some();
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--libs", "latchkey"]);
    if fixed {
        pkg_config.arg("--static");
    }
    let said = pkg_config.output().expect("pkg-config is missing");
    if !said.status.success() {
        panic!(
            "pkg-config does not find latchkey: install it, or set PKG_CONFIG_PATH\n{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
    let mut libraries = Vec::new();
    for word in String::from_utf8_lossy(&said.stdout).split_whitespace() {
        if let Some(folder) = word.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(library) = word.strip_prefix("-l") {
            libraries.push(library.to_owned());
        }
    }
    if fixed {
        println!("cargo:rustc-link-search=native=/usr/lib/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH").unwrap());
    }
    for library in libraries {
        let system = matches!(library.as_str(), "pthread" | "dl" | "m" | "c");
        println!("cargo:rustc-link-lib={}{library}", if fixed && !system { "static=" } else { "" });
    }
}
