//! The `log` crate's messages go to the host's log: cut to a length, and not more of them than anyone reads.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::flood::Flood;
use crate::hostcalls;
use crate::types::LogLevel;

/// Longest message, in bytes; what is longer is cut, and ends with [`CUT`].
pub(crate) const MAX_MESSAGE: usize = 1024;
/// What stands in the place of the rest.
const CUT: &str = "…";

/// Says which messages pass. The macros of `log` compare with it before anything else, so one that does not costs no host call.
pub fn set_log_level(level: LogLevel) {
    // A logger that is there already stays.
    let _ = log::set_logger(&Logger);
    log::set_max_level(match level {
        LogLevel::Trace => LevelFilter::Trace,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Critical => LevelFilter::Off,
    });
}

struct Logger;

thread_local! {
    /// Each level has its own: a flood of one leaves room for the others.
    static FLOODS: RefCell<[Flood; 5]> = const { RefCell::new([Flood::new(); 5]) };
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // A host that tells no time has one window, for good.
        let now = hostcalls::get_current_time_nanoseconds().unwrap_or_default();
        let level = record.level();
        let passes = FLOODS.try_with(|floods| {
            let mut floods = floods.try_borrow_mut().ok()?;
            floods.get_mut(level as usize - 1)?.passes(now)
        });
        let Some(left_out) = passes.ok().flatten() else { return };
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        let mut message = Message::default();
        // An error is a message that was cut.
        let _ = match left_out {
            0 => write!(message, "{}", record.args()),
            n => write!(message, "({n} messages of this level were left out) {}", record.args()),
        };
        // A host that does not take it cannot be told so.
        let _ = hostcalls::log(level, &message.0);
    }

    fn flush(&self) {}
}

/// Text up to [`MAX_MESSAGE`]; nothing is written behind a cut.
#[derive(Default)]
struct Message(String);

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_MESSAGE.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let keep = MAX_MESSAGE.saturating_sub(CUT.len());
        match keep.checked_sub(self.0.len()) {
            Some(room) => self.0.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default()),
            // What is there takes the mark's own room.
            None => self.0.truncate(self.0.floor_char_boundary(keep)),
        }
        self.0.push_str(CUT);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_at_a_character_wherever_its_pieces_end() {
        let text = "aé…😀".repeat(400);
        for piece in [1, 2, 3, 7, 100, 1_600] {
            for shift in ["", "x", "xx", "xxx"] {
                let mut message = Message::default();
                let all = format!("{shift}{text}");
                let chars: Vec<char> = all.chars().collect();
                let pieces = chars.chunks(piece).map(|piece| piece.iter().collect::<String>());
                let _ = pieces.map(|piece| message.write_str(&piece)).take_while(Result::is_ok).count();
                let kept = message.0.strip_suffix(CUT).expect("a mark at the end");
                assert!(all.starts_with(kept), "{kept}");
                assert!((MAX_MESSAGE - 6..=MAX_MESSAGE).contains(&message.0.len()), "{}", message.0.len());
            }
        }
    }

    #[test]
    fn a_message_that_fits_is_whole() {
        let mut message = Message::default();
        write!(message, "{}", "x".repeat(MAX_MESSAGE)).expect("it fits");
        assert_eq!(message.0.len(), MAX_MESSAGE);
    }
}
