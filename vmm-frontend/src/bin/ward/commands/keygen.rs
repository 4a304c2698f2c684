use super::Done;
use crate::report::Report;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use vmm_frontend::keys::{PublicKey, SecretKey};

struct Keygen {
    secret_file: PathBuf,
    public_file: PathBuf,
    public: PublicKey,
}

pub fn run(out: &Path) -> Done {
    let key = SecretKey::generate()?;
    let public_file = key.save(out)?;
    Ok(Box::new(Keygen {
        secret_file: out.into(),
        public_file,
        public: key.public(),
    }))
}

impl Report for Keygen {
    fn text(&self) -> String {
        format!(
            "secret key: {}\npublic key: {}\n            {}\n\
             Keep the secret key to yourself, with a copy in a safe place: it signs your guests, and a\n\
             lost key cannot be made again. Give the public key to whoever builds the Ward image: guests\n\
             signed by it will start there.\n",
            self.secret_file.display(),
            self.public_file.display(),
            self.public,
        )
    }

    fn json(&self) -> Value {
        json!({
            "secret_file": self.secret_file.display().to_string(),
            "public_file": self.public_file.display().to_string(),
            "public_key": self.public.to_string(),
        })
    }
}
