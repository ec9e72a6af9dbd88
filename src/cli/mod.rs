//! The command line: arguments in, exit code out. Each command is a file: its arguments, and `run`, which
//! calls one function of [`crate::pipeline`] and shows its result.
//!
//! Import order, lowest first: `exit`, `stop`, `registries`, `run`, `inputs`, `delivery`, `build_result`, then
//! the commands.

mod build;
mod build_result;
mod bundle;
mod copy;
mod delivery;
mod diff;
mod doctor;
mod exit;
mod index;
mod inputs;
mod inspect;
mod lock;
mod push;
mod registries;
mod run;
mod stop;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::run::Run;

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
  carafe build --push                  build the locked apps and push the image to the spec's tags
  carafe build --apps apps.json --frappe-branch v15.55.1 -t registry.example.com/erp:1 --push
  carafe inspect registry.example.com/erp:1
  carafe doctor --registry registry.example.com/erp
  carafe copy registry.example.com/erp:1 docker-archive:erp.tar
  carafe verify registry.example.com/erp:1
  carafe bundle --tar erp.tar          everything for `carafe build --bundle erp.tar`

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 compared and different, 130 stopped by a signal.";

#[derive(Subcommand)]
enum Command {
    /// Pin every branch, tag and image reference, and write carafe.lock
    Lock(lock::LockArguments),
    /// Build the image that the spec and the lock describe
    Build(build::BuildArguments),
    /// Write everything that a build needs into one artifact, for builds without network access
    Bundle(bundle::BundleArguments),
    /// Push an image from an OCI layout or an archive to registries
    Push(push::PushArguments),
    /// Copy an image, or an index with its images, between registries, OCI layouts and archives
    Copy(copy::CopyArguments),
    /// Create an index of images for several platforms
    Index(index::IndexArguments),
    /// Compare two images, and report why they differ
    Diff(diff::DiffArguments),
    /// Rebuild an image from the lock in its label, and report whether it is reproduced
    Verify(verify::VerifyArguments),
    /// Check this machine or a registry, and report what to fix
    Doctor(doctor::DoctorArguments),
    /// Show an image's config, its layers, and the lock that produced it
    Inspect(inspect::InspectArguments),
}

impl Command {
    /// The command's name in the JSON output, and its output format.
    fn start(&self) -> Run {
        let (command, format) = match self {
            Self::Lock(arguments) if arguments.check => ("lock_check", arguments.run.format(None)),
            Self::Lock(arguments) => ("lock", arguments.run.format(None)),
            Self::Build(arguments) => ("build", arguments.run.format(None)),
            Self::Bundle(arguments) if arguments.list.is_some() => {
                ("bundle_list", arguments.run.format(None))
            }
            Self::Bundle(arguments) => ("bundle", arguments.run.format(None)),
            Self::Push(arguments) => ("push", arguments.run.format(None)),
            Self::Copy(arguments) => ("copy", arguments.run.format(None)),
            Self::Index(arguments) => ("index_create", arguments.run().format(None)),
            Self::Diff(arguments) => ("diff", arguments.run.format(Some(&arguments.comparison))),
            Self::Verify(arguments) => ("verify", arguments.run.format(Some(&arguments.comparison))),
            Self::Doctor(arguments) => ("doctor", arguments.format()),
            Self::Inspect(arguments) => ("inspect", arguments.run.format(None)),
        };
        Run { command, format }
    }

    /// Runs the command, and returns the exit code.
    fn run(&self, run: &Run) -> miette::Result<u8> {
        match self {
            Self::Lock(arguments) => lock::run(arguments, run),
            Self::Build(arguments) => build::run(arguments, run),
            Self::Bundle(arguments) => bundle::run(arguments, run),
            Self::Push(arguments) => push::run(arguments, run),
            Self::Copy(arguments) => copy::run(arguments, run),
            Self::Index(arguments) => index::run(arguments, run),
            Self::Diff(arguments) => diff::run(arguments, run),
            Self::Verify(arguments) => verify::run(arguments, run),
            Self::Doctor(arguments) => doctor::run(arguments, run),
            Self::Inspect(arguments) => inspect::run(arguments, run),
        }
    }
}

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    install_error_style();
    let command = Arguments::parse().command;
    let run = command.start();
    ExitCode::from(command.run(&run).unwrap_or_else(|error| run.failed(&error)))
}

/// Errors are read in terminals and in CI logs: no links, and lines that can be copied.
fn install_error_style() {
    let style = |_: &_| -> Box<dyn miette::ReportHandler> {
        Box::new(
            miette::MietteHandlerOpts::new().terminal_links(false).context_lines(1).wrap_lines(false).build(),
        )
    };
    // This fails only if a style was installed before, which then stays.
    let _ = miette::set_hook(Box::new(style));
}
