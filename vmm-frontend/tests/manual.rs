//! `docs/cli.md` is what `ward` says of itself.
//!
//! `WARD_BLESS=1 cargo test -p vmm-frontend --test manual` writes it anew.

use std::fs;
use std::path::Path;
use std::process::Command;

const HEAD: &str = "\
# The program `ward`

Every command with its help, as the program prints it; `ward man` writes the same as manual pages, and
`ward completion` a script for your shell. How the commands go together is in [guests and their
owners](vmm.md).

Results go to standard output, warnings and errors to standard error. With `--output json` both are one
JSON object: a result has a key `warnings`, an error `error`, `help` and `exit`. Addresses are strings in
hexadecimal, sizes are numbers of bytes. An error says what is wrong, where, and what to do:

```console
$ ward bundle --kernel vmlinux --key owner.key --out guest.ward
error: vmlinux: is an ELF file, such as the `vmlinux` of a build
 help: give arch/arm64/boot/Image of the same build, or make it: `objcopy -O binary -R .note -R .comment -S vmlinux Image`
```
";

#[test]
fn the_manual_has_the_help_of_every_command() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    if !file.parent().is_some_and(Path::is_dir) {
        // A crate that was taken out of the repository has no manual.
        return;
    }
    let mut page = HEAD.to_owned();
    for command in [None].into_iter().chain(commands().iter().map(Some)) {
        let words = command.map_or_else(|| "ward".into(), |name| format!("ward {name}"));
        let help = help(command.map(String::as_str));
        page += &format!("\n## {words}\n\n```text\n{}\n```\n", help.trim_end());
    }
    if std::env::var_os("WARD_BLESS").is_some() {
        fs::write(&file, page).expect("written");
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(
        found == page,
        "docs/cli.md is old, first at {differs:?}: WARD_BLESS=1 cargo test -p vmm-frontend --test manual"
    );
}

/// The names in the list of `ward --help`.
fn commands() -> Vec<String> {
    let help = help(None);
    let list = help.split("Commands:\n").nth(1).expect("a list");
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn help(command: Option<&str>) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ward"))
        .args(command)
        .arg("--help")
        .output()
        .expect("ward runs");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    // Empty lines of the help have blanks.
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}
