//! `tidings run` in a terminal: keys, and Ctrl-Z.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run_faults::{DEADLINE, marked, wait};

/// Runs `tidings run` as the leader of a terminal, and types a text after the command reports that
/// it is ready.
fn in_terminal(
    options: &[&str],
    script: &str,
    typed: &str,
    redirect: bool,
) -> (Option<i32>, String) {
    let (pty, pts) = pty_process::blocking::open().unwrap();
    pty.resize(pty_process::Size::new(24, 80)).unwrap();
    let mut command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args([
            "run",
            "--quiet",
            "--url",
            "http://127.0.0.1:1",
            "--linger",
            "0s",
        ])
        .args(options)
        .args(["--", "bash", "-c", script]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDINGS_") {
            command = command.env_remove(name);
        }
    }
    if redirect {
        command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    }
    let mut child = command.spawn(pts).unwrap();
    let mut shown = String::new();
    let mut reader = BufReader::new(&pty);
    while !shown.contains("ready") {
        // Until a process opens the terminal, reading it returns an error.
        if reader.read_line(&mut shown).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "{shown}");
            std::thread::yield_now();
        }
    }
    (&pty).write_all(typed.as_bytes()).unwrap();
    // Read all output, because a full terminal would block the command.
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut rest = Vec::new();
            // A terminal returns EIO after its last user has closed it.
            let _ = std::io::Read::read_to_end(&mut reader, &mut rest);
            rest
        });
        let code = wait(&mut child);
        shown.push_str(&String::from_utf8_lossy(&reading.join().unwrap()));
        (code, shown)
    })
}

#[test]
fn a_command_reads_the_terminal_that_we_have() {
    for (redirect, options, script) in [
        (
            true,
            &[][..],
            "echo ready >/dev/tty; read x </dev/tty; test \"$x\" = hello",
        ),
        (
            false,
            &["--pty", "never"],
            "echo ready; read x; test \"$x\" = hello",
        ),
        (false, &[], "echo ready; read x; test \"$x\" = hello"),
        (true, &[], "echo ready >/dev/tty; stty -F /dev/tty sane"),
        (false, &["--pty", "never"], "echo ready; stty sane"),
    ] {
        let (code, shown) = in_terminal(options, script, "hello\n", redirect);
        assert_eq!(code, Some(0), "{script} {shown}");
    }
}

#[test]
fn a_terminal_ends_lines_as_the_command_wants() {
    for (script, expected) in [
        (
            "echo ready; printf 'a\\nb\\r\\nc'",
            "ready\r\na\r\nb\r\r\nc",
        ),
        ("echo ready; stty sane; printf 'a\\nb'", "ready\r\na\r\nb"),
        // A program that draws on the whole screen moves down by a line feed alone.
        ("stty raw -echo; printf 'ready\\r\\na\\nb'", "ready\r\na\nb"),
        ("stty -onlcr; printf 'ready\\na\\nb'", "ready\na\nb"),
    ] {
        let (code, shown) = in_terminal(&[], script, "", false);
        assert_eq!(code, Some(0), "{script} {shown}");
        assert_eq!(shown, expected, "{script}");
    }
}

#[test]
fn no_line_end_of_much_output_is_doubled() {
    let (code, shown) = in_terminal(&[], "echo ready; seq 1 50000", "", false);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown.matches("\r\n").count(), 50_001);
    assert_eq!(shown.matches("\r\r\n").count(), 0);
}

#[test]
fn a_command_finds_the_modes_of_our_terminal() {
    let script = "echo ready; stty -a | grep -o '[-]*onlcr\\|[-]*opost' | tr '\\n' ' '";
    let (code, shown) = in_terminal(&[], script, "", false);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown, "ready\r\nopost onlcr ");
}

#[test]
fn all_of_a_long_text_that_is_pasted_arrives() {
    let script = "stty -echo; echo ready; head -c 3000 | cksum";
    let text = format!("{}\n", "x".repeat(99)).repeat(30);
    let (code, shown) = in_terminal(&[], script, &text, false);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("3000"), "{shown}");
}

#[test]
fn what_is_typed_to_stop_a_command_reaches_it_once() {
    let script = "trap 'got=1; echo told' INT; echo ready; \
                  while [ -z \"$got\" ]; do sleep 0.05; done; sleep 0.5; echo end";
    for options in [&[][..], &["--pty", "never"]] {
        let (code, shown) = in_terminal(options, script, "\u{3}", false);
        assert_eq!(code, Some(0), "{options:?} {shown}");
        assert_eq!(shown.matches("told").count(), 1, "{options:?} {shown}");
        assert!(shown.contains("end"), "{options:?} {shown}");
    }
}

/// Returns the states of the processes with this mark: `S`, `T` and so on.
fn state_of_marked(mark: &str) -> Vec<char> {
    let mut states = Vec::new();
    for pid in marked(mark) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.rsplit_once(") ") {
            states.extend(rest.chars().next());
        }
    }
    states
}

/// A shell with job control in its own terminal, and its output so far.
struct JobControl {
    pty: pty_process::blocking::Pty,
    shell: Child,
    shown: std::sync::mpsc::Receiver<u8>,
    seen: String,
}

impl JobControl {
    fn start(mark: &str) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(24, 200)).unwrap();
        let (name, value) = mark.split_once('=').unwrap();
        let mut command = pty_process::blocking::Command::new("bash")
            .args(["--norc", "--noprofile", "-i"])
            .env("PS1", "prompt> ")
            .env(name, value);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDINGS_") {
                command = command.env_remove(name);
            }
        }
        let shell = command.spawn(pts).unwrap();
        let (sender, shown) = std::sync::mpsc::channel();
        let mut reader =
            std::fs::File::from(std::os::fd::AsFd::as_fd(&pty).try_clone_to_owned().unwrap());
        std::thread::spawn(move || {
            let mut byte = [0];
            while std::io::Read::read_exact(&mut reader, &mut byte).is_ok() {
                if sender.send(byte[0]).is_err() {
                    return;
                }
            }
        });
        Self {
            pty,
            shell,
            shown,
            seen: String::new(),
        }
    }

    fn key(&self, keys: &str) {
        (&self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for a text, and returns the output until then.
    fn until(&mut self, text: &str) -> String {
        while !self.seen.contains(text) {
            let byte = self.shown.recv_timeout(DEADLINE);
            let byte = byte.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push(char::from(byte));
        }
        std::mem::take(&mut self.seen)
    }
}

impl Drop for JobControl {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A command that restores the screen before it stops itself, as `less` and `vim` do. The handler
/// uses no `print`, because a signal can come while `print` is still at work.
const TIDIES: &str = r#"exec python3 -c "
import os, signal
def stop(number, frame):
    os.write(1, b\"tidy\")
    signal.signal(number, signal.SIG_DFL)
    os.kill(0, number)
    signal.signal(number, stop)
signal.signal(signal.SIGTSTP, stop)
os.write(1, b\"rea\" + b\"dy\")
print(\"got \" + input())
""#;

#[test]
fn a_command_is_stopped_by_its_key_and_goes_on_by_the_shell() {
    let mark = format!("TEST_MARK=stop-{}", std::process::id());
    let tidings = env!("CARGO_BIN_EXE_tidings");
    let options = "run -q --url http://127.0.0.1:1 --linger 0s";
    for script in [
        "setsid sh -c 'echo rea\"\"dy; exec sleep 600 </dev/null >/dev/null 2>&1' & \
         read x; echo got $x",
        TIDIES,
        // The key is a command of the program, which then stops itself, as `vim` does.
        "stty -isig -icanon; echo rea\"\"dy; dd bs=1 count=1 status=none >/dev/null; \
         stty isig icanon; kill -TSTP 0; read x; echo got $x",
    ] {
        let mut shell = JobControl::start(&mark);
        shell.key(&format!(
            "{tidings} {options} -- bash -c '{}'\n",
            script.replace('\'', "'\\''")
        ));
        shell.until("ready");
        shell.key("\u{1a}");
        shell.until("Stopped");
        // The runner and the command have stopped. The shell has not, and has its terminal. A
        // daemon that the command has started continues as well.
        let deadline = Instant::now() + DEADLINE;
        loop {
            let states = state_of_marked(&mark);
            let stopped = states.iter().filter(|state| **state == 'T').count();
            assert!(stopped <= 2, "{states:?}");
            if stopped == 2 {
                break;
            }
            assert!(Instant::now() < deadline, "{states:?}");
            std::thread::yield_now();
        }
        shell.key("echo the-$((40 + 2))\n");
        shell.until("the-42");
        shell.key("fg\n");
        shell.until("tidings");
        shell.key("hello\n");
        shell.until("got hello");
        // The terminal is in its original mode.
        shell.until("prompt> ");
        shell.key("echo the-$((40 + 3))\n");
        shell.until("the-43");
        assert!(!state_of_marked(&mark).contains(&'T'));
        shell.key("exit\n");
        wait(&mut shell.shell);
        for left in marked(&mark) {
            let _ = Command::new("kill").args(["-9", &left]).status();
        }
    }
}

/// A process that waits for the end of `tidings run`, and then writes.
fn waits_and_writes(go: &Path) -> String {
    let go = go.display();
    format!("until [ -e {go} ]; do sleep 0.05; done; echo la\"\"te")
}

#[test]
fn what_a_command_in_a_terminal_leaves_behind_lives_on() {
    let tidings = env!("CARGO_BIN_EXE_tidings");
    for (at, (before, output)) in [
        ("", ""),
        ("set -m;", ""),
        // No process uses the terminal any more.
        ("", "</dev/null >FILE 2>&1"),
        ("trap \"\" HUP;", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let (go, file) = (folder.path().join("go"), folder.path().join("file"));
        let mark = format!("TEST_MARK=behind-{}-{at}", std::process::id());
        let mut shell = JobControl::start(&mark);
        let later = waits_and_writes(&go);
        let output = output.replace("FILE", &file.display().to_string());
        shell.key(&format!(
            "{tidings} run -q --url http://127.0.0.1:1 --linger 0s -- \
             bash -c '{before} ({later}) {output} & exit 7'; echo the-en\"\"d-$?\n"
        ));
        shell.until("the-end-7");
        std::fs::write(&go, "").unwrap();
        if output.is_empty() {
            shell.until("late");
        } else {
            let deadline = Instant::now() + DEADLINE;
            while std::fs::read_to_string(&file).unwrap_or_default() != "late\n" {
                assert!(Instant::now() < deadline, "{before} {output}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // Nothing of `tidings run` stays for longer than the command's processes.
        only_the_shell(&mark);
    }
}

#[test]
fn ctrl_c_ends_a_loop_of_the_shell() {
    let tidings = env!("CARGO_BIN_EXE_tidings");
    for pty in ["auto", "never"] {
        let mark = format!("TEST_MARK=loop-{pty}-{}", std::process::id());
        let mut shell = JobControl::start(&mark);
        shell.key(&format!(
            "for i in 1 2; do {tidings} run -q --url http://127.0.0.1:1 --linger 0s --pty {pty} \
             -- bash -c 'echo rea\"\"dy; exec sleep 600'; echo the-ne\"\"xt-$?; done\n"
        ));
        shell.until("ready");
        shell.key("\u{3}");
        shell.until("prompt> ");
        shell.key("echo the-$((40 + 2))\n");
        let shown = shell.until("the-42");
        assert!(!shown.contains("the-next"), "{shown}");
        only_the_shell(&mark);
    }
}

/// Waits until the shell is the only process with this mark.
fn only_the_shell(mark: &str) {
    let deadline = Instant::now() + DEADLINE;
    while marked(mark).len() > 1 {
        assert!(Instant::now() < deadline, "{:?}", marked(mark));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_terminal_goes_with_its_runner_that_is_killed() {
    let mark = format!("TEST_MARK=killed-{}", std::process::id());
    let mut shell = JobControl::start(&mark);
    let tidings = env!("CARGO_BIN_EXE_tidings");
    shell.key(&format!(
        "{tidings} run -q --url http://127.0.0.1:1 -- bash -c 'echo $PPID; echo rea\"\"dy; \
         trap \"\" TERM; sleep 600'\n"
    ));
    shell.until("ready");
    let runner = marked(&mark).into_iter().find(|pid| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.starts_with(tidings) && words.contains("\0run\0")
    });
    let killed = Command::new("kill").args(["-9", &runner.unwrap()]).status();
    assert!(killed.unwrap().success());
    only_the_shell(&mark);
}
