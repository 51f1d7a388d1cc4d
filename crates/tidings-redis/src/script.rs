//! The Lua scripts that Redis runs. Each script is one atomic step.

use redis::Script;

/// Scripts of tasks.
pub(crate) struct Scripts {
    pub(crate) append: Script,
    pub(crate) output: Script,
    pub(crate) find: Script,
    pub(crate) trim: Script,
    pub(crate) remove: Script,
    pub(crate) family: Script,
    pub(crate) seen: Script,
    pub(crate) awaits: Script,
    pub(crate) stirred: Script,
    pub(crate) stir_all: Script,
    pub(crate) overdue: Script,
}

/// Scripts of clients.
pub(crate) struct ClientScripts {
    pub(crate) claim: Script,
    pub(crate) stand: Script,
    pub(crate) forget: Script,
    pub(crate) send: Script,
    pub(crate) inbox: Script,
}

/// The shared code of scripts that change trees.
const TREES: &str = include_str!("lua/trees.lua");

/// Creates a script that begins with the shared code.
fn of_tasks(body: &str) -> Script {
    Script::new(&[include_str!("lua/shared.lua"), body].concat())
}

fn of_clients(body: &str) -> Script {
    let shared = [
        include_str!("lua/shared.lua"),
        include_str!("lua/clients.lua"),
    ];
    Script::new(&[shared[0], shared[1], body].concat())
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            append: of_tasks(
                &[
                    include_str!("lua/outputs.lua"),
                    TREES,
                    include_str!("lua/append.lua"),
                ]
                .concat(),
            ),
            output: Script::new(include_str!("lua/output.lua")),
            find: of_tasks(include_str!("lua/find.lua")),
            trim: of_tasks(include_str!("lua/trim.lua")),
            remove: Script::new(&[TREES, include_str!("lua/remove.lua")].concat()),
            family: Script::new(&[TREES, include_str!("lua/family.lua")].concat()),
            seen: Script::new(include_str!("lua/seen.lua")),
            awaits: Script::new(include_str!("lua/await.lua")),
            stirred: Script::new(&[TREES, include_str!("lua/stirred.lua")].concat()),
            stir_all: Script::new(&[TREES, include_str!("lua/stir_all.lua")].concat()),
            overdue: Script::new(&[TREES, include_str!("lua/overdue.lua")].concat()),
        }
    }
}

impl ClientScripts {
    pub(crate) fn new() -> Self {
        Self {
            claim: of_clients(include_str!("lua/claim.lua")),
            stand: of_clients(include_str!("lua/stand.lua")),
            forget: Script::new(include_str!("lua/forget.lua")),
            send: of_clients(include_str!("lua/send.lua")),
            inbox: of_clients(include_str!("lua/inbox.lua")),
        }
    }
}

/// The script of the registry of nodes.
pub(crate) fn nodes() -> Script {
    Script::new(include_str!("lua/nodes.lua"))
}
