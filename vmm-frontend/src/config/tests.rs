use super::*;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(Path::new("dir/guest.toml"), text.into())
}

#[test]
fn all_keys_are_read() {
    let text = r#"
        kernel = "Image"
        initrd = "/boot/rd"
        append = "quiet"
        cpus = 4
        memory = "512M"
        image-version = 7
        key = "k"
        out = "o"
    "#;
    let config = parse(text).expect("good");
    let settings = &config.settings;
    assert_eq!(
        settings.memory.as_ref().map(|m| *m.get_ref()),
        Some(Size(512 << 20))
    );
    assert_eq!(
        settings.image_version.as_ref().map(|v| *v.get_ref()),
        Some(Size(7))
    );
    let kernel = settings.kernel.as_ref().expect("set");
    assert_eq!(config.path(kernel.get_ref()), Path::new("dir/Image"));
    assert_eq!(config.path(Path::new("/boot/rd")), Path::new("/boot/rd"));
    assert_eq!(&text[kernel.span()], "\"Image\"");
    assert_eq!(parse("").expect("nothing").settings, Settings::default());
}

#[test]
fn mistakes_have_their_place() {
    for (text, line, column, what) in [
        ("kernal = \"Image\"", 1, 1, "unknown field `kernal`"),
        ("cpus = 1\nmemory = \"much\"", 2, 10, "not a number"),
        ("cpus = -1", 1, 8, "-1"),
        ("cpus = 4294967296", 1, 8, "4294967296"),
        ("cpus = \"2\"", 1, 8, "invalid type: string"),
        ("memory = -5", 1, 10, "less than zero"),
        ("memory = true", 1, 10, "512M"),
        ("memory = 1.5", 1, 10, "512M"),
        ("kernel = 3", 1, 10, "invalid type: integer"),
        ("kernel = \"a\"\nkernel = \"b\"", 2, 1, "duplicate key"),
        ("[guest]\ncpus = 1", 1, 2, "unknown field `guest`"),
        ("kernel = \"é", 1, 12, "basic string"),
        ("cpus =", 1, 7, "string"),
        ("=", 1, 1, "key"),
        ("\u{feff}é = 1", 1, 2, "unquoted key"),
    ] {
        let error = parse(text).expect_err(text);
        let said = error.to_string();
        assert!(said.contains(what), "{text:?}: {said}");
        assert!(
            said.starts_with(&format!("dir/guest.toml:{line}:{column}: ")),
            "{text:?}: {said}"
        );
        assert!(error.remedy().contains("ward help bundle"));
    }
}

#[test]
fn the_picture_points_there() {
    let Err(Error::Setting { picture, .. }) = parse("cpus = 1\nmemory = \"much\"\n") else {
        panic!("read");
    };
    let expected = "\
error: `much` is not a number; write it like 4096, 4K, 512M or 0x1000
 --> dir/guest.toml:2:10
  |
2 | memory = \"much\"
  |          ^^^^^^";
    assert_eq!(picture.trim_end(), expected);
}

#[test]
fn any_place_can_be_blamed() {
    let config = parse("# é\n").expect("good");
    let length = config.text.len();
    for start in 0..length + 2 {
        for end in 0..length + 2 {
            let error = config.blame(start..end, "wrong", "right");
            assert!(error.to_string().contains("wrong"));
        }
    }
}
