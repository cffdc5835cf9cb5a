//! What of a filter's messages comes to the host's log.

use weir_abi::types::LogLevel;

use super::host::host;

fn logged() -> Vec<(u32, String)> {
    host(|host| std::mem::take(&mut host.logged))
}

/// One test: the level is the process's.
#[test]
fn messages_come_at_their_level_cut_to_a_length_and_of_a_flood_only_so_many() {
    weir_abi::set_log_level(LogLevel::Info);
    weir_abi::set_log_level(LogLevel::Info);
    host(|host| host.time = 5_000_000_000);
    log::error!("e");
    log::warn!("w {}", 1);
    log::info!("i");
    log::debug!("d");
    log::trace!("t");
    assert_eq!(logged(), [(4, "e".to_owned()), (3, "w 1".to_owned()), (2, "i".to_owned())]);
    host(|host| host.calls.clear());
    for _ in 0..1_000 {
        log::debug!("d");
    }
    assert!(host(|host| host.calls.is_empty()), "a level that is off calls nobody");

    log::error!("{}", "é".repeat(100_000));
    let [(4, cut)] = &logged()[..] else { panic!("one message") };
    assert!(cut.len() <= 1024 && cut.starts_with("éé") && cut.ends_with("é…"), "{cut}");

    host(|host| host.time += 1_000_000_000);
    for n in 0..100_000 {
        log::warn!("{n}");
    }
    log::error!("another level");
    let all = logged();
    assert_eq!(all.len(), 11, "{all:?}");
    assert_eq!(all.last(), Some(&(4, "another level".to_owned())));
    host(|host| host.time += 1_000_000_000);
    log::warn!("later");
    assert_eq!(logged(), [(3, "(99990 messages of this level were left out) later".to_owned())]);

    // A host that refuses everything, and tells no time.
    host(|host| (host.status, host.calls) = (2, Default::default()));
    for n in 0..1_000 {
        log::info!("{n}");
    }
    assert_eq!(host(|host| host.calls.remove("proxy_log")), Some(10));
}
