//! The command line: arguments in, exit code out.

mod build;
mod bundle;
mod copy;
mod delivery;
mod diff;
mod doctor;
mod index;
mod inputs;
mod inspect;
mod lock;
mod push;
mod registries;
mod stop;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output;

/// Exit codes, the same for every command.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// Failed.
    pub const FAILED: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
    /// Checked, and different.
    pub const DIFFERENT: u8 = 3;
    /// Stopped by Ctrl-C or a signal, as shells have it.
    pub const STOPPED: u8 = 130;
}

/// Turns a Frappe apps.json into an OCI image with a digest that anyone can check:
/// no Docker, no daemon, no root.
#[derive(Parser)]
#[command(name = "carafe", version, max_term_width = 100, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  carafe lock                          pin every name in carafe.toml
  carafe build --push                  build what is locked and push it to the spec's tags
  carafe build --apps apps.json --frappe-branch v15.55.1 -t registry.example.com/erp:1 --push
  carafe inspect registry.example.com/erp:1
  carafe doctor --registry registry.example.com/erp
  carafe copy registry.example.com/erp:1 docker-archive:erp.tar
  carafe verify registry.example.com/erp:1
  carafe bundle --tar erp.tar          all that a build needs, for `carafe build --bundle erp.tar`

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 checked and different.";

#[derive(Subcommand)]
enum Command {
    /// Pin every name (branch, tag, image) and write carafe.lock
    Lock(lock::LockArguments),
    /// Build the image that the spec and its lock describe
    Build(build::BuildArguments),
    /// Put all that a build needs into one artifact, to build from it where there is no network
    Bundle(bundle::BundleArguments),
    /// Push an image from an OCI layout or an archive to registries
    Push(push::PushArguments),
    /// Copy an image, or an index with all of its images, from anywhere to anywhere
    Copy(copy::CopyArguments),
    /// Make an index over images for several platforms
    Index(index::IndexArguments),
    /// Compare two images, and say why they differ
    Diff(diff::DiffArguments),
    /// Build an image again from the lock in its label, and say whether it is the same
    Verify(verify::VerifyArguments),
    /// Look at this machine, or at a registry: what is wrong, and what to do
    Doctor(doctor::DoctorArguments),
    /// Show what is in an image, layer by layer, and the lock that made it
    Inspect(inspect::InspectArguments),
}

/// Runs the program and says how it went.
pub fn main() -> ExitCode {
    install_error_style();
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Lock(arguments) => lock::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Bundle(arguments) => bundle::run(&arguments),
        Command::Push(arguments) => push::run(&arguments),
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Index(arguments) => index::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
    };
    match result {
        _ if stop::requested() => ExitCode::from(exit::STOPPED),
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            output::to_stderr(format_args!("{report:?}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Errors are read in terminals and in CI logs: no links, and lines that can be copied whole.
fn install_error_style() {
    let style = |_: &_| -> Box<dyn miette::ReportHandler> {
        Box::new(
            miette::MietteHandlerOpts::new().terminal_links(false).context_lines(1).wrap_lines(false).build(),
        )
    };
    // It fails only when a style was installed before: then that one stays.
    let _ = miette::set_hook(Box::new(style));
}
