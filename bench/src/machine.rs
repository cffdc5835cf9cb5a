//! What is asked of the machine: which core a thread runs on, and what a process has used, as `/proc` has it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that there are, and which is whose under load.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    allowed: CpuSet,
    envoy: usize,
    load: usize,
}

impl Cores {
    /// The first two that this process may use: one for Envoy, one for everything else. With only one it is shared, and
    /// rates mean little.
    ///
    /// # Errors
    /// The system does not say.
    pub fn pick() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("sched_getaffinity")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let envoy = cores.next().context("no core to run on")?;
        Ok(Self { allowed, envoy, load: cores.next().unwrap_or(envoy) })
    }

    /// Whether Envoy has a core of its own.
    pub fn apart(&self) -> bool {
        self.envoy != self.load
    }

    /// Binds the calling thread, the load's, to its core.
    ///
    /// # Errors
    /// The system refuses.
    pub fn bind_load(&self) -> Result<()> {
        bind(None, &only(self.load))
    }

    /// Lets the calling thread, and what it starts, run on all cores again.
    ///
    /// # Errors
    /// The system refuses.
    pub fn free_load(&self) -> Result<()> {
        bind(None, &self.allowed)
    }

    /// Binds all threads that an Envoy has to its core; those that they start inherit that.
    ///
    /// # Errors
    /// The process is gone, or the system refuses.
    pub fn bind_envoy(&self, pid: u32) -> Result<()> {
        for task in tasks(pid)? {
            let thread = task.file_name().and_then(|name| name.to_str()?.parse().ok()).and_then(Pid::from_raw);
            bind(Some(thread.context("a task without a number")?), &only(self.envoy))?;
        }
        Ok(())
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

fn bind(thread: Option<Pid>, cores: &CpuSet) -> Result<()> {
    sched_setaffinity(thread, cores).context("sched_setaffinity")
}

/// The threads of a process, as directories.
fn tasks(pid: u32) -> Result<Vec<PathBuf>> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&path).with_context(|| path.clone())?;
    tasks.map(|task| Ok(task?.path())).collect()
}

/// CPU time that a process has used, user and system, in ns: the sum over its threads that live.
///
/// `/proc/PID/stat` has the same in ticks of 10 ms, too coarse for windows of a second.
///
/// # Errors
/// The process is gone, or the kernel keeps no `schedstat`.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in tasks(pid)? {
        let path = task.join("schedstat");
        let stat = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let run = stat.split_whitespace().next().context("schedstat is empty")?;
        sum += run.parse::<u64>().with_context(|| path.display().to_string())?;
    }
    Ok(sum)
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// The process is gone.
pub fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kb = kb.trim().strip_suffix("kB").context("VmRSS is not in kB")?;
    let kb: u64 = kb.trim().parse()?;
    ensure!(kb > 0, "{path}: VmRSS is 0");
    Ok(kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_up_as_cpu_time_and_memory_as_resident() {
        let me = std::process::id();
        let before = cpu_ns(me).unwrap();
        let block = vec![1u8; 64 << 20];
        let sum = block.iter().map(|b| u64::from(*b)).sum::<u64>();
        assert_eq!(std::hint::black_box(sum), 64 << 20);
        assert!(cpu_ns(me).unwrap() > before);
        assert!(resident(me).unwrap() > 64 << 20);
    }
}
