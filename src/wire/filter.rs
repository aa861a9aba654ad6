//! Which events a subscriber wants, by name.

/// A list of patterns; `*` stands for any characters. An empty list wants everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Vec<String>);

impl Filter {
    /// A filter from its patterns.
    pub fn new(patterns: Vec<String>) -> Self {
        Filter(patterns)
    }

    /// Whether an event of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| matches(pattern, name))
    }

    /// Whether a pattern is this name to the letter.
    pub fn names(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern == name)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    // Each piece as early as possible leaves the most for the others.
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, slow and plain.
    fn defined(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((&'*', rest)), _) => {
                defined(rest, name) || name.split_first().is_some_and(|(_, name)| defined(pattern, name))
            }
            (Some((a, pattern)), Some((b, name))) => a == b && defined(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_star_stands_for_any_characters(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), defined(&chars(&pattern), &chars(&name)));
        }
    }

    #[test]
    fn an_empty_filter_wants_everything_and_names_nothing() {
        let filter = Filter::default();
        assert!(filter.wants("E_ANY"));
        assert!(!filter.names("E_ANY"));
    }
}
