use super::*;

fn message(error: Error) -> String {
    assert!(!error.remedy().is_empty());
    error.to_string()
}

#[test]
fn a_pair_survives_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.key");
    let key = SecretKey::generate().unwrap();
    let public = key.save(&path).unwrap();
    assert_eq!(public, dir.path().join("owner.key.pub"));
    assert_eq!(PublicKey::load(&public).unwrap(), key.public());
    assert_eq!(SecretKey::load(&path).unwrap().public(), key.public());
    assert_eq!(fs::read_to_string(&public).unwrap().len(), 65);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn neither_file_is_overwritten_and_none_is_left_half() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    let key = SecretKey::from_seed([1; 32]);
    fs::write(&path, "mine").unwrap();
    let error = key.save(&path).unwrap_err();
    assert!(error.remedy().contains("never"), "{}", error.remedy());
    assert!(message(error).starts_with("cannot create"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert!(!public_path(&path).exists(), "both or neither");
    fs::remove_file(&path).unwrap();
    fs::write(public_path(&path), "mine").unwrap();
    assert!(key.save(&path).is_err());
    assert_eq!(fs::read_to_string(public_path(&path)).unwrap(), "mine");
    assert!(!path.exists());
}

#[test]
fn keys_are_not_taken_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    let public = SecretKey::from_seed([1; 32]).save(&path).unwrap();
    let error = message(SecretKey::load(&public).unwrap_err());
    assert_eq!(error, "not a secret key: this is a public key");
    let error = message(PublicKey::load(&path).unwrap_err());
    assert_eq!(error, "not a public key: this is a secret key");
}

#[test]
fn other_texts_are_no_keys() {
    for text in ["", "12", &"g".repeat(64), &"é".repeat(32), &"1".repeat(65)] {
        let error = message(text.parse::<PublicKey>().unwrap_err());
        assert_eq!(error, "not a public key: not 64 hexadecimal digits");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    assert!(SecretKey::load(&path).is_err());
    fs::write(&path, format!("{SECRET_PREFIX}12")).unwrap();
    let error = message(SecretKey::load(&path).unwrap_err());
    assert_eq!(error, "not a secret key: not 64 hexadecimal digits");
    assert!(
        message(SecretKey::load(&dir.path().join("none")).unwrap_err()).starts_with("cannot read")
    );
}

/// RFC 8032 7.1, test 1.
#[test]
fn the_public_half_is_the_standards() {
    let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let key = SecretKey::from_seed(seed);
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(key.public().to_string(), public);
    assert_eq!(public.parse::<PublicKey>().unwrap(), key.public());
    assert_eq!(format!("{key:?}"), format!("SecretKey(of {public})"));
    let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                     5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    assert_eq!(hex(&key.sign(b"")), signature);
}
