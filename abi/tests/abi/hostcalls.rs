//! What comes of calls to the host, whatever it answers.

use std::time::{Duration, SystemTime};

use weir_abi::hostcalls::*;
use weir_abi::types::{BufferType, LogLevel, MapType, MetricType, Status};

use super::host::host;

type Call = fn() -> Result<(), Status>;

/// Every host call.
const CALLS: [(&str, Call); 21] = [
    ("proxy_log", || log(LogLevel::Info, "a")),
    ("proxy_get_buffer_bytes", || get_buffer(BufferType::HttpRequestBody, 0, 9).map(drop)),
    ("proxy_set_buffer_bytes", || set_buffer(BufferType::HttpRequestBody, 0, 9, b"a")),
    ("proxy_get_current_time_nanoseconds", || get_current_time().map(drop)),
    ("proxy_get_current_time_nanoseconds", || get_current_time_nanoseconds().map(drop)),
    ("proxy_set_tick_period_milliseconds", || set_tick_period(Duration::MAX)),
    ("proxy_set_effective_context", || set_effective_context(9)),
    ("proxy_send_local_response", || send_http_response(429, "a", &[("b", b"\xff")], b"c")),
    ("proxy_continue_stream", resume_http_request),
    ("proxy_continue_stream", resume_http_response),
    ("proxy_close_stream", reset_http_request),
    ("proxy_close_stream", reset_http_response),
    ("proxy_get_header_map_pairs", || get_map_bytes(MapType::HttpRequestHeaders).map(drop)),
    ("proxy_add_header_map_value", || add_map_value_bytes(MapType::HttpRequestHeaders, "a", b"\xff")),
    ("proxy_replace_header_map_value", || set_map_value_bytes(MapType::HttpRequestHeaders, "a", Some(b"\xff"))),
    ("proxy_remove_header_map_value", || set_map_value_bytes(MapType::HttpRequestHeaders, "a", None)),
    ("proxy_define_metric", || define_metric(MetricType::Counter, "a").map(drop)),
    ("proxy_increment_metric", || increment_metric(9, -1)),
    ("proxy_record_metric", || record_metric(9, 1)),
    ("proxy_set_property", || set_property(&["a", "b"], Some(b"c"))),
    ("proxy_set_shared_data", || set_shared_data("a", Some(b"b"), Some(3))),
];

/// Those for which nothing to be found is an answer.
const FINDS: [(&str, Call); 3] = [
    ("proxy_get_buffer_bytes", || get_buffer(BufferType::PluginConfiguration, 0, 9).map(drop)),
    ("proxy_get_property", || get_property(&["a", "b"]).map(drop)),
    ("proxy_get_shared_data", || get_shared_data("a").map(drop)),
];

/// All statuses that the ABI names, and some that it does not.
const STATUSES: [(u32, Status); 12] = [
    (1, Status::NotFound),
    (2, Status::BadArgument),
    (3, Status::SerializationFailure),
    (4, Status::ParseFailure),
    (5, Status::Other(5)),
    (6, Status::Other(6)),
    (7, Status::Empty),
    (8, Status::CasMismatch),
    (9, Status::Other(9)),
    (10, Status::InternalFailure),
    (12, Status::Other(12)),
    (u32::MAX, Status::Other(u32::MAX)),
];

#[test]
fn every_call_hands_every_status_back() {
    for (name, call) in CALLS.into_iter().chain(FINDS) {
        host(|host| (host.status, host.calls) = (0, Default::default()));
        assert_eq!(call(), Ok(()), "{name}");
        let finds = FINDS.iter().any(|(known, _)| *known == name);
        for (number, status) in STATUSES {
            host(|host| host.status = number);
            let wanted = if finds && status == Status::NotFound { Ok(()) } else { Err(status) };
            assert_eq!(call(), wanted, "{name}: {number}");
        }
        assert_eq!(host(|host| host.calls.remove(name)), Some(1 + STATUSES.len()), "{name}");
    }
}

#[test]
fn header_names_and_values_are_any_bytes() {
    let mut map = 2u32.to_le_bytes().to_vec();
    for size in [2u32, 3, 1, 0] {
        map.extend(size.to_le_bytes());
    }
    map.extend(b"\xc3\x28\0\xff\0\xfe\0x\0\0");
    host(|host| host.data = map);
    let map = get_map_bytes(MapType::HttpRequestHeaders).unwrap();
    assert_eq!(map.pairs(), [(&b"\xc3\x28"[..], &b"\xff\0\xfe"[..]), (b"x", b"")]);
}

#[test]
fn what_is_empty_is_there_and_what_is_not_found_is_not() {
    assert_eq!(get_property(&["a"]), Ok(Some(vec![])));
    assert_eq!(get_buffer(BufferType::HttpResponseBody, 0, 9), Ok(Some(vec![])));
    host(|host| host.status = 1);
    assert_eq!(get_property(&["a"]), Ok(None));
    assert_eq!(get_buffer(BufferType::HttpResponseBody, 0, 9), Ok(None));
    assert_eq!(get_map_bytes(MapType::HttpResponseTrailers), Err(Status::NotFound));
}

#[test]
fn a_value_of_shared_data_comes_with_its_number_if_it_has_one() {
    for (status, data, cas, wanted) in [
        (0, &b"v"[..], 3, Ok((Some(b"v".to_vec()), Some(3)))),
        (0, b"", 3, Ok((Some(vec![]), Some(3)))),
        (0, b"v", 0, Ok((Some(b"v".to_vec()), None))),
        (1, b"v", 3, Ok((None, None))),
        (8, b"v", 3, Err(Status::CasMismatch)),
    ] {
        host(|host| (host.status, host.data, host.cas) = (status, data.to_vec(), cas));
        assert_eq!(get_shared_data("k"), wanted, "{status} {data:?} {cas}");
    }
}

#[test]
fn any_time_is_one_or_is_refused() {
    for (nanos, wanted) in [(0, Duration::ZERO), (u64::MAX, Duration::from_nanos(u64::MAX))] {
        host(|host| host.time = nanos);
        assert_eq!(get_current_time(), Ok(SystemTime::UNIX_EPOCH + wanted));
    }
}
