//! Serves limits from a file until it is stopped, and prints what it is asked.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use weir_rls::{Asked, Counters, Memory, Rls, Rules};

const USAGE: &str = "usage: weir-rls [LIMITS [ADDRESS [redis://…]]]";

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.len() > 3 || given.iter().any(|argument| argument.starts_with('-')) {
        bail!(USAGE);
    }
    let argument = |at: usize, otherwise| given.get(at).map_or(otherwise, String::as_str);
    let limits = argument(0, "envoy/global-limits/ratelimit.yaml");
    let address: SocketAddr = argument(1, "127.0.0.1:8081").parse().context(USAGE)?;
    let rules = Rules::read(Path::new(limits))?;
    let counters: Box<dyn Counters> = match given.get(2) {
        None => Box::new(Memory::new(&rules)?),
        Some(url) => in_redis(&rules, url)?,
    };
    let (tell, told) = std::sync::mpsc::channel();
    let rls = Rls::start(address, rules, counters, tell)?;
    println!("Limits of {limits} at {}.", rls.address());
    for Asked { descriptor, hits, count } in told {
        match count {
            Some(count) if count.over => println!("{descriptor}: +{hits}, over the limit"),
            Some(count) => println!("{descriptor}: +{hits}, {} left", count.left),
            None => println!("{descriptor}: +{hits}, no limit"),
        }
    }
    Ok(())
}

#[cfg(feature = "redis")]
fn in_redis(rules: &Rules, url: &str) -> Result<Box<dyn Counters>> {
    Ok(Box::new(weir_rls::Redis::new(rules, url)?))
}

#[cfg(not(feature = "redis"))]
fn in_redis(_: &Rules, url: &str) -> Result<Box<dyn Counters>> {
    bail!("{url}: this was built without the feature `redis`")
}
