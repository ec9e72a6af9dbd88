//! `carafe push`.

use carafe_layers::source::resolve;
use clap::Args;
use serde_json::json;

use super::build::targets;
use super::exit;
use super::inputs::RunArguments;
use crate::images::ImageName;
use crate::report;
use crate::stages::push::push;
use carafe_builder::sandbox::Isolation;

/// Arguments of `carafe push`.
#[derive(Args)]
pub struct PushArguments {
    /// The image: a layout's folder, oci:FOLDER[:REF], docker-archive:FILE[:TAG], or a reference
    image: ImageName,
    /// Where to
    #[arg(required = true, value_name = "REFERENCE")]
    targets: Vec<String>,
    #[command(flatten)]
    run: RunArguments,
}

pub fn run(arguments: &PushArguments) -> miette::Result<u8> {
    let targets = targets(&arguments.targets)?;
    let context = arguments.run.context(None, &targets, Isolation::Namespaces)?;
    let source = arguments.image.open(&context.registry, None)?;
    let image = resolve(&*source, &context.platform)?;
    let pushed = push(&*source, &image, &targets, &context)?;
    let digest = image.descriptor.digest;
    if arguments.run.json {
        let reports = pushed.iter().map(report::push_json).collect::<Vec<_>>();
        report::emit(&json!({"event": "result", "digest": digest, "pushed": reports}));
        return Ok(exit::DONE);
    }
    if !arguments.run.quiet {
        let rows = report::image_rows(&image, &pushed);
        report::to_stderr(format_args!("\n{}", report::layer_table(&rows, &report::sent(&pushed))));
    }
    for name in report::pushed_names(&pushed) {
        report::to_stdout(format_args!("{name}"));
    }
    Ok(exit::DONE)
}
