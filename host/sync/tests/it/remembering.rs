//! Passes that build on what former ones have found: what did not change is not read, and nothing that did is missed.

use crate::fixture::*;
use crate::with_both_hands;
use rehome_sync::{Comparison, SyncOptions, SyncReport, Tree, compare, sync};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Shorter than a test, longer than a tick of the clock of files.
const WINDOW: Duration = Duration::from_millis(15);

struct Remembering {
    pair: Pair,
    trees: (Tree, Tree),
    memory: Memory,
}

fn options() -> SyncOptions {
    SyncOptions { racy: WINDOW, ..maildir() }
}

impl Remembering {
    /// Two mailboxes that two passes have made equal: nothing is racy any more.
    async fn new(hands: Hands) -> Self {
        let pair = Pair::new(hands);
        for folder in ["d/u", "d/u/.Sent"] {
            mailbox(&pair.source, folder.as_bytes());
            for number in 1..4 {
                let path = format!("{folder}/cur/{number}.host:2,S");
                write(&pair.source, path.as_bytes(), format!("mail {number}").as_bytes(), number);
            }
        }
        let trees = pair.trees().await;
        let this = Self { pair, trees, memory: Memory::default() };
        this.pass().await;
        assert!(this.pass().await.changed_nothing());
        assert_eq!(this.memory.sure(), 4);
        this
    }

    async fn pass(&self) -> SyncReport {
        tokio::time::sleep(WINDOW * 2).await;
        sync(&self.trees.0, &self.trees.1, &options(), &self.memory, &()).await.unwrap()
    }

    /// A pass after which rsync finds nothing to do.
    async fn converges(&self) -> SyncReport {
        let report = self.pass().await;
        self.pair.assert_equal(&[]);
        report
    }

    fn source(&self, path: &str) -> std::path::PathBuf {
        self.pair.source.join(path)
    }

    fn target(&self, path: &str) -> std::path::PathBuf {
        self.pair.target.join(path)
    }
}

/// Puts back the time of modification of a folder after something was done in it.
fn quietly(folder: &Path, act: impl FnOnce()) {
    let before: SystemTime = fs::metadata(folder).unwrap().modified().unwrap();
    act();
    fs::File::open(folder).unwrap().set_modified(before).unwrap();
}

with_both_hands! {
    async fn what_did_not_change_is_not_read(hands: Hands) {
        let this = Remembering::new(hands).await;
        // No mail server does this; a pass that reads names alone cannot see it, one that reads everything does.
        write(&this.pair.target, b"d/u/cur/1.host:2,S", b"other!", 1);
        let report = this.pass().await;
        assert!(report.changed_nothing(), "{report:?}");
        let found = compare(&this.trees.0, &this.trees.1, &options(), Comparison::Contents, &()).await.unwrap();
        assert_eq!((found.different, found.missing, found.extra), (1, 0, 0), "{found:?}");
    }

    async fn a_message_that_goes_is_noticed_though_the_time_of_its_folder_was_put_back(hands: Hands) {
        let this = Remembering::new(hands).await;
        let cur = this.source("d/u/cur");
        quietly(&cur, || fs::remove_file(cur.join("2.host:2,S")).unwrap());
        assert_eq!(this.converges().await.set_aside, 1);
    }

    async fn a_folder_that_changed_within_the_window_is_looked_into_again(hands: Hands) {
        let this = Remembering::new(hands).await;
        let window = Duration::from_secs(100);
        write(&this.pair.source, b"d/u/new/9.host", b"new", 9);
        let wide = SyncOptions { racy: window, ..options() };
        let report = sync(&this.trees.0, &this.trees.1, &wide, &this.memory, &()).await.unwrap();
        assert_eq!(report.copied, 1);
        assert_eq!(this.memory.sure(), 0, "folders that are younger than the window are trusted");
        this.pass().await;
        assert_eq!(this.memory.sure(), 4);
    }

    async fn a_message_that_was_changed_on_the_target_alone_is_put_right(hands: Hands) {
        let this = Remembering::new(hands).await;
        fs::remove_file(this.target("d/u/cur/1.host:2,S")).unwrap();
        fs::rename(this.target("d/u/cur/2.host:2,S"), this.target("d/u/cur/2.host:2,ST")).unwrap();
        write(&this.pair.target, b"d/u/.Sent/new/77.host", b"foreign", 1);
        let report = this.converges().await;
        assert_eq!((report.copied, report.renamed, report.set_aside), (1, 1, 1), "{report:?}");
    }

    async fn two_rounds_of_renames_and_then_a_folder_that_moves_copy_nothing(hands: Hands) {
        let this = Remembering::new(hands).await;
        let (from, to) = (this.source("d/u/cur/1.host:2,S"), this.source("d/u/cur/1.host:2,FS"));
        fs::rename(&from, &to).unwrap();
        assert_eq!(this.converges().await.renamed, 1);
        fs::rename(&to, this.source("d/u/cur/1.host:2,")).unwrap();
        let report = this.converges().await;
        assert_eq!((report.renamed, report.copied), (1, 0), "{report:?}");
        fs::rename(this.source("d/u/.Sent"), this.source("d/u/.Archive")).unwrap();
        this.converges().await;
        assert!(this.pass().await.changed_nothing());
        assert_eq!(this.memory.sure(), 4);
    }

    async fn a_new_name_of_a_message_that_is_not_read_becomes_a_link(hands: Hands) {
        let this = Remembering::new(hands).await;
        fs::hard_link(this.source("d/u/cur/3.host:2,S"), this.source("d/u/.Sent/cur/4.host:2,")).unwrap();
        let report = this.converges().await;
        assert_eq!((report.linked, report.copied), (1, 0), "{report:?}");
        // And one from another account's folder, which only a look at everything finds.
        mailbox(&this.pair.source, b"e/v");
        fs::hard_link(this.source("d/u/cur/1.host:2,S"), this.source("e/v/new/5.host")).unwrap();
        assert_eq!(this.converges().await.linked, 1);
    }

    async fn a_folder_among_messages_is_copied_with_all_it_holds(hands: Hands) {
        let this = Remembering::new(hands).await;
        write(&this.pair.source, b"d/u/cur/odd/file", b"odd", 1);
        this.converges().await;
        write(&this.pair.source, b"d/u/cur/odd/file", b"odder", 2);
        this.converges().await;
        assert_eq!(this.memory.sure(), 3, "a leaf with a folder in it is remembered");
        fs::remove_dir_all(this.source("d/u/cur/odd")).unwrap();
        this.converges().await;
        this.pass().await;
        assert_eq!(this.memory.sure(), 4);
    }

    async fn mailboxes_come_and_go(hands: Hands) {
        let this = Remembering::new(hands).await;
        fs::remove_dir_all(this.target("d/u/.Sent/cur")).unwrap();
        assert_eq!(this.converges().await.copied, 3);
        fs::remove_dir_all(this.source("d/u/.Sent")).unwrap();
        this.converges().await;
        assert_eq!(this.memory.sure(), 2);
        mailbox(&this.pair.source, b"d/u/.Sent");
        write(&this.pair.source, b"d/u/.Sent/cur/1.host:2,", b"back", 5);
        assert_eq!(this.converges().await.copied, 1);
    }

    async fn the_limit_counts_messages_that_are_not_read(hands: Hands) {
        let this = Remembering::new(hands).await;
        fs::remove_file(this.source("d/u/cur/1.host:2,S")).unwrap();
        tokio::time::sleep(WINDOW * 2).await;
        let limited = |percent| SyncOptions { delete_limit: rehome_sync::Limit::Percent(percent), ..options() };
        // One of six is 16.7 %.
        let refused = sync(&this.trees.0, &this.trees.1, &limited(16.0), &this.memory, &()).await;
        assert!(matches!(refused, Err(rehome_sync::Error::TooManyDeletes { would: 1, limit: 0, of: 6 })), "{refused:?}");
        let report = sync(&this.trees.0, &this.trees.1, &limited(17.0), &this.memory, &()).await.unwrap();
        assert_eq!(report.set_aside, 1);
    }
}
