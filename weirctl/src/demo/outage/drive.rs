//! Makes an outage's calls, through one Envoy, with the two layers above it: an agent's loop over an SDK. They do what the real
//! ones do: `tests/envoy/outage.rs` drives those.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{AGENT_TRIES, PER_SECOND, PHASES, SDK_RETRIES};

/// Of the SDK before a retry, where the answer does not say.
const BACKOFF: Duration = Duration::from_millis(20);
/// Of the agent before its next try.
const PAUSE: Duration = Duration::from_millis(20);

/// What users saw in one phase.
#[derive(Debug, Default)]
pub struct Seen {
    /// Those who wanted something.
    pub actions: AtomicU64,
    /// Those who got it.
    pub well: AtomicU64,
}

/// What users saw in each phase: an action belongs to the one that it began in.
pub type Users = [Seen; PHASES.len()];

/// Lets users ask, each when his time has come, for so long; ends when all have an answer or gave up. `phase` is what goes on.
///
/// # Errors
/// Envoy cannot be reached.
pub async fn drive(lasts: Duration, envoy: SocketAddr, phase: Arc<AtomicUsize>, users: Arc<Users>) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let agent = Agent { client: Client::builder(TokioExecutor::new()).build(connector), envoy };
    let begin = Instant::now();
    let mut running: JoinSet<Result<()>> = JoinSet::new();
    for number in 0.. {
        let at = Duration::from_secs(1) * number / PER_SECOND;
        if at >= lasts {
            break;
        }
        sleep_until(begin + at).await;
        let (agent, users, phase) = (agent.clone(), Arc::clone(&users), phase.load(Ordering::Relaxed));
        running.spawn(async move {
            let seen = &users[phase];
            seen.actions.fetch_add(1, Ordering::Relaxed);
            if agent.action(number).await? {
                seen.well.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

#[derive(Clone)]
struct Agent {
    client: Client<HttpConnector, Full<Bytes>>,
    envoy: SocketAddr,
}

impl Agent {
    /// What a user wants: whether he got it.
    async fn action(&self, number: u32) -> Result<bool> {
        let question = format!("What is weir number {number}?");
        for attempt in 1..=AGENT_TRIES {
            if self.sdk(&question).await? {
                return Ok(true);
            }
            if attempt < AGENT_TRIES {
                sleep(PAUSE * attempt).await;
            }
        }
        Ok(false)
    }

    /// A call of an SDK: it says which try it is, waits as it is told, and stops when it is told.
    async fn sdk(&self, question: &str) -> Result<bool> {
        let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}).to_string();
        for retry in 0..=SDK_RETRIES {
            let request = Request::post(format!("http://{}/v1/chat/completions", self.envoy))
                .header("content-type", "application/json")
                .header("x-stainless-retry-count", retry)
                .header("x-demo", "tokens=3,reasoning=0,tools=0")
                .body(Full::new(body.clone().into()))?;
            let response = self.client.request(request).await.context("a call that Envoy did not take")?;
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let stop = header("x-should-retry") == Some("false");
            let wait = header("retry-after-ms").and_then(|ms| ms.parse().ok()).map_or(BACKOFF, Duration::from_millis);
            let fine = response.status().is_success();
            response.into_body().collect().await.context("an answer that broke off")?;
            if fine || stop {
                return Ok(fine);
            }
            if retry < SDK_RETRIES {
                sleep(wait).await;
            }
        }
        Ok(false)
    }
}
