//! Identifies the holder of the lease, and detects that a holder on this machine no longer exists.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// The numbers of the lease owners that exist in this process. An owner that was dropped is known to be gone.
static HERE: Mutex<Option<HashSet<u64>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(0);

fn here() -> MutexGuard<'static, Option<HashSet<u64>>> {
    HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The identity of a holder of the lease. It is shown to users. Other processes use it to detect that the holder was
/// killed.
#[derive(Debug)]
pub struct LeaseOwner {
    name: String,
    /// Identifies the boot of the machine and the namespace of process ids, which differs between containers.
    machine: String,
    process: String,
    number: u64,
}

impl LeaseOwner {
    pub fn new() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let names = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let boot = read("/proc/sys/kernel/random/boot_id");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        here().get_or_insert_default().insert(number);
        let id = std::process::id();
        Self {
            name: format!("process {id} on {}", read("/proc/sys/kernel/hostname")),
            machine: format!("{boot}/{}", names.display()),
            process: format!("{id}/{}", Process::of(id).start().unwrap_or_default()),
            number,
        }
    }

    pub fn to_text(&self) -> String {
        format!("{} #{}#{}#{}", self.name, self.machine, self.process, self.number)
    }

    /// Whether `holder` was a process on this machine that no longer exists.
    pub fn knows_gone(&self, holder: &str) -> bool {
        let parts: Vec<&str> = holder.split('#').collect();
        let [_, machine, process, number] = parts.as_slice() else { return false };
        if *machine != self.machine || self.machine.starts_with('/') {
            return false;
        }
        if *process == self.process {
            let number: Option<u64> = number.parse().ok();
            return !number.is_some_and(|number| here().get_or_insert_default().contains(&number));
        }
        let Some((id, start)) = process.split_once('/') else { return false };
        id.parse().is_ok_and(|id| Process::of(id).is_not(start))
    }
}

impl Drop for LeaseOwner {
    fn drop(&mut self) {
        here().get_or_insert_default().remove(&self.number);
    }
}

/// What is known about a process.
#[derive(Debug, PartialEq)]
enum Process {
    Gone,
    /// When the process started, in clock ticks since the machine was booted.
    Started(String),
    /// The process exists, but its start time cannot be read.
    Hidden,
}

impl Process {
    fn of(id: u32) -> Self {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        // Its files in `/proc` are less reliable, because they can be hidden from a service (`ProtectProc=`,
        // `hidepid`).
        let is_there = pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH));
        Self::from_stat(is_there, std::fs::read_to_string(format!("/proc/{id}/stat")).ok().as_deref())
    }

    fn from_stat(is_there: bool, stat: Option<&str>) -> Self {
        // The name of the process, in brackets, may contain any characters.
        let behind = stat.and_then(|stat| stat.rsplit_once(") ")).map_or("", |(_, behind)| behind);
        let mut fields = behind.split(' ');
        match (is_there, fields.next(), fields.nth(18)) {
            (false, ..) | (_, Some("Z" | "X"), _) => Self::Gone,
            (_, _, Some(start)) => Self::Started(start.to_owned()),
            _ => Self::Hidden,
        }
    }

    fn start(self) -> Option<String> {
        match self {
            Self::Started(start) => Some(start),
            _ => None,
        }
    }

    /// Whether the process that started at `then` is certainly gone. Another process may have its id now.
    fn is_not(&self, then: &str) -> bool {
        match self {
            Self::Gone => true,
            Self::Started(start) => !then.is_empty() && start != then,
            Self::Hidden => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";

    #[test]
    fn a_process_that_is_hidden_is_not_gone() {
        assert_eq!(Process::from_stat(true, None), Process::Hidden);
        assert!(!Process::from_stat(true, None).is_not("4711"));
        assert!(!Process::from_stat(true, Some(STAT)).is_not("4711"));
    }

    #[test]
    fn a_process_is_gone_if_it_has_ended_or_another_has_its_id() {
        assert!(Process::from_stat(false, None).is_not("4711"));
        assert!(Process::from_stat(true, Some(STAT)).is_not("4712"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = child.id();
        child.wait().unwrap();
        assert_eq!(Process::of(id), Process::Gone);
        assert_eq!(Process::from_stat(true, Some(&STAT.replace(" S ", " Z "))), Process::Gone);
        assert!(matches!(Process::of(std::process::id()), Process::Started(_)));
    }
}
