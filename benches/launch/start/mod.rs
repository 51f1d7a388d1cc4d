//! Every bench that Cargo knows starts this program, which becomes the program in `src`, called by
//! the bench's name.

pub(crate) fn start() {
    use std::os::unix::process::CommandExt as _;
    let error = std::process::Command::new(env!("CARGO_BIN_EXE_benches"))
        .arg0(env!("CARGO_CRATE_NAME"))
        .args(std::env::args_os().skip(1))
        .exec();
    panic!("the benches' program does not start: {error}");
}
