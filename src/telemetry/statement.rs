//! SQL as a span may show it: what was asked, not about whom.

/// A statement of diesel's debugging output without its binds, and with `?` for every literal in its text.
pub fn without_values(query: &str) -> String {
    let text = query.split(" -- binds:").next().unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        if sign == '\'' {
            shown.push('?');
            rest = after_text(&rest[1..]);
        } else if sign == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
            shown.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if sign.is_ascii_digit() && !ends_in_word(&shown) {
            shown.push('?');
            rest =
                rest.trim_start_matches(|sign: char| sign.is_ascii_alphanumeric() || sign == '.');
        } else {
            shown.push(sign);
            rest = &rest[sign.len_utf8()..];
        }
    }
    shown
}

/// Whether a digit that follows belongs to a name or to a placeholder such as `$1`.
fn ends_in_word(text: &str) -> bool {
    text.ends_with(|sign: char| sign.is_alphanumeric() || sign == '_' || sign == '$')
}

/// What follows a text in quotes; a doubled quote does not end it.
fn after_text(mut rest: &str) -> &str {
    while let Some(end) = rest.find('\'') {
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(inside) => rest = inside,
            None => return rest,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_left() {
        for (query, expected) in [
            (
                r#"SELECT "a"."b1" FROM "a" WHERE ("a"."c" = $1) LIMIT $2 -- binds: ["FR76 3000", 20]"#,
                r#"SELECT "a"."b1" FROM "a" WHERE ("a"."c" = $1) LIMIT $2"#,
            ),
            (
                "SET LOCAL encours.company = '0199-af'; SET LOCAL encours.portfolio = ''",
                "SET LOCAL encours.company = ?; SET LOCAL encours.portfolio = ?",
            ),
            ("SELECT 'it''s' || x2, 12.50, -7", "SELECT ? || x2, ?, -?"),
            ("SELECT 'open", "SELECT ?"),
            ("BEGIN", "BEGIN"),
            ("", ""),
        ] {
            assert_eq!(without_values(query), expected);
        }
    }
}
