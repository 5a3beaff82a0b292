//! A core module becomes a component, with the manifest as a custom section of the outer component, where it can be read
//! without running or descending into anything. The same module and manifest give the same bytes.

use rehome_manifest::SECTION;
use wit_component::ComponentEncoder;

/// The component of a core module, with its manifest inside.
pub fn assemble(core: &[u8], manifest: &str) -> Result<Vec<u8>, String> {
    let mut component =
        ComponentEncoder::default().validate(true).module(core).and_then(|mut encoder| encoder.encode()).map_err(
            |why| {
                format!("does not become a component: {why:#}\nhint: does `src/lib.rs` call `rehome_sdk::phase!(…)`?")
            },
        )?;
    append_section(&mut component, SECTION, manifest.as_bytes());
    Ok(component)
}

/// A custom section, as of the binary format: id 0, length, length of the name, name, data. Lengths are LEB128.
pub(crate) fn append_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = Vec::new();
    leb128(name.len(), &mut content);
    content.extend(name.as_bytes());
    content.extend(data);
    component.push(0);
    leb128(content.len(), component);
    component.extend(content);
}

fn leb128(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
