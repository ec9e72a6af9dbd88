//! Tests of the sandbox from inside. Run as root, the program runs itself again as an ordinary user.
//!
//! It has its own `main` because this executable is its own launcher.

mod ending;
mod fixture;
mod hostile;
mod proxy_sockets;
mod seen_inside;
mod unavailable;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if let Some(code) = carafe_builder::sandbox::run_as_launcher() {
        return code;
    }
    if let Some(code) = ending::run_victim().or_else(unavailable::run_probe) {
        return code;
    }
    let arguments = Arguments::from_args();
    let mut trials = [
        seen_inside::trials(),
        proxy_sockets::trials(),
        ending::trials(),
        hostile::trials(),
        unavailable::trials(),
    ]
    .concat();
    trials.push(("as_an_ordinary_user", as_an_ordinary_user));
    let trials = trials.into_iter().map(|(name, run)| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs all tests again as an ordinary user, from a copy that the user may read.
fn as_an_ordinary_user() {
    const USER_ID: u32 = 54321;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("sandbox");
    fs::copy(fixture::launcher(), &copy).unwrap();
    let output = Command::new(copy).uid(USER_ID).gid(USER_ID).current_dir("/").output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
}
