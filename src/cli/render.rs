//! `longshore render`: the engine alone, on files.

use super::{FAILED, OK, RenderArgs, misconfigured};
use crate::cli::out::out;
use crate::config::RenderConfig;
use crate::error::{Printable, Reason, Rejection};
use crate::render::{Rendered, Scratch, render_guarded};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pictures to render.
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// Folder for the renditions, stored as OUT/NAME/FILE.
    #[arg(long, env = "LONGSHORE_OUT", value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    render: RenderArgs,
}

pub fn run(args: &Args) -> u8 {
    let config = match RenderConfig::read(&args.render) {
        Ok(config) => config,
        Err(mistakes) => return misconfigured(&mistakes),
    };
    let mistakes = collisions(&args.inputs, &args.out, &config);
    if !mistakes.is_empty() {
        return misconfigured(&mistakes);
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..config.threads.min(args.inputs.len()) {
            scope.spawn(|| {
                let mut scratch = Scratch::default();
                while let Some(input) = args.inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match render_file(input, &args.out, &config, &mut scratch) {
                        Ok(line) => out!("{line}"),
                        Err(why) => {
                            failed.store(true, Ordering::Relaxed);
                            eprintln!("error: {}: {why}", shown(input));
                        }
                    }
                }
            });
        }
    });
    if failed.into_inner() { FAILED } else { OK }
}

/// Inputs whose renditions would take each other's place, or that of an input.
fn collisions(inputs: &[PathBuf], out: &Path, config: &RenderConfig) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut names = HashSet::new();
    for name in inputs.iter().filter_map(|input| input.file_name()) {
        if !names.insert(name) {
            let name = shown(Path::new(name));
            mistakes
                .push(format!("two inputs are named {name}: their renditions would overwrite each other"));
        }
    }
    for input in inputs {
        let same = |folder: PathBuf| {
            let (Ok(folder), Ok(input)) = (folder.canonicalize(), input.canonicalize()) else { return false };
            input.parent() == Some(folder.as_path())
        };
        if config.settings.specs.iter().any(|spec| same(out.join(&spec.name))) {
            mistakes.push(format!(
                "{} would be overwritten by its own rendition: choose another --out",
                shown(input)
            ));
        }
    }
    mistakes
}

fn render_file(
    input: &Path,
    out: &Path,
    config: &RenderConfig,
    scratch: &mut Scratch,
) -> Result<String, String> {
    let name = input.file_name().ok_or("it has no file name; name a file")?;
    let length = std::fs::metadata(input).map_err(|e| e.to_string())?.len();
    if length > config.max_bytes {
        let detail = format!("{length} bytes are more than the limit of {} (--max-bytes)", config.max_bytes);
        return Err(Rejection::new(Reason::TooLarge, detail).to_string());
    }
    let bytes = std::fs::read(input).map_err(|e| e.to_string())?;
    let rendered =
        render_guarded(&bytes, &config.settings, scratch).map_err(|rejection| rejection.to_string())?;
    for rendition in &rendered.renditions {
        let folder = out.join(&rendition.name);
        let path = folder.join(name);
        let store =
            || std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, &rendition.bytes));
        store().map_err(|e| format!("cannot write {}: {e}", shown(&path)))?;
    }
    Ok(describe(input, &rendered))
}

fn describe(input: &Path, rendered: &Rendered) -> String {
    let mut line = format!("{}  {}x{}", shown(input), rendered.width, rendered.height);
    for r in &rendered.renditions {
        line.push_str(&format!("  {} {}x{} {} bytes", r.name, r.width, r.height, r.bytes.len()));
    }
    let stages = rendered.stages;
    let ms = (stages.decode + stages.resize + stages.encode).as_secs_f64() * 1e3;
    line.push_str(&format!("  {ms:.1} ms"));
    for note in &rendered.notes {
        line.push_str(&format!("  ({})", Printable(note)));
    }
    line
}

fn shown(path: &Path) -> String {
    Printable(&path.to_string_lossy()).to_string()
}
