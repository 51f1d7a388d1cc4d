//! The scripts that Redis runs, each of them one atomic step.

use redis::Script;

/// All scripts; each begins with what they share.
pub(crate) struct Scripts {
    pub(crate) append: Script,
    pub(crate) find: Script,
    pub(crate) trim: Script,
    pub(crate) remove: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        let script = |body: &str| Script::new(&[include_str!("lua/shared.lua"), body].concat());
        Self {
            append: script(include_str!("lua/append.lua")),
            find: script(include_str!("lua/find.lua")),
            trim: script(include_str!("lua/trim.lua")),
            remove: Script::new(include_str!("lua/remove.lua")),
        }
    }
}
