//! Envoy's gRPC protocol `envoy.service.ratelimit.v3` over the counters.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit as PbUnit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration as PbDuration;
use tonic::{Request, Response, Status};

use crate::counters::{Count, Counters};
use crate::rules::{Rate, Rules, Unit};

/// What was asked of one descriptor, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its entries, such as `unit=tokens,tenant=acme`.
    pub descriptor: String,
    /// The hits that were counted.
    pub hits: u64,
    /// Its counter afterwards; nothing if no limit is set for it.
    pub count: Option<Count>,
}

/// A running Rate Limit Service; it ends when this goes.
#[derive(Debug)]
pub struct Rls {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Rls {
    /// Starts one on threads of its own. Whatever it is asked is told to `tell`, as long as somebody listens there.
    ///
    /// # Errors
    /// Nothing can listen there.
    pub fn start(listen: SocketAddr, rules: Rules, counters: Box<dyn Counters>, tell: Sender<Asked>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(listen)).with_context(|| listen.to_string())?;
        let address = listener.local_addr()?;
        let service = RateLimitServiceServer::new(Service { rules, counters, tell });
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok(Self { address, _runtime: runtime })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

struct Service {
    rules: Rules,
    counters: Box<dyn Counters>,
    tell: Sender<Asked>,
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(&self, asked: Request<RateLimitRequest>) -> Result<Response<RateLimitResponse>, Status> {
        let asked = asked.into_inner();
        if asked.domain != self.rules.domain {
            return Err(Status::not_found(format!("no limits for the domain `{}`", asked.domain)));
        }
        // A descriptor's own hits go before the request's; without either it is one.
        let of_all = u64::from(asked.hits_addend.max(1));
        let mut statuses = Vec::with_capacity(asked.descriptors.len());
        for descriptor in asked.descriptors {
            statuses.push(self.count(descriptor, of_all)?);
        }
        let over = statuses.iter().any(|status| status.code == Code::OverLimit as i32);
        let overall_code = if over { Code::OverLimit } else { Code::Ok } as i32;
        Ok(Response::new(RateLimitResponse { overall_code, statuses, ..Default::default() }))
    }
}

impl Service {
    fn count(&self, descriptor: RateLimitDescriptor, of_all: u64) -> Result<DescriptorStatus, Status> {
        if descriptor.is_negative_hits {
            return Err(Status::unimplemented("hits cannot be given back here"));
        }
        let hits = descriptor.hits_addend.map_or(of_all, |hits| hits.value);
        let entries: Vec<_> = descriptor.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let name: Vec<_> = entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let name = name.join(",");
        let rate = self.rules.find(&entries);
        let count = rate.map(|rate| self.counters.hit(rate, &name, hits)).transpose();
        let count = count.map_err(|error| Status::unavailable(error.to_string()))?;
        // Whoever started this may not want to hear of it any more.
        let _ = self.tell.send(Asked { descriptor: name, hits, count });
        Ok(match (rate, count) {
            (Some(rate), Some(count)) => status(rate, count),
            _ => DescriptorStatus { code: Code::Ok as i32, ..Default::default() },
        })
    }
}

fn status(rate: Rate, count: Count) -> DescriptorStatus {
    let unit = match rate.unit {
        Unit::Second => PbUnit::Second,
        Unit::Minute => PbUnit::Minute,
        Unit::Hour => PbUnit::Hour,
        Unit::Day => PbUnit::Day,
    };
    DescriptorStatus {
        code: if count.over { Code::OverLimit } else { Code::Ok } as i32,
        current_limit: Some(RateLimit {
            requests_per_unit: rate.requests_per_unit,
            unit: unit as i32,
            ..Default::default()
        }),
        limit_remaining: u32::try_from(count.left).unwrap_or(u32::MAX),
        duration_until_reset: Some(duration(count.reset)),
        quota: None,
    }
}

fn duration(of: Duration) -> PbDuration {
    // A window is a day at most.
    PbDuration { seconds: of.as_secs() as i64, nanos: of.subsec_nanos() as i32 }
}
