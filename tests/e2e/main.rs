//! End to end tests: one module for each topic, each test on machines of its own. `rehome_tests::harness` runs them.
//! To add one: write a `fn() -> anyhow::Result<()>` in a module here and name it in that module's `lab_tests!`.

mod accounting;
mod certificates;
mod checks;
mod faults;
mod gate;
mod hostile;
mod journal;
mod kills;
mod lab;
mod leftovers;
mod lying;
mod migration;
mod operators;
mod oracles;
mod postfix;
mod refusals;
mod retire;
mod rspamd;
mod secrets;
mod sweep;
mod troubles;
mod two_into_one;
mod undo;
mod webmail;
mod wheezy;
mod whole;

use rehome_tests::rehome;

fn main() -> std::process::ExitCode {
    if let Some(id) = std::env::var_os(leftovers::HOLD) {
        return leftovers::hold_a_lab(&id.to_string_lossy());
    }
    let mut tests = Vec::new();
    // The longest ones begin first, so that none of them is left alone at the end.
    tests.extend(sweep::tests());
    tests.extend(accounting::tests());
    tests.extend(two_into_one::tests());
    tests.extend(whole::tests());
    tests.extend(gate::tests());
    tests.extend(wheezy::tests());
    tests.extend(undo::tests());
    tests.extend(postfix::tests());
    tests.extend(lying::tests());
    tests.extend(migration::tests());
    tests.extend(webmail::tests());
    tests.extend(retire::tests());
    tests.extend(troubles::tests());
    tests.extend(certificates::tests());
    tests.extend(rspamd::tests());
    tests.extend(secrets::tests());
    tests.extend(hostile::tests());
    tests.extend(kills::tests());
    tests.extend(operators::tests());
    tests.extend(journal::tests());
    tests.extend(checks::tests());
    tests.extend(refusals::tests());
    tests.extend(faults::tests());
    tests.extend(lab::tests());
    tests.extend(leftovers::tests());
    tests.extend(oracles::tests());
    let done = rehome_tests::harness::main(tests);
    rehome::clean_up();
    done
}
