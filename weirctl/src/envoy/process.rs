//! Starts an Envoy, waits until it serves, and ends it when its handle goes.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::admin::Admin;
use super::binary;
use super::bootstrap::Bootstrap;

/// Longest wait until Envoy serves: on a busy machine V8 takes seconds to compile the filter.
const START: Duration = Duration::from_secs(60);

/// Longest wait for its end after it was asked to.
const STOP: Duration = Duration::from_secs(5);

/// Between two looks at a process or a file.
const POLL: Duration = Duration::from_millis(10);

/// How an Envoy is started.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    workers: u32,
    log_level: String,
    dir: Option<PathBuf>,
    prefix: Vec<String>,
    show_output: bool,
    poll: Duration,
}

impl Launch {
    /// This binary with two workers.
    pub fn new(binary: &Path) -> Self {
        Self {
            binary: binary.into(),
            workers: 2,
            log_level: "warning".into(),
            dir: None,
            prefix: Vec::new(),
            show_output: false,
            poll: POLL,
        }
    }

    /// How long to wait between two looks whether it serves; short where its start is measured.
    pub fn poll(self, poll: Duration) -> Self {
        Self { poll, ..self }
    }

    /// How many worker threads.
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// From which level on Envoy logs: `trace` to `critical`, or `off`.
    pub fn log_level(self, level: &str) -> Self {
        Self { log_level: level.into(), ..self }
    }

    /// Keeps bootstrap and log in this directory instead of one that goes with the handle.
    pub fn keep_in(self, dir: &Path) -> Self {
        Self { dir: Some(dir.into()), ..self }
    }

    /// Starts it through another command, such as `["taskset", "-c", "0"]`; that command must exec.
    pub fn through(self, prefix: &[&str]) -> Self {
        Self { prefix: prefix.iter().map(|s| s.to_string()).collect(), ..self }
    }

    /// Lets its standard output be ours, instead of a part of its log.
    pub fn show_output(self, show_output: bool) -> Self {
        Self { show_output, ..self }
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// It refuses the bootstrap (its log's end is in the error), or does not serve within a minute.
    pub fn start(&self, bootstrap: &Bootstrap) -> Result<Envoy> {
        self.start_json(&bootstrap.to_json(), bootstrap.listen.len())
    }

    /// The same with a bootstrap of one's own making. Its admin address must have port 0; it has `listeners`
    /// listeners, named `0`, `1` …
    ///
    /// # Errors
    /// As [`Launch::start`].
    pub fn start_json(&self, bootstrap: &serde_json::Value, listeners: usize) -> Result<Envoy> {
        let own = TempDir::with_prefix("weir-envoy-")?;
        let dir = self.dir.as_deref().unwrap_or(own.path()).to_owned();
        let (config, log, admin) = (dir.join("envoy.json"), dir.join("envoy.log"), own.path().join("admin"));
        fs::write(&config, serde_json::to_vec_pretty(bootstrap)?)?;
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        // Truncated, then appended to: an access log at /dev/stdout is the same file, opened once more.
        drop(File::create(&log)?);
        let output = File::options().append(true).open(&log)?;
        let started = Instant::now();
        let mut child = command
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .args(["--concurrency", &self.workers.to_string(), "--log-level", &self.log_level])
            // Many run at once in tests; access logs are to be read soon after a call.
            .args(["--disable-hot-restart", "--file-flush-interval-msec", "50"])
            .stdin(Stdio::null())
            .stdout(if self.show_output { Stdio::inherit() } else { output.try_clone()?.into() })
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} does not start", self.binary.display()))?;
        let guard = match Guard::over(&child, own.path()) {
            Ok(guard) => guard,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let mut envoy = Envoy {
            child,
            _guard: guard,
            admin: Admin::at(SocketAddr::from(([127, 0, 0, 1], 0))),
            listeners: Vec::new(),
            log,
            _dir: own,
        };
        envoy.wait(&admin, listeners, started, self.poll)?;
        Ok(envoy)
    }
}

/// A running Envoy; it ends when this goes.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    _guard: Guard,
    admin: Admin,
    listeners: Vec<SocketAddr>,
    log: PathBuf,
    _dir: TempDir,
}

impl Envoy {
    /// Brings Envoy if it is not there, and starts it with two workers.
    ///
    /// # Errors
    /// As [`binary::bring`] and [`Launch::start`].
    pub fn start(bootstrap: &Bootstrap) -> Result<Self> {
        Launch::new(&binary::bring()?).start(bootstrap)
    }

    /// Its admin interface.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Where its first listener listens.
    pub fn address(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// Where its listeners listen, in the bootstrap's order.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it did by itself.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it; access logs are written out by then.
    pub fn stop(mut self) {
        self.end();
    }

    fn wait(&mut self, admin: &Path, listeners: usize, started: Instant, poll: Duration) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("Envoy ended at its start ({status}):\n{}", tail(&self.log()));
            }
            if let Some(address) = fs::read_to_string(admin).ok().and_then(|text| text.trim().parse().ok()) {
                self.admin = Admin::at(address);
                if self.admin.ready() {
                    self.listeners = self.admin.listeners()?;
                    if self.listeners.len() >= listeners {
                        return Ok(());
                    }
                }
            }
            if started.elapsed() > START {
                bail!("Envoy does not serve after {START:?}:\n{}", tail(&self.log()));
            }
            std::thread::sleep(poll);
        }
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let asked = Instant::now();
        if self.admin.address.port() != 0 && self.admin.post("/quitquitquit").is_ok() {
            while asked.elapsed() < STOP {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(POLL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.end();
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Ends a process and removes its directory when ours is gone, however that came: a shell that reads from a pipe which
/// closes with us.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    fn over(child: &Child, dir: &Path) -> Result<Self> {
        const SCRIPT: &str = r#"trap '' INT TERM HUP; read -r _; kill -9 "$1"; rm -rf "$2""#;
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", &child.id().to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("sh does not start")?;
        Ok(Self(shell))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before the pipe closes: the number of the process it watched may be another's by then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
