//! One pass over the bytes of a document, before any parser: size, tokens and bracket nesting.

use super::{Limits, Rejection, within};

/// Refuses a document that the parser could not read within its stack and its time.
///
/// Brackets in strings and comments do not count. Where this scan and the parser could disagree about
/// what a string is, the document is refused: nothing may hide a bracket from this count.
pub fn lexical_scan(document: &str, limits: &Limits) -> Result<(), Rejection> {
    within("document bytes", document.len(), limits.document_bytes)?;
    let bytes = document.as_bytes();
    let (mut at, mut tokens, mut open) = (0, 0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',')
            || bytes[at..].starts_with("\u{feff}".as_bytes())
        {
            at += if byte == 0xef { 3 } else { 1 };
            continue;
        }
        if byte == b'#' {
            at += length_while(&bytes[at..], |byte| byte != b'\n' && byte != b'\r');
            continue;
        }
        tokens += 1;
        match byte {
            b'{' | b'[' | b'(' => {
                open += 1;
                within("nesting", open, limits.nesting)?;
            }
            b'}' | b']' | b')' => open = open.saturating_sub(1),
            _ => {}
        }
        at += token_length(&bytes[at..])?;
    }
    within("tokens", tokens, limits.tokens)
}

fn token_length(rest: &[u8]) -> Result<usize, Rejection> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match rest {
        // The parser reads an unclosed block string as an empty string and goes on behind it.
        [b'"', b'"', b'"', ..] => {
            block_length(rest).ok_or_else(|| Rejection::syntax("a block string is not closed"))
        }
        [b'"', ..] => {
            string_length(rest).ok_or_else(|| Rejection::syntax("a string is not closed"))
        }
        [b'.', b'.', b'.', ..] => Ok(3),
        [first, ..] if is_word(*first) => Ok(length_while(rest, is_word)),
        _ => Ok(1),
    }
}

/// Length of a string in quotes; `None` when the line ends first.
fn string_length(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match rest.get(at)? {
            b'"' => return Some(at + 1),
            b'\n' | b'\r' => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn block_length(rest: &[u8]) -> Option<usize> {
    let mut at = 3;
    while at < rest.len() {
        if rest[at..].starts_with(br#"""""#) {
            return Some(at + 3);
        }
        at += if rest[at..].starts_with(br#"\""""#) {
            4
        } else {
            1
        };
    }
    None
}

fn length_while(rest: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    rest.iter()
        .position(|byte| !belongs(*byte))
        .unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(document: &str) -> Option<&'static str> {
        lexical_scan(document, &Limits::default())
            .err()
            .map(|rejection| rejection.code)
    }

    #[test]
    fn nesting_bombs_are_refused() {
        let lists = format!("{{ a(b: {}) }}", "[".repeat(4000));
        let objects = format!("{{ a(b: {}) }}", "{a:".repeat(1300));
        let fields = "{a".repeat(49);
        let mixed = format!("{{a(b:{}", "[{a:".repeat(24));
        for document in [lists, objects, fields, mixed] {
            assert_eq!(
                code_of(&document),
                Some("OPERATION_TOO_COMPLEX"),
                "{document:.40}"
            );
        }
        assert_eq!(code_of(&"{a".repeat(48)), None);
        assert_eq!(
            code_of(&"{a}".repeat(100)),
            None,
            "a closed bracket no longer counts"
        );
    }

    #[test]
    fn size_is_bounded_before_anything_else() {
        let large = lexical_scan(&" ".repeat(15_001), &Limits::default()).unwrap_err();
        assert_eq!((large.status, large.code), (413, "OPERATION_TOO_COMPLEX"));
        assert_eq!(large.details["limit"], 15_000);
        assert_eq!(large.details["actual"], 15_001);
        assert_eq!(code_of(&"a ".repeat(2_000)), None);
        assert_eq!(code_of(&"a ".repeat(2_001)), Some("OPERATION_TOO_COMPLEX"));
        assert_eq!(
            code_of(&", \t\u{feff}\n".repeat(2_100)),
            None,
            "blanks are no tokens"
        );
    }

    #[test]
    fn strings_and_comments_hide_their_brackets() {
        let brackets = "[".repeat(100);
        for document in [
            format!(r#"{{ a(b: "{brackets}") }}"#),
            format!(r#"{{ a(b: "\"{brackets}\\") }}"#),
            format!("{{ a(b: \"\"\"{brackets}\n\"{brackets}\" \\\"\"\" {brackets}\"\"\") }}"),
            format!("{{ a # {brackets}\" \"\"\" \n }}"),
        ] {
            assert_eq!(code_of(&document), None, "{document}");
        }
    }

    #[test]
    fn nothing_else_hides_brackets() {
        let brackets = "[".repeat(100);
        for (document, code) in [
            (format!("{{ a # x\r b: {brackets}"), "OPERATION_TOO_COMPLEX"),
            (
                format!(r#"{{ a(b: ["" {brackets}"#),
                "OPERATION_TOO_COMPLEX",
            ),
            (
                format!(r#"{{ a(b: ["""" "" {brackets}"#),
                "GRAPHQL_PARSE_FAILED",
            ),
            (
                format!(r#"{{ a(b: ["""  " {brackets}"#),
                "GRAPHQL_PARSE_FAILED",
            ),
            (format!("{{ a(b: [\"\n{brackets}"), "GRAPHQL_PARSE_FAILED"),
            (format!(r#"{{ a(b: "{brackets}\"#), "GRAPHQL_PARSE_FAILED"),
        ] {
            assert_eq!(code_of(&document), Some(code), "{document}");
        }
    }
}
