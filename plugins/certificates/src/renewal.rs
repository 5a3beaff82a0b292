//! How certificates are renewed (`renewal/NAME.conf`, certbot's ConfigObj), and whether new could do it the same way.
//! Invariant: a renewal that would fail is found while old still renews. `before` calls this.

use std::collections::BTreeSet;

use rehome_sdk::prelude::*;

use crate::requests;

/// What one file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Method {
    authenticator: String,
    installer: String,
    has_pre_hook: bool,
    /// webroots and files of credentials
    paths: BTreeSet<String>,
}

pub(crate) fn check(found: &mut Findings) -> Result<(), Failure> {
    let certbot = requests::exec::CERTBOT.on(Side::New).run()?.lines();
    if certbot.is_empty() {
        found
            .warning("certbot on new", "is not installed: no certificate would be renewed there")
            .hint("apt install certbot, before the certificates run out");
        return Ok(());
    }
    found.ok("certbot on new", format!("is {}", certbot.join(", ")));
    let by_package = certbot.iter().any(|path| path == "/usr/bin/certbot");
    let packages = installed(&requests::exec::PACKAGES.on(Side::New).run()?.text());
    // Holes take only what this yields in this call.
    requests::exec::PATHS.on(Side::Old).run()?;
    for (lineage, text) in files()? {
        let method = parse(&text);
        let subject = format!("renewal of {lineage} on new");
        let mut fine = method.renews_by_itself(&subject, found);
        for package in method.packages().into_iter().filter(|_| by_package) {
            if !packages.contains(&package) {
                fine = false;
                found
                    .warning(&subject, format!("needs the package {package}, which is not installed"))
                    .hint(format!("apt install {package}"));
            }
        }
        fine &= method.has_its_paths(&subject, found)?;
        fine &= method.has_its_port(&subject, found)?;
        if fine {
            found.ok(subject, format!("can go as on old: {}", method.authenticator));
        }
    }
    Ok(())
}

/// Lineages with the texts of their files.
fn files() -> Result<Vec<(String, String)>, Failure> {
    let tree = requests::tree::RENEWAL.on(Side::Old);
    let entries = match tree.list(b"", 1) {
        Err(Failure::NotFound(_)) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        if let Some(lineage) = name.strip_suffix(".conf") {
            files.push((lineage.to_string(), String::from_utf8_lossy(&tree.read(&entry.path)?).into_owned()));
        }
    }
    Ok(files)
}

fn parse(text: &str) -> Method {
    let mut method = Method::default();
    let mut in_webroots = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_webroots = line == "[[webroot_map]]";
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim().trim_end_matches(','));
        match key {
            "authenticator" => method.authenticator = value.to_string(),
            "installer" => method.installer = value.to_string(),
            "pre_hook" => method.has_pre_hook = true,
            _ if in_webroots || key == "webroot_path" || key.ends_with("_credentials") => {
                method.paths.extend(value.split(',').map(|path| path.trim().to_string()));
            }
            _ => {}
        }
    }
    method
}

impl Method {
    fn renews_by_itself(&self, subject: &str, found: &mut Findings) -> bool {
        match self.authenticator.as_str() {
            "" => found.warning(subject, "its file names no authenticator").hint("certbot renew --dry-run, on old"),
            "manual" => found
                .warning(subject, "is by hand (authenticator = manual), unless its hooks answer for you")
                .hint("certbot renew --dry-run on new, once DNS names it"),
            _ => return true,
        };
        false
    }

    /// Debian's packages of the plugins.
    fn packages(&self) -> BTreeSet<String> {
        let plugin = |name: &&str| ["apache", "nginx"].contains(name) || name.starts_with("dns-");
        [self.authenticator.as_str(), self.installer.as_str()]
            .iter()
            .filter(|name| plugin(name))
            .map(|name| format!("python3-certbot-{name}"))
            .collect()
    }

    fn has_its_paths(&self, subject: &str, found: &mut Findings) -> Result<bool, Failure> {
        let mut all = true;
        for path in &self.paths {
            let there = match requests::exec::THERE.on(Side::New).run_with([path]) {
                Ok(output) => output.status == 0,
                // One that is no plain path: nothing that could be looked at.
                Err(Failure::RefusedValue(_)) => true,
                Err(failure) => return Err(failure),
            };
            if !there {
                all = false;
                found
                    .warning(subject, format!("needs {path}, which is not there"))
                    .hint(format!("make {path} on new as it is on old (webroots must be served at port 80)"));
            }
        }
        Ok(all)
    }

    /// Certbot's own server needs port 80 for itself.
    fn has_its_port(&self, subject: &str, found: &mut Findings) -> Result<bool, Failure> {
        if self.authenticator != "standalone" || self.has_pre_hook {
            return Ok(true);
        }
        if requests::exec::HTTP.on(Side::New).run()?.text().is_empty() {
            return Ok(true);
        }
        found
            .warning(subject, "is standalone, and something already listens on port 80 of new")
            .hint("certbot reconfigure --cert-name NAME --webroot -w /var/www/html, or a hook that frees the port");
        Ok(false)
    }
}

/// Names of `dpkg-query -l` that are installed: state `ii`, an architecture after a colon left out.
fn installed(listing: &str) -> Vec<String> {
    let name = |line: &str| {
        let mut words = line.split_whitespace();
        let state = words.next()?;
        let name = words.next()?.split(':').next()?;
        (state == "ii" || state == "hi").then(|| name.to_string())
    };
    listing.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_file_tells_its_method_its_webroots_and_its_credentials() {
        let method = parse(
            "version = 1.12.0\narchive_dir = /etc/letsencrypt/archive/x\n[renewalparams]\nauthenticator = webroot\n\
             webroot_path = /var/www/html,\ninstaller = nginx\n[[webroot_map]]\nmail.example.org = /var/www/mail\n",
        );
        assert_eq!(method.authenticator, "webroot");
        assert_eq!(method.paths.into_iter().collect::<Vec<_>>(), ["/var/www/html", "/var/www/mail"]);
        let dns = parse("[renewalparams]\nauthenticator = dns-cloudflare\ndns_cloudflare_credentials = /root/cf.ini\n");
        assert_eq!(dns.packages().into_iter().collect::<Vec<_>>(), ["python3-certbot-dns-cloudflare"]);
        assert!(dns.paths.contains("/root/cf.ini"));
    }

    #[test]
    fn a_package_that_was_removed_is_not_installed() {
        let listing = "||/ Name Version\nii  python3-certbot 2.1.0-4 all x\nrc  python3-certbot-nginx 2.1.0-4 all x\n";
        assert_eq!(installed(listing), ["python3-certbot"]);
    }
}
