//! Results and errors on the terminal, for people and for programs.

use crate::args::Output;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use vmm_frontend::{Error, exit};

/// What a command that was carried out has to say.
pub trait Report {
    /// For people; ends with a line end, or is empty.
    fn text(&self) -> String;
    /// For programs.
    fn json(&self) -> Value;
    /// The status with which `ward` ends.
    fn exit(&self) -> u8 {
        exit::DONE
    }
    /// What is worth saying on standard error too, one remark each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Prints a result.
pub fn print(report: &dyn Report, output: Output) -> ExitCode {
    let text = match output {
        Output::Text => {
            for warning in report.warnings() {
                let _ = writeln!(std::io::stderr(), "warning: {warning}");
            }
            report.text()
        }
        Output::Json => {
            let mut object = report.json();
            if let Some(object) = object.as_object_mut() {
                object.insert("warnings".into(), report.warnings().into());
            }
            format!("{object:#}\n")
        }
    };
    // A reader that went away (`ward inspect x | head -1`) has what it wanted.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(exit::FILE),
        _ => ExitCode::from(report.exit()),
    }
}

/// Prints an error and gives its exit code.
pub fn complain(error: &Error, output: Output) -> ExitCode {
    let text = match (output, error) {
        (
            Output::Text,
            Error::Setting {
                picture, remedy, ..
            },
        ) => {
            format!("{}\n help: {remedy}\n", picture.trim_end())
        }
        (Output::Text, _) => format!("error: {error}\n help: {}\n", error.remedy()),
        (Output::Json, _) => {
            let object = json!({
                "error": error.to_string(),
                "help": error.remedy(),
                "exit": error.exit(),
            });
            format!("{object:#}\n")
        }
    };
    // Nobody to tell that telling failed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(error.exit())
}
