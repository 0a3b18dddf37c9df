//! Every setting, read together: either a whole `Config`, or all mistakes at once, each with its
//! remedy. No network call is made here.

#[cfg(feature = "submit")]
mod jobs;
mod traces;
mod values;
mod work;

#[cfg(feature = "submit")]
pub use jobs::{JobsConfig, Sends};
pub use traces::Traces;
pub use values::{Reader, Secret, parse_time, present};
pub use work::{Config, Jobs, LogFormat, LogSettings, QueueConfig, SuffixCase, TaskProtection};

use crate::cli::RenderArgs;
use crate::render::spec::{self, DEFAULT_RENDITIONS};
use crate::render::{Damaged, IccMode, Limits, Settings};

/// What `work`, `local` and `render` need to know about pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderConfig {
    pub settings: Settings,
    pub max_bytes: u64,
    /// Threads of the pixel pool.
    pub threads: usize,
}

impl RenderConfig {
    /// # Errors
    ///
    /// All mistakes, a line each.
    pub fn read(args: &RenderArgs) -> Result<Self, Vec<String>> {
        let mut reader = Reader::default();
        let config = Self::read_with(args, &mut reader);
        reader.finish(config)
    }

    fn read_with(args: &RenderArgs, reader: &mut Reader) -> Self {
        let standard = Limits::default();
        let list = present(&args.renditions).unwrap_or(DEFAULT_RENDITIONS);
        let specs = spec::parse(list).unwrap_or_else(|mistakes| {
            reader.mistakes.extend(mistakes.into_iter().map(|m| format!("--renditions: {m}")));
            Vec::new()
        });
        let limits = Limits {
            max_pixels: reader.whole("--max-pixels", &args.max_pixels, standard.max_pixels, 1..=1 << 32),
            max_scans: reader.whole("--max-scans", &args.max_scans, standard.max_scans, 1..=10_000),
            max_time: reader.time("--max-render-time", &args.max_render_time, standard.max_time, 1..=3600),
            damaged: reader.choice(
                "--damaged",
                &args.damaged,
                &[("reject", Damaged::Reject), ("accept", Damaged::Accept)],
            ),
        };
        let icc = reader.choice("--icc", &args.icc, &[("srgb", IccMode::Srgb), ("keep", IccMode::Keep)]);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            settings: Settings { specs, icc, limits },
            max_bytes: reader.size("--max-bytes", &args.max_bytes, 128 << 20, 1..=5 << 30),
            threads: reader.whole("--render-threads", &args.render_threads, cpus, 1..=1024),
        }
    }
}
