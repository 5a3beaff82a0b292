//! For `fuzz/`: what a far side sends, from the frame to the plan. Whatever it says, nothing panics, and every path that comes
//! out of it lies below the tree.

use crate::hand::{Decoder, Reply};
use crate::listing::{Collector, Listing};
use crate::plan::layout::Layout;
use crate::plan::plan;
use crate::{RelativePath, Strategy, SyncOptions};

/// Frames of two sides, as they are on the wire: a length of four bytes, content, a letter. They come in turns.
pub fn listings(data: &[u8]) {
    let sides = [Collector::new("old", 10_000), Collector::new("new", 10_000)];
    let mut sides = sides.map(|collector| (collector, Decoder::default()));
    for (collector, _) in &mut sides {
        collector.expect(b"", u32::MAX);
    }
    let mut rest = data;
    let mut turn = 0;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = (u32::from_be_bytes(*length) as usize).min(after.len());
        let (frame, after) = after.split_at(length);
        rest = after;
        let (collector, decoder) = &mut sides[turn % 2];
        turn += 1;
        let Ok(reply) = decoder.decode(frame.to_vec()) else { return };
        let taken = match reply {
            Reply::Listed { folder, entries } => collector.take(&folder, entries),
            Reply::Gone { folder } => collector.gone(&folder),
            Reply::Same { folder } => collector.same(&folder),
            Reply::Names { folder, names } => collector.names(&folder, names),
            _ => return,
        };
        if taken.is_err() {
            return;
        }
    }
    let [source, target] = sides.map(|(collector, _)| collector.finish());
    let (Ok(source), Ok(target)) = (source, target) else { return };
    source.entries.iter().chain(&target.entries).for_each(|entry| below(&entry.path));
    for strategy in [Strategy::Maildir, Strategy::Plain] {
        decide(&source, &target, strategy);
    }
}

fn decide(source: &Listing, target: &Listing, strategy: Strategy) {
    let options = SyncOptions { strategy, delete: true, ..SyncOptions::default() };
    let layout = Layout::find(strategy, [source, target]);
    let plan = plan(source, target, &options, &layout, true);
    plan.extras.iter().for_each(|extra| below(&extra.path));
    plan.renames.iter().flat_map(|rename| [&rename.from, &rename.to]).for_each(below);
}

fn below(path: &RelativePath) {
    let bytes = path.as_bytes();
    let plain = |name: &[u8]| !name.is_empty() && name != b"." && name != b".." && !name.contains(&0);
    assert!(bytes.is_empty() || bytes.split(|byte| *byte == b'/').all(plain), "{}", crate::escape(bytes));
}
