//! What is measured: the options, each with a value.
//! Read by `bench.rs`; `xtask/src/bench/sync.rs` is who sets them.

use std::path::PathBuf;
use std::time::Duration;

/// One kind of pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Into an empty target.
    First,
    /// Nothing has changed since the last one.
    Unchanged,
    /// 0.5 % new, 1 % with other flags, 0.3 % gone since the last one.
    Churn,
    /// The one after two hot passes under arriving mail.
    Converged,
}

impl Pass {
    const ALL: [(&str, Pass); 4] = [
        ("first", Pass::First),
        ("cold-unchanged", Pass::Unchanged),
        ("cold-churn", Pass::Churn),
        ("converged", Pass::Converged),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, pass)| *pass == self).expect("all are in the list").0
    }

    fn named(name: &str) -> Self {
        Self::ALL.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is no pass")).1
    }
}

pub struct Settings {
    pub messages: u64,
    pub pairs: usize,
    /// On the disk that is to be measured.
    pub folder: PathBuf,
    pub passes: Vec<Pass>,
    pub caches: Vec<String>,
    /// Parts of peers' names; empty: all.
    pub peers: Vec<String>,
    /// Each way.
    pub delays: Vec<Duration>,
    /// A folder of cgroup2 in which this process may make groups; without one nothing but time is measured.
    pub groups: Option<PathBuf>,
}

impl Settings {
    pub fn read(words: Vec<String>) -> Self {
        let mut settings = Self {
            messages: 20_000,
            pairs: 5,
            folder: std::env::temp_dir(),
            passes: Pass::ALL.map(|(_, pass)| pass).to_vec(),
            caches: ["warm", "dropped"].map(String::from).to_vec(),
            peers: Vec::new(),
            delays: vec![Duration::ZERO],
            groups: None,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            let list = || value.split(',').map(String::from);
            match word.as_str() {
                "--messages" => settings.messages = value.parse().expect("a number of messages"),
                "--pairs" => settings.pairs = value.parse().expect("a number of pairs"),
                "--folder" => settings.folder = value.into(),
                "--passes" => settings.passes = list().map(|name| Pass::named(&name)).collect(),
                "--caches" => settings.caches = list().collect(),
                "--peers" => settings.peers = list().collect(),
                "--delays" => {
                    let milliseconds = list().map(|text| text.parse().expect("milliseconds"));
                    settings.delays = milliseconds.map(Duration::from_millis).collect();
                }
                "--groups" => settings.groups = Some(value.into()),
                other => panic!("{other} is no option of this bench"),
            }
        }
        assert!(settings.pairs > 0 && settings.messages > 0, "there is nothing to measure");
        settings
    }
}
