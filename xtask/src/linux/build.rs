//! Configuring and compiling the small kernel, once for each key.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::source::{self, Source};
use super::{Kernel, cache, kit};
use crate::paths;
use crate::run::{self, say};

/// Changes whenever what this file does changes what comes out.
const RECIPE: &str = "1";
/// How many lines `make` prints for the configuration of the repository, to say how far it is.
const USUAL_LINES: usize = 1800;
/// The header of Ward's calls, and where the patches expect it: one copy, which is generated.
const HEADER: &str = "linux/include/ward_abi.h";
const HEADER_IN_LINUX: &str = "arch/arm64/include/asm/ward_abi.h";
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(15);

/// The small kernel of that source: from the cache, or built.
pub(super) fn kernel(named: Option<&Path>) -> Result<Kernel> {
    let source = source::choose(named)?;
    let dir = cache::dir("linux")?;
    let inputs = Inputs::read()?;
    let key = inputs.key(&source)?;
    let done = dir.join(&key);
    let changes = matches!(source, Source::Directory(_));
    if !changes && let Some(kernel) = finished(&done) {
        return Ok(kernel);
    }
    let _lock = cache::lock(&dir, &key)?;
    if !changes && let Some(kernel) = finished(&done) {
        return Ok(kernel);
    }
    let work = dir.join(format!("{key}.work"));
    let objects = work.join("build");
    fs::create_dir_all(&objects).with_context(|| format!("cannot make {}", objects.display()))?;
    let tree = match &source {
        Source::Debian => unpack(&source::debian()?, &work, &inputs)?,
        Source::Tarball { file, .. } => unpack(file, &work, &inputs)?,
        Source::Directory(dir) => dir.clone(),
    };
    compile(&tree, &objects, &inputs)?;
    kit::publish(&tree, &objects, &done)?;
    if !changes {
        // Some 2 GB that nobody needs again; what modules need was copied.
        let _ = fs::remove_dir_all(&work);
    }
    finished(&done).with_context(|| format!("{} was made, but is not complete", done.display()))
}

/// The kernel in that directory of the cache, if it is there. Such a directory appears whole.
fn finished(dir: &Path) -> Option<Kernel> {
    let kernel = Kernel {
        image: dir.join("Image"),
        config: dir.join("config"),
        tree: dir.join("tree"),
    };
    let there = kernel.image.is_file() && kernel.config.is_file() && kernel.tree.is_dir();
    there.then_some(kernel)
}

/// What a build depends on, beside the source.
struct Inputs {
    config: String,
    patches: Vec<PathBuf>,
    /// The generated header of Ward's calls, which no patch contains.
    header: String,
    compiler: String,
}

impl Inputs {
    fn read() -> Result<Self> {
        let file = config_file();
        let config =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let file = paths::root().join(HEADER);
        let header =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut patches = Vec::new();
        // The directory is missing while there are no patches.
        if let Ok(entries) = fs::read_dir(paths::root().join("linux/patches")) {
            patches.extend(entries.flatten().map(|entry| entry.path()));
        }
        patches.retain(|patch| patch.extension().is_some_and(|kind| kind == "patch"));
        patches.sort();
        let version = |tool: &str| {
            let tool = format!("{}{tool}", cross_compile());
            let text = run::output(Command::new(tool).arg("--version"))?;
            anyhow::Ok(text.lines().next().unwrap_or_default().to_owned())
        };
        Ok(Inputs {
            config,
            patches,
            header,
            compiler: format!("{}\n{}", version("gcc")?, version("ld")?),
        })
    }

    /// The cache's name for what this source becomes. A directory has its own name whatever is in
    /// it, because there is no cheap way to see whether it changed.
    fn key(&self, source: &Source) -> Result<String> {
        let mut key = cache::Key::default();
        key.add("recipe", RECIPE.as_bytes());
        match source {
            Source::Directory(dir) => key.add("directory", dir.as_os_str().as_encoded_bytes()),
            _ => key.add("source", source.identity().unwrap_or_default().as_bytes()),
        }
        key.add("config", self.config.as_bytes());
        key.add("compiler", self.compiler.as_bytes());
        key.add("header", self.header.as_bytes());
        for patch in &self.patches {
            let text =
                fs::read(patch).with_context(|| format!("cannot read {}", patch.display()))?;
            key.add("patch", &text);
        }
        Ok(key.finish())
    }
}

fn config_file() -> PathBuf {
    paths::root().join("linux/config/host.config")
}

/// What precedes the names of the compiler and its companions.
pub(crate) fn cross_compile() -> String {
    std::env::var("WARD_CROSS_COMPILE").unwrap_or_else(|_| {
        let prefix = if cfg!(target_arch = "aarch64") {
            ""
        } else {
            "aarch64-linux-gnu-"
        };
        prefix.to_owned()
    })
}

/// Unpacks and patches the source, unless an interrupted build has done so.
fn unpack(tarball: &Path, work: &Path, inputs: &Inputs) -> Result<PathBuf> {
    let source = work.join("source");
    if source.is_dir() {
        return Ok(source);
    }
    let part = work.join("source.part");
    // Left by an unpacking that was interrupted.
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    say(&format!("unpacking {}: some 1.8 GB", tarball.display()));
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(tarball).arg("-C").arg(&part);
    run::status(tar.args(["--strip-components=1", "--no-same-owner"]))?;
    for patch in &inputs.patches {
        let mut apply = Command::new("patch");
        apply.args(["-p1", "--forward", "--fuzz=0", "--silent", "-i"]);
        run::status(apply.arg(patch).current_dir(&part))
            .with_context(|| format!("{} does not apply", paths::display(patch)))?;
    }
    let header = part.join(HEADER_IN_LINUX);
    fs::write(&header, &inputs.header)
        .with_context(|| format!("cannot write {}", header.display()))?;
    fs::rename(&part, &source).with_context(|| format!("cannot make {}", source.display()))?;
    Ok(source)
}

fn compile(source: &Path, objects: &Path, inputs: &Inputs) -> Result<()> {
    say("configuring the small kernel");
    let mut config = make(source, objects);
    config.env("KCONFIG_ALLCONFIG", config_file());
    run::output(config.args(["-s", "allnoconfig"]))?;
    let text = fs::read_to_string(objects.join(".config")).context("make left no .config")?;
    let lost = not_taken_over(&inputs.config, &text);
    if !lost.is_empty() {
        bail!(
            "Kconfig does not take over these lines of {}: {}\nAn option may have been renamed, or depends on another that is off; `make menuconfig` in {} explains",
            paths::display(&config_file()),
            lost.join(", "),
            objects.display()
        );
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    say(&format!(
        "compiling the small kernel with {jobs} jobs: about 20 minutes on one core; interrupt it and it goes on later"
    ));
    let mut compile = make(source, objects);
    compile.args([&format!("-j{jobs}"), "Image", "modules", "modules_prepare"]);
    watch(&mut compile, objects)
}

/// `make` with everything fixed that would otherwise differ from build to build.
pub(super) fn make(source: &Path, objects: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("-C").arg(source).stdin(Stdio::null());
    if source != objects {
        make.arg(format!("O={}", objects.display()));
    }
    make.arg("ARCH=arm64")
        .arg(format!("CROSS_COMPILE={}", cross_compile()))
        .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
        .env("KBUILD_BUILD_USER", "ward")
        .env("KBUILD_BUILD_HOST", "ward")
        .env("KBUILD_BUILD_VERSION", "1")
        .env("LC_ALL", "C");
    // Ours are for cargo, and a make above us has its own jobs.
    for name in ["MAKEFLAGS", "MFLAGS", "LOCALVERSION", "KBUILD_OUTPUT"] {
        make.env_remove(name);
    }
    make
}

/// Lines of the fragment that the configuration does not say.
fn not_taken_over<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    fragment
        .lines()
        .filter(|line| line.starts_with("CONFIG_") || line.starts_with("# CONFIG_"))
        .filter(|line| {
            let off = line
                .strip_suffix("=n")
                .map(|name| format!("# {name} is not set"));
            let wanted = off.as_deref().unwrap_or(line);
            !config.lines().any(|have| have == wanted)
        })
        .collect()
}

/// Runs `make`, shows now and then how far it is, and keeps all it says in a log.
fn watch(make: &mut Command, objects: &Path) -> Result<()> {
    let log = objects.with_extension("log");
    let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = make
        .stdout(Stdio::piped())
        .stderr(file.try_clone().context("cannot share the log")?)
        .spawn()
        .with_context(|| format!("cannot start `{}`", run::shell_line(make)))?;
    let (start, mut shown) = (Instant::now(), Instant::now());
    if let Some(stdout) = child.stdout.take() {
        for (count, line) in BufReader::new(stdout).lines().enumerate() {
            let line = line.context("cannot read what make prints")?;
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                say(&format!(
                    "linux: step {count} of about {USUAL_LINES}, {} s:{line}",
                    start.elapsed().as_secs()
                ));
            }
        }
    }
    let status = child.wait().context("lost track of make")?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        bail!(
            "`{}` failed ({status}); its messages are in {}, the last ones:\n{}",
            run::shell_line(make),
            log.display(),
            lines[lines.len().saturating_sub(20)..].join("\n")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_kconfig_drops_are_named() {
        let fragment = "# words\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=n\nCONFIG_D=\"x\"\n";
        let config = "CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_C is not set\nCONFIG_D=\"x\"\n";
        assert!(not_taken_over(fragment, config).is_empty());
        assert_eq!(
            not_taken_over(fragment, "CONFIG_AA=y\nCONFIG_B=y\nCONFIG_D=\"y\"\n"),
            [
                "CONFIG_A=y",
                "# CONFIG_B is not set",
                "CONFIG_C=n",
                "CONFIG_D=\"x\""
            ]
        );
    }

    #[test]
    fn the_key_follows_every_input() {
        let inputs = |config: &str, compiler: &str| Inputs {
            config: config.to_owned(),
            patches: Vec::new(),
            header: "abi".to_owned(),
            compiler: compiler.to_owned(),
        };
        let key = |inputs: Inputs, source: &Source| inputs.key(source).unwrap();
        let one = key(inputs("a", "gcc"), &Source::Debian);
        assert_eq!(one, key(inputs("a", "gcc"), &Source::Debian));
        assert_ne!(one, key(inputs("b", "gcc"), &Source::Debian));
        assert_ne!(one, key(inputs("a", "gcc 2"), &Source::Debian));
        let mut newer = inputs("a", "gcc");
        newer.header = "newer abi".to_owned();
        assert_ne!(one, key(newer, &Source::Debian));
        let other = Source::Tarball {
            file: "/x".into(),
            sha256: "00".to_owned(),
        };
        assert_ne!(one, key(inputs("a", "gcc"), &other));
        assert_ne!(
            one,
            key(inputs("a", "gcc"), &Source::Directory("/x".into()))
        );
    }

    #[test]
    fn a_failing_make_is_quoted() {
        let objects = std::env::temp_dir().join(format!("ward-make-{}", std::process::id()));
        let mut make = Command::new("sh");
        make.args(["-c", "echo; echo no rule >&2; exit 2"]);
        let error = watch(&mut make, &objects).unwrap_err().to_string();
        let _ = fs::remove_file(objects.with_extension("log"));
        assert!(
            error.contains("no rule") && error.contains("exit status: 2"),
            "{error}"
        );
    }
}
