//! Whether the settings of new are whole: a service that was restarted long ago runs with settings that may not load again.

use rehome_sdk::prelude::*;

use crate::{Config, heard, requests};

pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    match heard(requests::exec::DOVECOT_SETTINGS.on(Side::New).run())? {
        Ok(_) => found.ok("Dovecot's settings on new", "`doveconf -n` reads them"),
        Err(why) => {
            found.blocker("Dovecot's settings on new", why).hint("`doveconf -n` on new must end without an error")
        }
    };
    match heard(requests::exec::POSTFIX_SETTINGS.on(Side::New).run())? {
        Ok(output) if output.last_words().is_empty() => {
            found.ok("Postfix's settings on new", "`postfix check` finds nothing")
        }
        Ok(output) => found.warning("Postfix's settings on new", output.last_words()),
        Err(why) => {
            found.blocker("Postfix's settings on new", why).hint("`postfix check` on new must end without an error")
        }
    };
    if config.services.iter().any(|service| service.trim_end_matches(".service") == "rspamd") {
        // It names symbols without rules on stderr, and ends with 0: only the status counts.
        match heard(requests::exec::RSPAMD_SETTINGS.on(Side::New).run())? {
            Ok(_) => found.ok("rspamd's settings on new", "`rspamadm configtest` reads them"),
            Err(why) => found
                .blocker("rspamd's settings on new", why)
                .hint("`rspamadm configtest` on new must end without an error"),
        };
    }
    Ok(())
}
