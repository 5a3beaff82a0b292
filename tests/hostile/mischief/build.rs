//! Makes the constants of `manifest.toml`: a misspelt request fails here.

fn main() {
    rehome_sdk_build::constants();
}
