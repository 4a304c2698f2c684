use super::*;

const DEB822: &str = "Types: deb\n# snapshot\nURIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates\n\
    Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";

fn debian(version: &str) -> Distro {
    Distro {
        id: "debian".to_owned(),
        like: String::new(),
        version: version.to_owned(),
    }
}

fn steps(fix: Fix) -> Vec<String> {
    match fix {
        Fix::Steps(steps) => steps.iter().map(Step::shell).collect(),
        Fix::ByHand(advice) => panic!("not automatic: {advice}"),
    }
}

#[test]
fn the_keyring_of_the_existing_source_is_reused() {
    let sources = Sources::parse([DEB822].into_iter());
    let keyring = Some("/usr/share/keyrings/debian-archive-keyring.gpg".to_owned());
    assert_eq!(
        sources,
        Sources {
            backports: false,
            keyring
        }
    );
    assert!(
        backports(&sources)
            .ends_with("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n")
    );

    let line = "deb [arch=amd64 signed-by=/k.gpg] http://deb.debian.org/debian bookworm main\n";
    assert_eq!(
        Sources::parse([line].into_iter()).keyring.as_deref(),
        Some("/k.gpg")
    );
    assert!(!backports(&Sources::default()).contains("Signed-By"));
}

#[test]
fn configured_backports_are_seen_in_both_formats_but_not_when_disabled() {
    let seen = |text: &str| Sources::parse([text].into_iter()).backports;
    assert!(seen(
        "deb http://deb.debian.org/debian bookworm-backports main\n"
    ));
    assert!(seen(
        &DEB822.replace("bookworm-updates", "bookworm-backports")
    ));
    assert!(!seen(
        "# deb http://deb.debian.org/debian bookworm-backports main\n"
    ));
    assert!(!seen(&format!(
        "Enabled: no\n{}",
        DEB822.replace("bookworm-updates", "bookworm-backports")
    )));
    assert!(!seen(DEB822));
}

#[test]
fn debian_12_takes_backports_and_adds_the_source_only_when_it_is_missing() {
    let added = steps(plan(
        &debian("12"),
        &Sources::default(),
        Version::parse("7.2"),
    ));
    assert_eq!(added.len(), 3);
    assert!(
        added[0].starts_with("sudo tee /etc/apt/sources.list.d/bookworm-backports.sources"),
        "{}",
        added[0]
    );
    assert_eq!(added[1], "sudo apt-get update");
    assert_eq!(
        added[2],
        "sudo apt-get install -y --no-install-recommends -t bookworm-backports qemu-system-arm"
    );

    let present = Sources {
        backports: true,
        keyring: None,
    };
    assert_eq!(steps(plan(&debian("12"), &present, None)).len(), 2);
}

#[test]
fn newer_releases_take_the_plain_package_when_it_is_new_enough() {
    let none = Sources::default();
    let install = "sudo apt-get install -y --no-install-recommends qemu-system-arm";
    assert_eq!(
        steps(plan(&debian("13"), &none, Version::parse("1:10.0.2+ds-2"))),
        [install]
    );
    assert_eq!(
        steps(plan(&debian("13"), &none, None)),
        ["sudo apt-get update"]
    );

    let ubuntu = Distro {
        id: "ubuntu".to_owned(),
        like: "debian".to_owned(),
        version: "24.04".to_owned(),
    };
    let Fix::ByHand(advice) = plan(&ubuntu, &none, Version::parse("1:8.2.2+ds-0ubuntu1")) else {
        panic!()
    };
    assert!(
        advice.contains("ubuntu 24.04 offers qemu-system-arm 8.2"),
        "{advice}"
    );
}
