//! What a path asks for beyond its name.

/// `a=1&b=2`.
pub(super) struct Query<'q>(pub &'q str);

impl Query<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name == key).then_some(value)
        })
    }

    pub(super) fn number(&self, key: &str, default: usize) -> usize {
        self.get(key).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    pub(super) fn wants_patterns(&self) -> bool {
        matches!(self.get("subs"), Some("1" | "true" | "detail"))
    }
}
