//! Documentation comments of hyp-core's source: one sentence stands in one place, and the manual
//! quotes it.

/// The comment before the line that begins with `item`, in the part of `source` that begins with
/// `scope`; a link of rustdoc becomes the name it shows.
///
/// # Panics
/// When there is none: the source has changed its form.
pub(super) fn comment(source: &str, scope: &str, item: &str) -> String {
    let from = source.find(scope);
    let from = from.unwrap_or_else(|| panic!("hyp-core's source has no `{scope}`"));
    let mut words: Vec<&str> = Vec::new();
    for line in source[from..].lines().skip(1) {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            words.push(text.trim());
        } else if line.starts_with(item) && !words.is_empty() {
            return plain(&words.join(" "));
        } else {
            words.clear();
        }
    }
    panic!("hyp-core's source has no comment before `{item}` after `{scope}`")
}

/// `[`super::Call::VcpuRun`]` as `` `Call::VcpuRun` ``, with or without an address behind it; a
/// table cell cannot hold a bar.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for (n, piece) in text.split("`]").enumerate() {
        let address = (n > 0 && piece.starts_with('('))
            .then(|| piece.find(')'))
            .flatten();
        if n > 0 {
            out.push('`');
        }
        out.push_str(&piece[address.map_or(0, |end| end + 1)..]);
    }
    let mut out = out.replace("[`", "`");
    for path in ["super::", "crate::"] {
        out = out.replace(path, "");
    }
    out.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_of_the_right_item_is_found() {
        let source = "mod a {\n  /// Wrong.\n  x,\n}\nmod b {\n  /// Right, see\n  /// [`super::Y`].\n  x,\n  z,\n}\n";
        assert_eq!(comment(source, "mod b", "x,"), "Right, see `Y`.");
        assert_eq!(comment(source, "mod a", "x,"), "Wrong.");
        assert_eq!(plain("see [`a`](b::a), [`c`] (d)"), "see `a`, `c` (d)");
        assert!(std::panic::catch_unwind(|| comment(source, "mod b", "z,")).is_err());
    }
}
