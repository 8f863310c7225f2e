//! Which passwords are accepted: long, and not what everybody tries first.

/// Shortest password, in characters.
const SHORTEST: usize = 12;
/// Longest password, in characters.
const LONGEST: usize = 200;

/// The first guesses of twelve characters and more, in lower case without spaces.
const COMMON: &[&str] = &[
    "000000000000",
    "111111111111",
    "111222333444",
    "112233445566",
    "123123123123",
    "123456123456",
    "123456654321",
    "1234567890123",
    "12345678901234",
    "1234567890123456",
    "123456789012",
    "123456789123",
    "1q2w3e4r5t6y",
    "1q2w3e4r5t6y7u",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "abcdefghijkl",
    "abcdefghijklm",
    "administrateur",
    "administrator",
    "azertyuiop12",
    "azertyuiop123",
    "azertyuiopqsdfghjklm",
    "azertyuiopqs",
    "bienvenue123",
    "changemechangeme",
    "correcthorsebatterystaple",
    "iloveyou1234",
    "letmeinletmein",
    "motdepasse12",
    "motdepasse123",
    "motdepasse1234",
    "motdepassemotdepasse",
    "p@ssw0rd1234",
    "passw0rd1234",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "q1w2e3r4t5y6",
    "qwerty123456",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertyuiopas",
    "qwertzuiopasdf",
    "welcome12345",
    "welcomewelcome",
];

/// Whether a person with this e-mail address may take the password; what is wrong when not.
pub fn check(password: &str, email: &str) -> Result<(), &'static str> {
    if !(SHORTEST..=LONGEST).contains(&password.chars().count()) {
        return Err("a password has 12 to 200 characters");
    }
    let plain: String = password
        .chars()
        .filter(|sign| !sign.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect();
    let email = email.trim().to_lowercase();
    if plain == email
        || (!email.is_empty() && plain.trim_end_matches(|c: char| !c.is_alphabetic()) == email)
    {
        return Err("the e-mail address is no password");
    }
    let mut signs = plain.chars();
    let first = signs.next();
    if signs.all(|sign| Some(sign) == first) || COMMON.contains(&plain.as_str()) {
        return Err("this password is among the first that are tried: take another one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_common_and_own_addresses_are_refused() {
        let email = "sophie.martin@example.com";
        for (password, accepted) in [
            ("demo-encours", true),
            ("douze signes", true),
            ("onze signes", false),
            ("éééééééééééé", false),
            ("Password 1234", false),
            ("AZERTYUIOP123", false),
            ("Sophie.Martin@Example.com", false),
            ("sophie.martin@example.com1", false),
            ("sophie aime les créances", true),
            (&"ab".repeat(100), true),
            (&"ab".repeat(101), false),
        ] {
            assert_eq!(check(password, email).is_ok(), accepted, "{password}");
        }
    }

    #[test]
    fn the_list_holds_what_is_long_enough_to_be_tried() {
        for password in COMMON {
            assert!(password.chars().count() >= SHORTEST, "{password}");
            assert_eq!(password.to_lowercase(), *password);
        }
    }
}
