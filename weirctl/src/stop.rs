//! Ctrl-C and its like, so that what was started is ended in order.

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal as unix_signal};
use tokio::sync::watch;

/// The exit code of a command that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// Tells when the command is to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Takes over SIGINT, SIGTERM and SIGHUP from now on.
pub fn signal(runtime: &Runtime) -> Stop {
    let (raise, raised) = watch::channel(false);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let raise = raise.clone();
        let _guard = runtime.enter();
        // Where a signal cannot be taken over, it ends the process by itself.
        if let Ok(mut signals) = unix_signal(kind) {
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    raise.send_replace(true);
                }
            });
        }
    }
    Stop(raised)
}

impl Stop {
    /// Whether it has come.
    pub fn raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it.
    pub async fn wait(&self) {
        let mut raised = self.0.clone();
        // The sender lives as long as the runtime; were it gone, stopping is right.
        let _ = raised.wait_for(|raised| *raised).await;
    }
}
