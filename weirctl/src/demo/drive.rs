//! Drives planned calls through Envoy. It measures nothing: what there is to know, Envoy says.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::plan::{Call, Plan};

/// Drives all calls, so many at a time, and calls `done` after each.
///
/// # Errors
/// Envoy cannot be reached. How a call itself ends is no error.
pub async fn drive(plan: &Plan, envoy: SocketAddr, at_once: usize, done: impl Fn()) -> Result<()> {
    let one = Client::builder(TokioExecutor::new()).build(connector());
    let two = Client::builder(TokioExecutor::new()).http2_only(true).build(connector());
    let turns = Arc::new(Semaphore::new(at_once));
    let mut running: JoinSet<Result<()>> = JoinSet::new();
    for call in &plan.calls {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        let client = if call.http2 { two.clone() } else { one.clone() };
        let call = call.clone();
        running.spawn(async move {
            let _turn = turn;
            make(client, envoy, call).await
        });
        while let Some(ended) = running.try_join_next() {
            ended??;
            done();
        }
    }
    while let Some(ended) = running.join_next().await {
        ended??;
        done();
    }
    Ok(())
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

async fn make(client: Client<HttpConnector, Full<Bytes>>, envoy: SocketAddr, call: Call) -> Result<()> {
    let body = if call.body.is_null() { Bytes::new() } else { call.body.to_string().into() };
    let request = Request::builder()
        .method(call.method)
        .uri(format!("http://{envoy}{}", call.path))
        .header("content-type", "application/json")
        .header("authorization", "Bearer sk-demo-key-that-must-not-show")
        .header("x-tenant", call.tenant)
        .header("x-demo", &call.steer)
        .body(Full::new(body))?;
    let response = client.request(request).await.context("a call that Envoy did not take")?;
    let mut body = response.into_body();
    let mut pieces = 0;
    // An end that is none is what some of the calls are for.
    while let Some(Ok(_)) = body.frame().await {
        pieces += 1;
        if call.abort_after.is_some_and(|most| pieces >= most) {
            // Dropping an unread body closes the stream.
            break;
        }
    }
    Ok(())
}
