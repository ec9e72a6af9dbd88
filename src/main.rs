//! The binary: calls [`carafe::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // The launcher of a sandbox needs a process with one thread, so this comes before everything else.
    if let Some(code) = carafe_builder::sandbox::run_as_launcher() {
        return code;
    }
    carafe::cli::main()
}
