//! All processes that the command has started, directly or indirectly.
//!
//! On Linux, this program is the subreaper. A process that loses its parent becomes a
//! child of this program and of no other. The tree below this program is therefore
//! complete. Other systems only reveal the command's own process group.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The processes of one command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processes {
    main: Pid,
    /// True if the command has its own process group. The group's id is the id of the
    /// command's process.
    own_group: bool,
    /// The process of this program that leads the command's session.
    leader: Option<Pid>,
}

impl Processes {
    pub(super) fn new(main: Pid, own_group: bool, leader: Option<Pid>) -> Self {
        Self {
            main,
            own_group,
            leader,
        }
    }

    /// Passes a signal on to the command.
    pub(super) fn pass_on(&self, signal: Signal) {
        // The process may have ended just now.
        let _ = if self.own_group {
            kill_process_group(self.main, signal)
        } else {
            kill_process(self.main, signal)
        };
    }

    /// Sends a signal to the command and to all processes that it has started.
    pub(super) fn signal_all(&self, signal: Signal) {
        let all = self.all();
        if all.is_empty() {
            self.pass_on(signal);
        }
        for process in all {
            // The process may have ended just now.
            let _ = kill_process(process, signal);
        }
    }

    /// Returns the number of the command's living processes. Call it only after the
    /// command's own process was waited for.
    pub(super) fn count(&self) -> usize {
        tree::reap(None);
        self.all().len()
    }

    /// Returns true if the process that leads the command's session still lives. It ends
    /// after the last process of the session.
    pub(super) fn is_led(&self) -> bool {
        tree::reap(None);
        let leader = self.leader;
        leader.is_some_and(|leader| tree::descendants().contains(&leader))
    }

    /// Returns the command's living processes.
    fn all(&self) -> Vec<Pid> {
        let mut all = tree::descendants();
        all.retain(|process| Some(*process) != self.leader);
        all
    }

    /// Waits for ended processes whose only parent is this program.
    pub(super) fn reap(&self) {
        tree::reap(Some(self.main));
    }
}

/// Returns the parent of a process. Only Linux reveals it.
pub(super) fn parent_of(process: Pid) -> Option<Pid> {
    tree::parent_of(process)
}

/// Waits until the session that this program leads has no other process. Other systems
/// than Linux do not reveal a session's processes, and there is no wait.
pub(super) fn wait_for_session() {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(60);
    let mut look = FIRST;
    while let Some(process) = tree::in_own_session() {
        // A process can leave the session before it ends.
        tree::wait_for(process, look);
        look = LONGEST.min(look * 2);
    }
}

/// Makes this program the subreaper, which becomes the parent of orphaned processes.
pub(super) fn adopt() -> io::Result<()> {
    tree::adopt()
}

#[cfg(target_os = "linux")]
mod tree {
    use std::collections::{HashMap, VecDeque};
    use std::io;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::process::{
        Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, getpid, pidfd_open,
        set_child_subreaper, waitid, waitpid,
    };

    /// A process, as `/proc/PID/stat` describes it.
    #[derive(Debug, PartialEq, Eq)]
    struct Stat {
        lives: bool,
        parent: i32,
        session: i32,
    }

    pub(super) fn adopt() -> io::Result<()> {
        set_child_subreaper(Some(getpid())).map_err(io::Error::from)
    }

    /// Returns all living processes below this program.
    pub(super) fn descendants() -> Vec<Pid> {
        let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
        for pid in processes() {
            // The process may have ended just now.
            if let Some(stat) = stat(pid) {
                let children = children.entry(stat.parent).or_default();
                children.push((pid, stat.lives));
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
        Pid::from_raw(stat(process.as_raw_nonzero().get())?.parent)
    }

    /// Returns a living process of the session that this program leads, apart from this
    /// program.
    pub(super) fn in_own_session() -> Option<Pid> {
        let own = getpid().as_raw_nonzero().get();
        let mut processes = processes();
        processes.find_map(|process| {
            let stat = stat(process)?;
            let found = stat.lives && stat.session == own && process != own;
            found.then(|| Pid::from_raw(process))?
        })
    }

    /// Waits until a process has ended, but for a limited time. The wait may be shorter.
    pub(super) fn wait_for(process: Pid, most: Duration) {
        let process = pidfd_open(process, PidfdFlags::empty());
        match (process, Timespec::try_from(most)) {
            (Ok(process), Ok(most)) => {
                let ended = PollFlags::IN;
                let _ = poll(&mut [PollFd::new(&process, ended)], Some(&most));
            }
            // The process has ended just now.
            (Err(Errno::SRCH), _) => {}
            // The kernel is too old.
            _ => std::thread::sleep(most),
        }
    }

    /// Returns the ids of all processes.
    fn processes() -> impl Iterator<Item = i32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    fn stat(process: i32) -> Option<Stat> {
        parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// Parses `/proc/PID/stat`. The program's name may contain parentheses and spaces.
    fn parse(stat: &str) -> Option<Stat> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut words = rest.split(' ');
        let state = words.next()?;
        let parent = words.next()?.parse().ok()?;
        let session = words.nth(1)?.parse().ok()?;
        Some(Stat {
            lives: !matches!(state, "Z" | "X"),
            parent,
            session,
        })
    }

    /// Waits for all ended children except this one.
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
        let zombie = |pid| {
            let stat = stat(pid)?;
            (stat.parent == own && !stat.lives).then(|| Pid::from_raw(pid))?
        };
        processes().filter_map(zombie).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_process_is_read_whatever_its_name() {
            let stat = |lives| Stat {
                lives,
                parent: 7,
                session: 13,
            };
            assert_eq!(parse("12 (sh) S 7 12 13 0"), Some(stat(true)));
            assert_eq!(parse("12 (a) b) (c) Z 7 12 13 0"), Some(stat(false)));
            assert_eq!(parse("12"), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod tree {
    use std::io;
    use std::time::Duration;

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

    pub(super) fn in_own_session() -> Option<Pid> {
        None
    }

    pub(super) fn wait_for(_: Pid, _: Duration) {}

    pub(super) fn reap(_: Option<Pid>) {}
}
