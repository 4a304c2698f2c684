//! A repository of one small package, which a host serves to its Debian guests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::initramfs::Named;
use crate::linux::cache;
use crate::run;

/// The package's own description.
const CONTROL: &str = "Package: ward-hello
Version: 1
Architecture: all
Maintainer: nobody <nobody@localhost>
Description: says hello
";
/// Its program, and what dpkg runs when it is unpacked.
const FILES: &[(&str, &str)] = &[
    (
        "usr/bin/ward-hello",
        "#!/bin/sh\necho hello from a package\n",
    ),
    (
        "DEBIAN/postinst",
        "#!/bin/sh\necho configured > /var/lib/ward-hello\n",
    ),
];

/// The repository's files, made in `dir`; a host finds them in /repository.
pub(crate) fn files(dir: &Path) -> Result<Vec<Named>> {
    let tree = dir.join("ward-hello");
    let write = |name: &str, text: &str, mode: u32| {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap_or(&tree))
            .and_then(|()| fs::write(&file, text))
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("cannot write {}", file.display()))
    };
    write("DEBIAN/control", CONTROL, 0o644)?;
    for (name, text) in FILES {
        write(name, text, 0o755)?;
    }
    let name = "ward-hello_1_all.deb";
    let deb = dir.join(name);
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]);
    run::output(build.arg(&tree).arg(&deb))?;
    let bytes = fs::metadata(&deb)
        .with_context(|| format!("cannot read {}", deb.display()))?
        .len();
    let list = dir.join("Packages");
    let entry = format!(
        "{CONTROL}Filename: ./{name}\nSize: {bytes}\nSHA256: {}\n",
        cache::digest(&deb)?
    );
    fs::write(&list, entry).with_context(|| format!("cannot write {}", list.display()))?;
    Ok(vec![
        ("repository/Packages".to_owned(), list),
        (format!("repository/{name}"), deb),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_finds_what_it_needs() {
        let dir = std::env::temp_dir().join(format!("ward-repository-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let files = files(&dir);
        let list = fs::read_to_string(dir.join("Packages"));
        fs::remove_dir_all(&dir).unwrap();
        // Where there is no dpkg there is no Debian guest either.
        let Ok(files) = files else { return };
        assert_eq!(files.len(), 2);
        let list = list.unwrap();
        for part in [
            "Package: ward-hello\n",
            "Filename: ./ward-hello_1_all.deb\n",
            "\nSHA256: ",
        ] {
            assert!(list.contains(part), "{part} in {list}");
        }
    }
}
