//! The program: nothing but the way into [`carafe`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // A sandbox is entered from a process with one thread: before anything starts a second one.
    if let Some(code) = carafe_builder::sandbox::run_as_launcher() {
        return code;
    }
    carafe::cli::main()
}
