//! What of a console a person wants to see, in their words.

/// What our lines begin with, behind the kernel's time stamp.
const MARK: &str = "WARD-HOST ";
/// What a guest's console lines begin with, in notes of the host's.
const GUEST: &str = "guest| ";

/// Knows what was shown.
#[derive(Default)]
pub(super) struct Show {
    /// Results are said a second time at the end.
    seen: Vec<String>,
}

impl Show {
    /// What to show for a line, if anything.
    pub(super) fn line(&mut self, line: &str) -> Option<String> {
        if line.starts_with("ward") {
            // Ward's own lines: of its boot, and of each guest.
            return Some(line.to_owned());
        }
        let (_, said) = line.split_once(MARK)?;
        let (word, rest) = said.split_once(' ')?;
        if word == "note" {
            return Some(match rest.strip_prefix(GUEST) {
                Some(line) => format!("    {GUEST}{line}"),
                None => format!("host: {rest}"),
            });
        }
        if self.seen.iter().any(|known| known == said) {
            return None;
        }
        self.seen.push(said.to_owned());
        let attack = rest.strip_prefix("attack-");
        match (word, attack) {
            ("begin", None) => Some(format!("host: {rest} ...")),
            ("ok", Some(name)) => Some(format!("host: attack {name}: refused, the guest goes on")),
            ("ok", None) => Some(format!("host: {rest}: ok")),
            ("FAILED", _) => Some(format!("host: FAILED {rest}")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_shown_once_and_in_words() {
        let mut show = Show::default();
        let mut line = |text: &str| show.line(&format!("[    1.2] WARD-HOST {text}"));
        let refused = "host: attack ptrace: refused, the guest goes on";
        assert_eq!(line("ok attack-ptrace").as_deref(), Some(refused));
        assert_eq!(line("ok attack-ptrace"), None);
        assert_eq!(line("begin attack-fork"), None);
        assert_eq!(line("note guest| x").as_deref(), Some("    guest| x"));
        assert_eq!(
            line("FAILED kvm: no").as_deref(),
            Some("host: FAILED kvm: no")
        );
        assert_eq!(show.line("[ 1.0] random: crng init done"), None);
        assert!(show.line("ward: Ward 0.1.0").is_some());
    }
}
