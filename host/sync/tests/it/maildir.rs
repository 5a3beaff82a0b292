//! Passes with the maildir strategy.

use crate::fixture::*;
use crate::with_both_hands;
use rehome_sync::{Comparison, Differences, Error, Limit, SyncOptions, compare, sync};
use std::fs;
use std::path::Path;

const BASE: &str = "1600000000.M1P2.host,S=5,W=6";

fn name(base: &str, flags: &str) -> String {
    format!("cur/{base}:2,{flags}")
}

/// An account with an INBOX, a subfolder and Dovecot's files.
fn account(root: &Path) {
    for folder in ["user", "user/.Sent &AOQ-\n"] {
        mailbox(root, folder.as_bytes());
        write(root, format!("{folder}/{}", name(BASE, "S")).as_bytes(), b"mail1", 1);
        write(root, format!("{folder}/new/1600000001.M1P2.host").as_bytes(), b"mail22", 2);
        write(root, format!("{folder}/dovecot-uidlist").as_bytes(), b"3 V1 N3 Gx\n1 :a\n", 3);
        write(root, format!("{folder}/dovecot-keywords").as_bytes(), b"0 $Label\n", 3);
        write(root, format!("{folder}/dovecot.index.cache").as_bytes(), b"index", 3);
        write(root, format!("{folder}/tmp/1600000009.half").as_bytes(), b"half a mail", 3);
    }
    write(root, b"user/subscriptions", b"Sent\n", 4);
}

fn rename(root: &Path, from: &str, to: &str) {
    fs::rename(root.join(from), root.join(to)).unwrap();
}

async fn differences(pair: &Pair, how: Comparison) -> Differences {
    let (source, target) = pair.trees().await;
    compare(&source, &target, &maildir(), how, &()).await.unwrap()
}

const LEFT_OUT: [&str; 2] = ["dovecot.index*", "tmp/*"];

with_both_hands! {
    async fn mail_arrives_without_indexes_and_half_deliveries(hands: Hands) {
        let pair = Pair::on_disk(hands);
        account(&pair.source);
        let report = pair.pass(&maildir()).await;
        assert_eq!(report.copied, 9, "{report:?}");
        pair.assert_equal(&LEFT_OUT);
        assert!(exists(&pair.target, b"user/tmp") && !exists(&pair.target, b"user/tmp/1600000009.half"));
        assert_eq!(report.touched, [b"".to_vec(), b"user".to_vec(), b"user/.Sent &AOQ-\n".to_vec()]);
        assert!(pair.pass(&maildir()).await.changed_nothing());
        assert!(differences(&pair, Comparison::Contents).await.none());
    }

    async fn a_message_whose_flags_changed_is_renamed_and_nothing_is_copied(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        let inode_before = inode(&pair.target, format!("user/{}", name(BASE, "S")).as_bytes());
        rename(&pair.source, &format!("user/{}", name(BASE, "S")), &format!("user/{}", name(BASE, "RSa")));
        rename(&pair.source, "user/new/1600000001.M1P2.host", "user/cur/1600000001.M1P2.host:2,");
        let found = differences(&pair, Comparison::Contents).await;
        assert_eq!((found.renamed, found.missing, found.extra, found.different), (2, 0, 0, 0), "{found:?}");
        let report = pair.pass(&maildir()).await;
        assert_eq!((report.renamed, report.copied, report.bytes, report.set_aside), (2, 0, 0, 0), "{report:?}");
        assert_eq!(report.touched, [b"user".to_vec()]);
        pair.assert_equal(&LEFT_OUT);
        assert_eq!(inode(&pair.target, format!("user/{}", name(BASE, "RSa")).as_bytes()), inode_before);
    }

    async fn a_message_of_another_size_is_replaced_and_the_former_kept(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        let path = format!("user/{}", name(BASE, "S"));
        write(&pair.target, path.as_bytes(), b"partial", 1);
        let other = format!("user/.Sent &AOQ-\n/{}", name(BASE, "S"));
        fs::remove_file(pair.target.join(&other)).unwrap();
        let renamed = format!("user/.Sent &AOQ-\n/{}", name(BASE, "F"));
        write(&pair.target, renamed.as_bytes(), b"partial too", 1);
        let report = pair.pass(&SyncOptions { delete: false, ..maildir() }).await;
        assert_eq!((report.copied, report.set_aside), (2, 2), "{report:?}");
        pair.assert_equal(&LEFT_OUT);
        assert_eq!(read(&pair.aside().join("label"), path.as_bytes()), b"partial");
        assert_eq!(read(&pair.aside().join("label"), renamed.as_bytes()), b"partial too");
    }

    async fn the_date_of_a_message_is_put_right_without_copying(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        set_time(&pair.target.join(format!("user/{}", name(BASE, "S"))), 500);
        let report = pair.pass(&maildir()).await;
        assert_eq!((report.corrected, report.copied), (1, 0), "{report:?}");
        pair.assert_equal(&LEFT_OUT);
    }

    async fn the_uid_list_is_copied_when_it_changed(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        write(&pair.source, b"user/dovecot-uidlist", b"3 V1 N4 Gx\n1 :b\n", 4);
        let report = pair.pass(&maildir()).await;
        assert_eq!((report.copied, report.touched), (1, vec![b"user".to_vec()]));
        pair.assert_equal(&LEFT_OUT);
    }

    async fn expunged_messages_and_folders_are_set_aside_within_the_limit(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        fs::remove_dir_all(pair.source.join("user/.Sent &AOQ-\n")).unwrap();
        write(&pair.target, b"user/.Sent &AOQ-\n/dovecot.index", b"index", 0);
        let (source, target) = pair.trees().await;
        let options = SyncOptions { delete_limit: Limit::Percent(49.0), ..maildir() };
        let error = sync(&source, &target, &options, &(), &()).await.unwrap_err();
        assert!(matches!(error, Error::TooManyDeletes { would: 2, limit: 1, of: 4 }), "{error}");
        let report = sync(&source, &target, &SyncOptions { delete_limit: Limit::Percent(50.0), ..maildir() }, &(), &()).await.unwrap();
        assert_eq!(report.set_aside, 1);
        pair.assert_equal(&LEFT_OUT);
        assert!(exists(&pair.aside().join("label"), format!("user/.Sent &AOQ-\n/{}", name(BASE, "S")).as_bytes()));
        fs::remove_file(pair.source.join(format!("user/{}", name(BASE, "S")))).unwrap();
        let report = pair.pass(&maildir()).await;
        assert_eq!((report.set_aside, report.touched), (1, vec![b"user".to_vec()]));
    }

    async fn adding_back_never_changes_flags_or_lists_but_the_one_named(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        // The target went on with its life; the source has one more message, other flags, another list.
        rename(&pair.target, &format!("user/{}", name(BASE, "S")), &format!("user/{}", name(BASE, "FS")));
        write(&pair.target, b"user/subscriptions", b"Other\n", 9);
        write(&pair.source, b"user/new/1600000005.M9P9.host", b"arrived meanwhile", 9);
        write(&pair.source, b"user/dovecot-uidlist", b"3 V1 N9 Gx\n", 9);
        let options = SyncOptions { add_only: true, also_replace: patterns(&["dovecot-uidlist"]), ..maildir() };
        let report = pair.pass(&options).await;
        assert_eq!((report.copied, report.set_aside, report.renamed), (2, 1, 0), "{report:?}");
        assert!(exists(&pair.target, format!("user/{}", name(BASE, "FS")).as_bytes()));
        assert!(!exists(&pair.target, format!("user/{}", name(BASE, "S")).as_bytes()));
        assert_eq!(read(&pair.target, b"user/subscriptions"), b"Other\n");
        assert_eq!(read(&pair.target, b"user/dovecot-uidlist"), b"3 V1 N9 Gx\n");
        assert_eq!(read(&pair.aside().join("label"), b"user/dovecot-uidlist"), b"3 V1 N3 Gx\n1 :a\n");
        assert!(pair.pass(&options).await.changed_nothing());
    }

    async fn a_message_copied_to_another_folder_stays_one_file(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        let copy = pair.source.join("user/.Sent &AOQ-\n/cur/1600000007.M1P2.host:2,");
        fs::hard_link(pair.source.join(format!("user/{}", name(BASE, "S"))), copy).unwrap();
        rename(&pair.source, &format!("user/{}", name(BASE, "S")), &format!("user/{}", name(BASE, "T")));
        let report = pair.pass(&maildir()).await;
        assert_eq!((report.copied, report.linked, report.renamed), (0, 1, 1), "{report:?}");
        pair.assert_equal(&LEFT_OUT);
    }

    async fn the_root_itself_may_be_a_mailbox(hands: Hands) {
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"");
        write(&pair.source, name(BASE, "").as_bytes(), b"mail1", 0);
        pair.pass(&maildir()).await;
        rename(&pair.source, &name(BASE, ""), &name(BASE, "S"));
        let report = pair.pass(&maildir()).await;
        assert_eq!((report.renamed, report.touched), (1, vec![b"".to_vec()]));
        pair.assert_equal(&LEFT_OUT);
    }

    async fn messages_are_counted_for_the_limit_and_other_files_are_not(hands: Hands) {
        let pair = Pair::new(hands);
        account(&pair.source);
        pair.pass(&maildir()).await;
        fs::remove_file(pair.source.join("user/subscriptions")).unwrap();
        let report = pair.pass(&SyncOptions { delete_limit: Limit::Count(0), ..maildir() }).await;
        assert_eq!(report.set_aside, 1);
    }
}

with_both_hands! {
    async fn a_list_that_was_written_anew_with_the_same_bytes_gets_its_time_and_is_no_change(hands: Hands) {
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"user");
        mailbox(&pair.target, b"user");
        for (root, time) in [(&pair.source, 9), (&pair.target, 0)] {
            write(root, b"user/dovecot-uidlist", b"3 V1 N1", time);
            write(root, b"user/subscriptions", if time == 9 { b"Sent" } else { b"Junk" }, time);
        }
        let report = pair.pass(&maildir()).await;
        assert_eq!((report.copied, report.corrected), (1, 0), "{report:?}");
        assert_eq!(read(&pair.target, b"user/subscriptions"), b"Sent");
        pair.assert_equal(&[]);
        set_time(&at(&pair.source, b"user/dovecot-uidlist"), 20);
        let report = pair.pass(&maildir()).await;
        assert!(report.changed_nothing() && report.touched.is_empty(), "{report:?}");
        pair.assert_equal(&[]);
    }
}
