//! Manual pages and completion, from the same source as `--help`.

use super::{Done, failed};
use crate::args::Args;
use crate::report::Report;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use vmm_frontend::Error;

struct Script(String);

pub fn completion(shell: Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ward", &mut script);
    Ok(Box::new(Script(
        String::from_utf8_lossy(&script).into_owned(),
    )))
}

impl Report for Script {
    fn text(&self) -> String {
        self.0.clone()
    }

    fn json(&self) -> Value {
        json!({ "script": self.0 })
    }
}

struct Pages(Vec<PathBuf>);

pub fn pages(directory: &Path) -> Done {
    let mut ward = Args::command();
    ward.build();
    let mut pages = vec![page(directory, "ward", &ward)?];
    for command in ward.get_subcommands() {
        if command.get_name() != "help" {
            let name = format!("ward-{}", command.get_name());
            pages.push(page(directory, &name, command)?);
        }
    }
    Ok(Box::new(Pages(pages)))
}

fn page(directory: &Path, name: &str, command: &clap::Command) -> Result<PathBuf, Error> {
    let mut text = Vec::new();
    let source = concat!("ward ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(source);
    let file = directory.join(format!("{name}.1"));
    man.render(&mut text).map_err(failed("write", &file))?;
    // What stands below the options are examples, whose lines are to stay as they are.
    let text = String::from_utf8_lossy(&text)
        .replacen(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n", 1)
        .replacen("\n.SH VERSION\n", "\n.fi\n.SH VERSION\n", 1);
    fs::write(&file, &text).map_err(failed("write", &file))?;
    Ok(file)
}

impl Report for Pages {
    fn text(&self) -> String {
        self.0
            .iter()
            .map(|file| format!("{}\n", file.display()))
            .collect()
    }

    fn json(&self) -> Value {
        let files = self.0.iter().map(|file| file.display().to_string());
        json!({ "files": files.collect::<Vec<_>>() })
    }
}
