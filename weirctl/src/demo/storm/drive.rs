//! Makes a storm's calls, through one Envoy. It measures nothing: what there is to know, Envoy says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{AGENT, Call, Plan};

/// Soonest that a caller of the run comes again after a refusal that names no time, or a shorter one.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long the upstream takes for an answer.
const PREFILL_MS: u32 = 40;

/// Makes all calls, each when its time has come, and counts in `made` the answers that there were. Users take a refusal for
/// an answer; the run comes again when it was told to, until it has what it wants or the time is over.
///
/// # Errors
/// Envoy cannot be reached.
pub async fn drive(plan: Arc<Plan>, envoy: SocketAddr, made: Arc<AtomicU64>) -> Result<()> {
    // HTTP/1.1: a connection for each that calls, so that Envoy's workers share them.
    let gate = Gate { client: Client::builder(TokioExecutor::new()).build(connector()), envoy, made };
    let begin = Instant::now();
    let end = begin + plan.lasts;
    let mut running: JoinSet<Result<()>> = JoinSet::new();
    for (user, calls) in plan.users.iter().enumerate() {
        let (gate, calls) = (gate.clone(), calls.clone());
        running.spawn(async move {
            let name = format!("user-{user}");
            for (pause, call) in calls {
                let wakes = Instant::now() + pause;
                if wakes >= end {
                    break;
                }
                sleep_until(wakes).await;
                gate.call(&name, call).await?;
            }
            Ok(())
        });
    }
    for (caller, calls) in plan.callers.iter().enumerate() {
        let (gate, calls, run_at) = (gate.clone(), calls.clone(), begin + plan.run_at);
        running.spawn(async move {
            let mut rng = fastrand::Rng::with_seed(caller as u64);
            sleep_until(run_at).await;
            for call in calls {
                while Instant::now() < end
                    && let Some(after) = gate.call(AGENT, call).await?
                {
                    // A little apart from the others who were told the same.
                    sleep(after.max(PATIENCE).mul_f64(1.0 + 0.2 * rng.f64())).await;
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

#[derive(Clone)]
struct Gate {
    client: Client<HttpConnector, Full<Bytes>>,
    envoy: SocketAddr,
    made: Arc<AtomicU64>,
}

impl Gate {
    /// Makes a call. If it was refused: when it may come again.
    async fn call(&self, user: &str, call: Call) -> Result<Option<Duration>> {
        let Call { number, input, output } = call;
        // Some four characters make a token.
        let prompt = "weir ".repeat(input as usize * 4 / 5);
        let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]});
        let request = Request::post(format!("http://{}/v1/chat/completions", self.envoy))
            .header("content-type", "application/json")
            .header("x-user", user)
            .header("x-case", format!("{number}:{}", input + output))
            .header("x-demo", format!("prompt={input},cached=0,tokens={output},prefill={PREFILL_MS},gap=0"))
            .body(Full::new(body.to_string().into()))?;
        let response = self.client.request(request).await.context("a call that Envoy did not take")?;
        let refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
        let after = response.headers().get("retry-after-ms").and_then(|ms| ms.to_str().ok()?.parse().ok());
        response.into_body().collect().await.context("an answer that broke off")?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(refused.then(|| Duration::from_millis(after.unwrap_or_default())))
    }
}
