//! The names of Docker Hub. Image references have one name, its API is at another host, and files
//! with credentials have any of them.

/// The name in image references, which Carafe uses everywhere.
pub const NAME: &str = "docker.io";

/// The host that serves the registry API.
pub const API_HOST: &str = "index.docker.io";

/// The key of its entry in docker's `config.json` and in credential helpers.
pub const CREDENTIAL_KEY: &str = "https://index.docker.io/v1/";

/// Hosts that are Docker Hub too.
const ALIASES: [&str; 2] = [API_HOST, "registry-1.docker.io"];

/// [`NAME`] for an alias of Docker Hub, any other host unchanged.
pub fn canonical_host(host: &str) -> &str {
    if ALIASES.contains(&host) { NAME } else { host }
}

/// The host that serves the API of the registry `name`.
pub fn api_host(name: &str) -> &str {
    if name == NAME { API_HOST } else { name }
}

/// The key under which a credential helper has the login of the registry `name`.
pub fn credential_key(name: &str) -> &str {
    if name == NAME { CREDENTIAL_KEY } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_docker_hub_and_other_hosts_are_not() {
        for alias in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert_eq!(canonical_host(alias), "docker.io");
        }
        for other in ["docker.io:443", "mirror.docker.io", "r.example"] {
            assert_eq!(
                (canonical_host(other), api_host(other), credential_key(other)),
                (other, other, other)
            );
        }
    }
}
