//! Links `rehome` for the oldest Debian it serves: a binary linked against this machine's C library does not start on one
//! with an older. `REHOME_LIBC_TREE` names a folder with that Debian's libc6-dev and libgcc; nothing is compiled anew for it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=REHOME_LIBC_TREE");
    let Ok(tree) = std::env::var("REHOME_LIBC_TREE") else { return };
    println!("cargo:rerun-if-changed={tree}/usr/lib/x86_64-linux-gnu/libc.so");
    // --sysroot alone would quietly take this machine's library from gcc's own search path.
    let libraries = "usr/lib/x86_64-linux-gnu";
    for argument in [
        format!("--sysroot={tree}"),
        format!("-B{tree}/{libraries}/"),
        format!("-L{tree}/{libraries}"),
        format!("-L{tree}/lib/x86_64-linux-gnu"),
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
