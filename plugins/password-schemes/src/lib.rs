//! The password-schemes phase (Wheezy to Jessie): passwords of older guides are bare MD5 hashes; on new each gets
//! `{PLAIN-MD5}` before it, after the last copy of the accounts.
//! Invariant: only values of exactly 32 hexadecimal digits change, and each of them once; no hash reaches this component.
//! `schemes` counts, `dovecot` knows what new can check, `column` is wide enough, `prefixed` remembers for undo.

mod column;
mod dovecot;
mod prefixed;
mod schemes;

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use schemes::Schemes;

rehome_sdk::manifest!();
rehome_sdk::phase!(PasswordSchemes);

/// The phase.
#[derive(Debug)]
pub struct PasswordSchemes;

/// What a plan sets.
#[derive(Debug, Deserialize)]
pub struct Config {
    database: String,
    domains: Vec<String>,
}

impl Phase for PasswordSchemes {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        if !column::check(ctx, &mut found)? {
            return Ok(found.into());
        }
        let mut all = Schemes::default();
        for side in SIDES {
            match Schemes::on(side, &ctx.config) {
                Ok(schemes) => {
                    found.ok(passwords(ctx, side), schemes.words());
                    all.join(&schemes);
                }
                Err(failure @ (Failure::EndedBadly(_) | Failure::Unreachable(_) | Failure::NotFound(_))) => {
                    let (words, remedy) = failure.words_and_remedy();
                    let finding = found.blocker(passwords(ctx, side), words);
                    finding.hint = remedy;
                }
                Err(failure) => return Err(failure),
            }
        }
        dovecot::check(&all.after(), &mut found)?;
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        if let Some(kind) = column::too_narrow(ctx)? {
            forecast.change("virtual_users.password on new", kind.kind, column::WIDE).irreversible();
        }
        let new = Schemes::on(Side::New, &ctx.config)?;
        if new.bare() > 0 {
            forecast.change(passwords(ctx, Side::New), new.words(), new.after().words());
        }
        let old = Schemes::on(Side::Old, &ctx.config)?;
        if matches!(ctx.stage, Stage::Prepare | Stage::Copy | Stage::Cutover) && old.bare() > new.as_bare() {
            let coming = amount(old.bare() - new.as_bare(), "bare MD5 hash", "bare MD5 hashes");
            forecast.not_yet(format!("{coming} more, which the copy of the accounts brings"));
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        let before = Schemes::on(Side::New, &ctx.config)?;
        report::info(&format!("{}: {}", passwords(ctx, Side::New), before.words()));
        if before.bare() == 0 {
            report::info("no bare MD5 hash is left on new: nothing to do");
            return schemes::remember_first(ctx, &before);
        }
        schemes::remember_first(ctx, &before)?;
        column::widen(ctx)?;
        prefixed::remember(ctx)?;
        let changed = prefixed::prefix(&ctx.config)?;
        let after = Schemes::on(Side::New, &ctx.config)?;
        if after.bare() > 0 {
            return Err(stopped(
                passwords(ctx, Side::New),
                format!("{} bare MD5 hashes are still there", after.bare()),
            )
            .hint("does something else write accounts on new? Then run `rehome apply` again"));
        }
        if after.total() != before.total() {
            report::warning(&format!("there were {} users before, and {} now", before.total(), after.total()));
        }
        report::info(&format!(
            "wrote {{PLAIN-MD5}} before {}; now {}",
            amount(changed, "hash", "hashes"),
            after.words()
        ));
        Ok(())
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        let (old, new) = (Schemes::on(Side::Old, &ctx.config)?, Schemes::on(Side::New, &ctx.config)?);
        if new.bare() > 0 {
            let users = amount(new.bare(), "user has a bare MD5 hash", "users have bare MD5 hashes");
            let text = format!("{users}, with which nobody can log in");
            found
                .blocker(passwords(ctx, Side::New), text)
                .hint(format!("the accounts were copied again after this phase: `rehome apply --again {}`", ctx.phase));
        }
        let words = format!("old: {}; new: {}", old.words(), new.words());
        if let Some(before) = schemes::first(ctx)? {
            found.note("passwords before this phase", before.words());
        }
        if old.after() == new.after() {
            found.ok(passwords(ctx, Side::New), words);
        } else {
            found
                .warning(passwords(ctx, Side::New), format!("the schemes are not those of old ({words})"))
                .hint("right where users of new have set new passwords, or accounts came or went since the last copy");
        }
        dovecot::check(&new, &mut found)?;
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        let taken = prefixed::strip(ctx)?;
        match taken {
            None => report::info("no hash was changed by this phase: nothing to take back"),
            Some(taken) => {
                report::info(&format!("took {{PLAIN-MD5}} off {} on new again", amount(taken, "hash", "hashes")));
                report::info("virtual_users.password on new stays as wide as it is: that harms nothing");
            }
        }
        schemes::forget_first(ctx)
    }
}

fn passwords(ctx: &Context<Config>, side: Side) -> String {
    match ctx.config.domains.as_slice() {
        [] => format!("passwords in {} on {side}", ctx.config.database),
        domains => format!("passwords of {} on {side}", domains.join(", ")),
    }
}

#[cfg(test)]
mod tests;
