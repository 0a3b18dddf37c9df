//! Settings as they are typed: text, with the defaults told in the help. An empty value counts as
//! absent, as container definitions often pass empty ones.

use clap::Args;

/// What is made of a picture. The same for `work`, `local` and `render`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Renditions")]
pub struct RenderArgs {
    /// Renditions to make, as NAME=WIDTHxHEIGHT[,qN][,444|422|420][,progressive][,optimized], separated by
    /// semicolons. A picture fits inside its box, keeps its ratio and is never enlarged; NAME is the
    /// output prefix; quality is q85 and colour 420 if not said. [default: "resized=1024x768,q85;
    /// thumbs=192x192,q85,444"]
    #[arg(long, env = "LONGSHORE_RENDITIONS", value_name = "LIST")]
    pub renditions: Option<String>,
    /// What becomes of colour profiles: `srgb` converts the colours, `keep` writes the profile into
    /// every rendition. [default: srgb]
    #[arg(long, env = "LONGSHORE_ICC", value_name = "MODE")]
    pub icc: Option<String>,
    /// What happens to JPEG files that are cut short or damaged: `reject`, or `accept` to fill in what is
    /// missing, if anything is there. [default: reject]
    #[arg(long, env = "LONGSHORE_DAMAGED", value_name = "MODE")]
    pub damaged: Option<String>,
    /// The most pixels (width times height) that a picture may have. [default: 268402689]
    #[arg(long, env = "LONGSHORE_MAX_PIXELS", value_name = "PIXELS")]
    pub max_pixels: Option<String>,
    /// The most scans that a progressive JPEG may have. [default: 100]
    #[arg(long, env = "LONGSHORE_MAX_SCANS", value_name = "SCANS")]
    pub max_scans: Option<String>,
    /// The most bytes that a source file may have. [default: 128MiB]
    #[arg(long, env = "LONGSHORE_MAX_BYTES", value_name = "SIZE")]
    pub max_bytes: Option<String>,
    /// The most CPU time that one picture may take, from bytes to renditions. Waiting for a CPU does not count.
    /// [default: 30s]
    #[arg(long, env = "LONGSHORE_MAX_RENDER_TIME", value_name = "TIME")]
    pub max_render_time: Option<String>,
    /// How many pictures are decoded at once, one thread each. [default: the number of CPUs]
    #[arg(long, env = "LONGSHORE_RENDER_THREADS", value_name = "COUNT")]
    pub render_threads: Option<String>,
}

/// Which queue, which buckets, and how.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkArgs {
    /// URL of the queue that S3's events arrive in. Required.
    #[arg(long, env = "LONGSHORE_QUEUE_URL", value_name = "URL", help_heading = "Queue")]
    pub queue_url: Option<String>,
    /// URL of the dead-letter queue. [default: the one that the queue's redrive policy names]
    #[arg(long, env = "LONGSHORE_DLQ_URL", value_name = "URL", help_heading = "Queue")]
    pub dlq_url: Option<String>,
    /// How many messages are in work at once. Too few waste CPU while pictures download; too many
    /// take memory. [default: twice the render threads]
    #[arg(long, env = "LONGSHORE_CONCURRENCY", value_name = "COUNT", help_heading = "Queue")]
    pub concurrency: Option<String>,
    /// How much memory all pictures in work may take together: what does not fit waits, what never fits
    /// is rejected. [default: three quarters of the container's memory]
    #[arg(long, env = "LONGSHORE_MEMORY_BUDGET", value_name = "SIZE", help_heading = "Queue")]
    pub memory_budget: Option<String>,
    /// How long a receive waits for messages (SQS long poll, 1s to 20s). [default: 10s, or 20s
    /// when the stop timeout is 60s or more]
    #[arg(long, env = "LONGSHORE_WAIT_TIME", value_name = "TIME", help_heading = "Queue")]
    pub wait_time: Option<String>,
    /// How long a received message stays hidden from others; renewed while its job runs.
    /// [default: 90s]
    #[arg(long, env = "LONGSHORE_VISIBILITY_TIMEOUT", value_name = "TIME", help_heading = "Queue")]
    pub visibility_timeout: Option<String>,
    /// The longest that one message may be in work before it is handed back. [default: 15m]
    #[arg(long, env = "LONGSHORE_MAX_JOB_TIME", value_name = "TIME", help_heading = "Queue")]
    pub max_job_time: Option<String>,
    /// The time between SIGTERM and SIGKILL (`stopTimeout` in ECS). Draining ends 5 s before it.
    /// [default: 30s]
    #[arg(long, env = "LONGSHORE_STOP_TIMEOUT", value_name = "TIME", help_heading = "Queue")]
    pub stop_timeout: Option<String>,
    /// ECS task scale-in protection, for jobs longer than the stop timeout: `auto` takes it while there
    /// is work, where ECS offers it; `long` only while a row of a command is in work that may take
    /// longer. [default: off, or long if commands are served]
    #[arg(long, env = "LONGSHORE_TASK_PROTECTION", value_name = "MODE", help_heading = "Queue")]
    pub task_protection: Option<String>,

    /// What this fleet serves: `renditions`, `commands` (rows of `longshore submit`), or both with a
    /// comma between them. Messages for others go back to the queue. [default: renditions]
    #[arg(long, env = "LONGSHORE_JOBS", value_name = "LIST", help_heading = "Commands")]
    pub jobs: Option<String>,
    /// Bucket that jobs are kept in: scripts, rows, and what became of them. Whoever may write to it
    /// and to the queue can have anything run. Required for commands.
    #[arg(long, env = "LONGSHORE_WORK_BUCKET", value_name = "BUCKET", help_heading = "Commands")]
    pub work_bucket: Option<String>,
    /// Folder that each row has a folder of its own in while it is in work. [default: the system's
    /// folder for temporary files]
    #[arg(long, env = "LONGSHORE_WORK_DIR", value_name = "DIR", help_heading = "Commands")]
    pub work_dir: Option<String>,

    /// Bucket that renditions are stored in, as NAME/KEY of the source. Required for renditions.
    #[arg(long, env = "LONGSHORE_OUTPUT_BUCKET", value_name = "BUCKET", help_heading = "Buckets")]
    pub output_bucket: Option<String>,
    /// Buckets that events may name, separated by commas; others go to the dead-letter queue.
    /// [default: any that the credentials can read]
    #[arg(long, env = "LONGSHORE_INPUT_BUCKETS", value_name = "BUCKETS", help_heading = "Buckets")]
    pub input_buckets: Option<String>,
    /// Only keys that start with this are pictures to work on; others are ignored. [default: all]
    #[arg(long, env = "LONGSHORE_INPUT_PREFIX", value_name = "PREFIX", help_heading = "Buckets")]
    pub input_prefix: Option<String>,
    /// Only keys that end in one of these are pictures to work on; `*` takes every key. [default:
    /// .jpg,.jpeg,.jpe,.jfif,.png,.webp,.gif,.tif,.tiff,.bmp]
    #[arg(long, env = "LONGSHORE_SUFFIXES", value_name = "LIST", help_heading = "Buckets")]
    pub suffixes: Option<String>,
    /// Whether suffixes tell upper from lower case: `ignore` or `match`. [default: ignore]
    #[arg(long, env = "LONGSHORE_SUFFIX_CASE", value_name = "MODE", help_heading = "Buckets")]
    pub suffix_case: Option<String>,
    /// `Cache-Control` of the renditions, like `public, max-age=31536000, immutable`. [default:
    /// none]
    #[arg(long, env = "LONGSHORE_CACHE_CONTROL", value_name = "VALUE", help_heading = "Buckets")]
    pub cache_control: Option<String>,

    /// AWS region. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_REGION", value_name = "REGION", help_heading = "AWS")]
    pub region: Option<String>,
    /// Endpoint of S3 and SQS, for emulators; S3 is then addressed path-style. [default: as the AWS
    /// SDK finds it, AWS_ENDPOINT_URL included]
    #[arg(long, env = "LONGSHORE_ENDPOINT_URL", value_name = "URL", help_heading = "AWS")]
    pub endpoint_url: Option<String>,
    /// Profile of the AWS configuration files. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_PROFILE", value_name = "NAME", help_heading = "AWS")]
    pub profile: Option<String>,

    /// Address of health, metrics and the page, or `off`. Beyond loopback the page takes a token.
    /// [default: 127.0.0.1:9464]
    #[arg(long, env = "LONGSHORE_ADMIN_ADDR", value_name = "ADDRESS", help_heading = "Telling")]
    pub admin_addr: Option<String>,
    /// Namespace in CloudWatch that metrics are published to once a minute, as lines in the embedded metric
    /// format on standard output; or `off`. [default: off]
    #[arg(long, env = "LONGSHORE_EMF_NAMESPACE", value_name = "NAME", help_heading = "Telling")]
    pub emf_namespace: Option<String>,
    /// Traces: `otlp` sends spans of all that is done to a collector, where OpenTelemetry's own variables say
    /// (OTEL_EXPORTER_OTLP_ENDPOINT …); or `off`. [default: off]
    #[arg(long, env = "LONGSHORE_TRACES", value_name = "MODE", help_heading = "Telling")]
    pub traces: Option<String>,
    /// What must be known to see the page and the metrics: 16 characters or more. Health needs none.
    /// [default: none]
    #[arg(
        long,
        env = "LONGSHORE_ADMIN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = "Telling"
    )]
    pub admin_token: Option<String>,
    /// Log lines as `json` or `text`. [default: text on a terminal, json elsewhere]
    #[arg(long, env = "LONGSHORE_LOG_FORMAT", value_name = "FORMAT", help_heading = "Telling")]
    pub log_format: Option<String>,
    /// Which log lines: `error`, `warn`, `info`, `debug`, or a filter like
    /// `info,longshore::worker=debug`. [default: info]
    #[arg(long, env = "LONGSHORE_LOG", value_name = "FILTER", help_heading = "Telling")]
    pub log: Option<String>,
}
