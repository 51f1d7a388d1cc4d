//! `watch --tree`, `tasks --parent` and `command --tree`.

use serde_json::Value;

use crate::support::{Server, finish, tidings};

struct Running {
    _server: Server,
    url: String,
}

impl Running {
    /// Starts a server with a release that has two parts. One part has a part of its
    /// own.
    fn start() -> Self {
        let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0", "--log", "error"]));
        let url = format!("http://{}", server.addr());
        let running = Self {
            _server: server,
            url,
        };
        for (task, parent) in [
            ("build", "release"),
            ("deploy", "release"),
            ("test", "build"),
        ] {
            let parent = format!("parent_task_id={parent}");
            running.text(&["publish", task, "task_started", &parent]);
        }
        running.text(&["publish", "release", "task_started"]);
        running
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = finish(tidings(arguments).env("TIDINGS_URL", &self.url));
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn tasks(text: &str) -> Vec<String> {
    let mut tasks: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|message| Some(message["task_id"].as_str()?.to_owned()))
        .collect();
    tasks.sort();
    tasks.dedup();
    tasks
}

#[test]
fn the_tasks_below_one_are_listed_and_watched() {
    let running = Running::start();
    let listed = running.text(&["tasks", "--parent", "release", "--json"]);
    assert_eq!(tasks(&listed), ["build", "deploy"]);
    running.text(&["publish", "release", "task_completed"]);
    let watch = ["watch", "release", "--json", "--until-end", "--since", "0"];
    assert_eq!(tasks(&running.text(&watch)), ["release"]);
    // The parts are still running. They are shown, and do not count for the outcome.
    let tree = [&watch[..], &["--tree"]].concat();
    let seen = tasks(&running.text(&tree));
    assert_eq!(seen, ["build", "deploy", "release", "test"]);
}

#[test]
fn a_command_for_a_tree_is_told_task_by_task_and_the_deepest_is_first() {
    let running = Running::start();
    let told = running.text(&["command", "release", "cancel", "--tree"]);
    let asked = ["test", "build", "deploy", "release"];
    let expected = asked.map(|task| format!("cancel requested of {task}\n"));
    assert_eq!(told, expected.concat());
    let json = running.text(&["command", "release", "cancel", "--tree", "--json"]);
    assert_eq!(tasks(&json), ["build", "deploy", "release", "test"]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["task_id"], &first["offset"]),
        (&"test".into(), &3.into())
    );
    let none = finish(
        tidings(&["command", "nowhere", "cancel", "--tree"]).env("TIDINGS_URL", &running.url),
    );
    assert_eq!(none.status.code(), Some(66), "{none:?}");
}
