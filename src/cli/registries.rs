//! Flags and the spec's `[registry]` tables → options of the registry client.

use std::collections::BTreeMap;

use carafe_builder::spec::RegistrySpec;

use crate::registry::{RegistryError, RegistryOptions, Repository, TlsFiles};

/// The options of this machine (see [`RegistryOptions::from_environment`]); `tables` and the hosts of
/// `--insecure-registry` take precedence.
pub fn options<'a>(
    tables: Option<&BTreeMap<String, RegistrySpec>>,
    insecure: &[String],
    targets: impl IntoIterator<Item = &'a Repository>,
) -> Result<RegistryOptions, RegistryError> {
    let mut options = RegistryOptions::from_environment(targets)?;
    options.insecure.extend(insecure.iter().cloned());
    for (host, table) in tables.into_iter().flatten() {
        if table.insecure {
            options.insecure.insert(host.clone());
        }
        let tls = TlsFiles { ca: table.ca.iter().cloned().collect(), client: table.client.clone() };
        if tls != TlsFiles::default() {
            options.tls.insert(host.clone(), tls);
        }
    }
    Ok(options)
}
