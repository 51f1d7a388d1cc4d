//! `Accept-Encoding` (RFC 9110 §12.5.3).

/// An encoding that a client names, and whether the client accepts it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Coding<'a> {
    name: &'a str,
    accepted: bool,
}

impl Coding<'_> {
    /// Returns whether a client that sent `codings` accepts this encoding. `*` stands for all
    /// encodings that the client does not name.
    pub(crate) fn accepts(codings: &[Coding<'_>], encoding: &str) -> bool {
        let named = |wanted: &str| {
            codings
                .iter()
                .find(|coding| coding.name.eq_ignore_ascii_case(wanted))
        };
        named(encoding)
            .or_else(|| named("*"))
            .is_some_and(|coding| coding.accepted)
    }
}

/// Parses the header's value. Only a weight of zero refuses an encoding. The other weights do not
/// matter, because the server prefers the smallest response.
pub(crate) fn parse(value: &str) -> Vec<Coding<'_>> {
    value
        .split(',')
        .filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?;
            let refused = parts
                .filter_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")))
                .any(|weight| weight.trim().parse() == Ok(0.0));
            Some(Coding {
                name,
                accepted: !refused,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepts(value: &str, encoding: &str, expected: bool) {
        assert_eq!(
            Coding::accepts(&parse(value), encoding),
            expected,
            "{value:?} and {encoding}"
        );
    }

    #[test]
    fn a_coding_is_accepted_where_the_client_names_it() {
        accepts("gzip, deflate, br", "br", true);
        accepts("gzip, deflate", "br", false);
        accepts("GZIP", "gzip", true);
        accepts("", "gzip", false);
        accepts("identity", "gzip", false);
        accepts("xgzip, gzipx", "gzip", false);
    }

    #[test]
    fn a_weight_of_zero_refuses() {
        accepts("br;q=0, gzip", "br", false);
        accepts("br; q=0.000", "br", false);
        accepts("br;q=0.1", "br", true);
        accepts("br;q=nonsense", "br", true);
    }

    #[test]
    fn a_star_stands_for_what_is_not_named() {
        accepts("*", "br", true);
        accepts("gzip;q=0, *", "gzip", false);
        accepts("gzip, *;q=0", "br", false);
        accepts(";;,,*;", "br", true);
    }
}
