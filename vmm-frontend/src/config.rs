//! `guest.toml`: what `ward bundle` is to make, in a file.
//!
//! ```toml
//! kernel = "Image"                  # paths are relative to this file
//! initrd = "initrd.img"
//! append = "root=/dev/vda ro"       # the kernel's command line
//! cpus = 2
//! memory = "512M"
//! image-version = 7
//! key = "owner.key"
//! out = "guest.ward"
//! ```
//!
//! Every key is optional and has an option of `ward bundle` of its name; the option wins. A key
//! that is not known is refused, with its place.

use crate::Error;
use crate::size::Size;
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::{Deserialize, Deserializer, de};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

#[cfg(test)]
mod tests;

/// The settings of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The kernel's file.
    pub kernel: Option<Spanned<PathBuf>>,
    /// The initial RAM disk's file.
    pub initrd: Option<Spanned<PathBuf>>,
    /// The kernel's command line.
    pub append: Option<Spanned<String>>,
    /// Virtual CPUs.
    pub cpus: Option<Spanned<u32>>,
    /// Memory.
    pub memory: Option<Spanned<Size>>,
    /// The owner's own count of versions.
    pub image_version: Option<Spanned<Size>>,
    /// The secret key's file.
    pub key: Option<Spanned<PathBuf>>,
    /// The bundle's file.
    pub out: Option<Spanned<PathBuf>>,
}

/// A configuration file that has been read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    file: PathBuf,
    text: String,
    /// What it says.
    pub settings: Settings,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Setting`] with the place of what is wrong.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let bytes = fs::read(file).map_err(|e| Error::file("read", file, e))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::Input {
            file: file.into(),
            what: "is not text".into(),
            remedy: "give a TOML file in UTF-8; `ward help bundle` has an example".into(),
        })?;
        Self::parse(file, text)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn parse(file: &Path, text: String) -> Result<Self, Error> {
        let settings = toml::from_str(&text);
        let mut config = Config {
            file: file.into(),
            text,
            settings: Settings::default(),
        };
        match settings {
            Ok(settings) => {
                config.settings = settings;
                Ok(config)
            }
            Err(error) => {
                let span = error.span().unwrap_or_default();
                let remedy = "`ward help bundle` has an example with all keys";
                Err(config.blame(span, error.message(), remedy))
            }
        }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A path of the file, which is relative to where the file is.
    pub fn path(&self, path: &Path) -> PathBuf {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        folder.join(path)
    }

    /// An error in terms of the place of this file that it comes from.
    pub fn blame(&self, span: Range<usize>, what: &str, remedy: &str) -> Error {
        // A span may point behind the last line, or, if a parser is wrong, anywhere.
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.max(start));
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Error::Setting {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: what.to_owned(),
            remedy: remedy.to_owned(),
            picture: self.picture(start..end, what),
        }
    }

    fn picture(&self, span: Range<usize>, what: &str) -> String {
        let path = self.file.display().to_string();
        let source = Snippet::source(self.text.as_str()).path(path);
        let place = source.annotation(AnnotationKind::Primary.span(span));
        let report = [Level::ERROR.primary_title(what).element(place)];
        Renderer::plain()
            .decor_style(DecorStyle::Ascii)
            .render(&report)
    }
}

/// A number, or a text like `"512M"`.
impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a number, or a text like \"512M\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
                let bytes = u64::try_from(number);
                bytes.map(Size).map_err(|_| E::custom("less than zero"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}
