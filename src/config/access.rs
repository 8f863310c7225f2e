//! Settings of access: sessions, guesses, proxies and the identity provider.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use encours::domain::access::Role;
use encours::http::auth::{Policy, jwks};

use super::{duration, role};

/// Who comes in, and for how long.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// Life of an access token, at most 1h; what was revoked is refused before
    #[arg(long, value_name = "TIME", env = "ENCOURS_ACCESS_TTL", default_value = "15m", value_parser = access_ttl)]
    access_ttl: Duration,

    /// Life of a refresh token; each refresh begins anew
    #[arg(long, value_name = "TIME", env = "ENCOURS_REFRESH_TTL", default_value = "30d", value_parser = duration)]
    refresh_ttl: Duration,

    /// Seconds in which a used refresh token may come again from the same address and software, for clients that
    /// lose answers; 0 ends the session at once
    #[arg(long, value_name = "SECONDS", env = "ENCOURS_REFRESH_GRACE", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60))]
    refresh_grace: u64,

    /// Wrong passwords for one e-mail address before it has to wait: 15s, then twice as long each time, up to 15m
    #[arg(long, value_name = "N", env = "ENCOURS_LOGIN_FAILURES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    login_failures: u32,

    /// Wrong passwords from one network address before it has to wait
    #[arg(long, value_name = "N", env = "ENCOURS_LOGIN_FAILURES_PER_ADDRESS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    login_failures_per_address: u32,

    /// Reverse proxies whose X-Forwarded-For is believed, with commas between; needed behind one, since all log-ins
    /// come from its address
    #[arg(
        long,
        value_name = "ADDRS",
        env = "ENCOURS_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    trusted_proxies: Vec<IpAddr>,

    /// Identity provider (OpenID Connect) whose tokens are accepted: their `iss`
    #[arg(long, value_name = "URL", env = "ENCOURS_OIDC_ISSUER")]
    oidc_issuer: Option<String>,

    /// What its tokens for us have as `aud`
    #[arg(long, value_name = "TEXT", env = "ENCOURS_OIDC_AUDIENCE")]
    oidc_audience: Option<String>,

    /// Where its keys are: https, or http on this machine
    #[arg(long, value_name = "URL", env = "ENCOURS_OIDC_JWKS_URL")]
    oidc_jwks_url: Option<String>,

    /// The claim that holds the company's id (com_…); without one a member's oldest company is opened
    #[arg(long, value_name = "CLAIM", env = "ENCOURS_OIDC_COMPANY_CLAIM")]
    oidc_company_claim: Option<String>,

    /// The claim that holds the role or roles, such as realm_access.roles
    #[arg(long, value_name = "CLAIM", env = "ENCOURS_OIDC_ROLE_CLAIM")]
    oidc_role_claim: Option<String>,

    /// What values of the role claim stand for, the first that fits: finance-admins=ADMIN,finance=AR_ACCOUNTANT
    #[arg(long, value_name = "MAP", env = "ENCOURS_OIDC_ROLE_MAP", value_delimiter = ',', value_parser = mapped)]
    oidc_role_map: Vec<(String, Role)>,

    /// Accept company and role as the claims say; without it only members come in, by verified e-mail address
    #[arg(long, env = "ENCOURS_OIDC_TRUST_CLAIMS", value_parser = super::switched)]
    oidc_trust_claims: bool,
}

impl Access {
    /// What they say about sessions and guesses.
    pub fn policy(&self) -> Policy {
        Policy {
            access_ttl: self.access_ttl,
            refresh_ttl: self.refresh_ttl,
            refresh_grace: Duration::from_secs(self.refresh_grace),
            login_failures: self.login_failures,
            login_failures_per_address: self.login_failures_per_address,
            trusted_proxies: self.trusted_proxies.clone(),
        }
    }

    /// What they say about the identity provider, when there is one; what is wrong with it.
    pub fn provider(&self) -> Result<Option<jwks::Settings>, String> {
        let parts = [
            ("--oidc-issuer (ENCOURS_OIDC_ISSUER)", &self.oidc_issuer),
            (
                "--oidc-audience (ENCOURS_OIDC_AUDIENCE)",
                &self.oidc_audience,
            ),
            (
                "--oidc-jwks-url (ENCOURS_OIDC_JWKS_URL)",
                &self.oidc_jwks_url,
            ),
        ];
        let missing: Vec<&str> = parts
            .iter()
            .filter(|(_, part)| part.as_ref().is_none_or(String::is_empty))
            .map(|(name, _)| *name)
            .collect();
        let (Some(issuer), Some(audience), Some(jwks_url), []) = (
            &self.oidc_issuer,
            &self.oidc_audience,
            &self.oidc_jwks_url,
            missing.as_slice(),
        ) else {
            return match missing.len() == parts.len() {
                true => Ok(None),
                false => Err(format!(
                    "an identity provider needs {} too",
                    missing.join(" and ")
                )),
            };
        };
        let settings = jwks::Settings {
            issuer: issuer.clone(),
            audience: audience.clone(),
            jwks_url: jwks_url.clone(),
            company_claim: self.oidc_company_claim.clone(),
            role_claim: self.oidc_role_claim.clone(),
            role_map: self.oidc_role_map.clone(),
            trust_claims: self.oidc_trust_claims,
        };
        settings.check().map(|()| Some(settings))
    }
}

fn access_ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if ttl <= Duration::from_secs(60 * 60) {
        Ok(ttl)
    } else {
        Err("an access token lives for at most 1h: refresh it".into())
    }
}

fn mapped(text: &str) -> Result<(String, Role), String> {
    let (name, code) = text
        .split_once('=')
        .ok_or("a map of roles looks like finance-admins=ADMIN,finance=AR_ACCOUNTANT")?;
    Ok((name.trim().to_owned(), role(code.trim())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_tokens_are_short_and_maps_name_roles() {
        assert_eq!(access_ttl("15m"), Ok(Duration::from_secs(900)));
        assert!(access_ttl("61m").is_err());
        let admins = ("finance-admins".to_owned(), Role::Admin);
        assert_eq!(mapped("finance-admins=ADMIN"), Ok(admins));
        assert!(mapped("finance-admins").is_err());
        assert!(mapped("finance-admins=EMPEROR").is_err());
    }

    #[test]
    fn switches_are_on_or_off() {
        for (text, is_on) in [
            ("on", true),
            ("TRUE", true),
            ("1", true),
            ("off", false),
            ("", false),
            ("no", false),
        ] {
            assert_eq!(crate::config::switched(text), Ok(is_on));
        }
        assert!(crate::config::switched("maybe").is_err());
    }
}
