//! All that the command has started, wherever it went.
//!
//! On Linux a process that loses its parent becomes a child of this program, the
//! subreaper, and of no other. So the tree below this program is complete. On other
//! systems only the command's own group is known.

use std::io;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The processes of one command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processes {
    main: Pid,
    /// The command has a process group of its own, with the id of its process.
    own_group: bool,
}

impl Processes {
    pub(super) fn new(main: Pid, own_group: bool) -> Self {
        Self { main, own_group }
    }

    /// The command's own process.
    pub(super) fn main(&self) -> Pid {
        self.main
    }

    /// Passes a signal on that came for the command.
    pub(super) fn pass_on(&self, signal: Signal) {
        // It may have ended just now.
        let _ = if self.own_group {
            kill_process_group(self.main, signal)
        } else {
            kill_process(self.main, signal)
        };
    }

    /// Sends a signal to the command and all that it has started.
    pub(super) fn signal_all(&self, signal: Signal) {
        let all = tree::descendants();
        if all.is_empty() {
            self.pass_on(signal);
        }
        for process in all {
            // It may have ended just now.
            let _ = kill_process(process, signal);
        }
    }

    /// Returns how many processes of the command live. The command's own process
    /// must have been waited for.
    pub(super) fn count(&self) -> usize {
        tree::reap(None);
        tree::descendants().len()
    }

    /// Waits for processes that have ended and have no parent but us.
    pub(super) fn reap(&self) {
        tree::reap(Some(self.main));
    }
}

/// Returns the parent of a process. Only Linux tells.
pub(super) fn parent_of(process: Pid) -> Option<Pid> {
    tree::parent_of(process)
}

/// Makes this program the one to which processes come that lose their parent.
pub(super) fn adopt() -> io::Result<()> {
    tree::adopt()
}

#[cfg(target_os = "linux")]
mod tree {
    use std::collections::{HashMap, VecDeque};
    use std::io;

    use rustix::process::{
        Pid, WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, waitid, waitpid,
    };

    pub(super) fn adopt() -> io::Result<()> {
        set_child_subreaper(Some(getpid())).map_err(io::Error::from)
    }

    /// Returns all living processes below this one.
    pub(super) fn descendants() -> Vec<Pid> {
        let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            // It may have ended just now.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            if let Some((parent, lives)) = parent(&stat) {
                children.entry(parent).or_default().push((pid, lives));
            }
        }
        let mut found = Vec::new();
        let mut next = VecDeque::from([getpid().as_raw_nonzero().get()]);
        while let Some(parent) = next.pop_front() {
            for (pid, lives) in children.remove(&parent).unwrap_or_default() {
                next.push_back(pid);
                if lives {
                    found.extend(Pid::from_raw(pid));
                }
            }
        }
        found
    }

    pub(super) fn parent_of(process: Pid) -> Option<Pid> {
        let path = format!("/proc/{}/stat", process.as_raw_nonzero());
        let (parent, _) = parent(&std::fs::read_to_string(path).ok()?)?;
        Pid::from_raw(parent)
    }

    /// Reads `/proc/PID/stat`: the parent, and whether the process lives. A program
    /// may have parentheses and spaces in its name.
    fn parent(stat: &str) -> Option<(i32, bool)> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut words = rest.split(' ');
        let state = words.next()?;
        let parent = words.next()?.parse().ok()?;
        Some((parent, !matches!(state, "Z" | "X")))
    }

    /// Waits for children that have ended, except for this one.
    pub(super) fn reap(except: Option<Pid>) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while let Ok(Some(_)) = waitid(WaitId::All, look) {
            let mut some = false;
            for child in zombies() {
                if Some(child) != except {
                    some |= matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(Some(_)));
                }
            }
            if !some {
                return;
            }
        }
    }

    fn zombies() -> Vec<Pid> {
        let own = getpid().as_raw_nonzero().get();
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        let zombie = |entry: std::fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (parent, lives) = parent(&stat)?;
            (parent == own && !lives).then(|| Pid::from_raw(pid))?
        };
        entries.flatten().filter_map(zombie).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_process_is_read_whatever_its_name() {
            assert_eq!(parent("12 (sh) S 7 12 12 0"), Some((7, true)));
            assert_eq!(parent("12 (a) b) (c) Z 7 12 12 0"), Some((7, false)));
            assert_eq!(parent("12"), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod tree {
    use std::io;

    use rustix::process::Pid;

    pub(super) fn adopt() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn descendants() -> Vec<Pid> {
        Vec::new()
    }

    pub(super) fn parent_of(_: Pid) -> Option<Pid> {
        None
    }

    pub(super) fn reap(_: Option<Pid>) {}
}
