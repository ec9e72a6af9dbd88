//! A session with one repository over HTTP: a handshake, then requests.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::error::ErrorExt;
use gix::progress::{Discard, NestedProgress};
use gix::protocol::fetch::{
    Arguments, Context, Negotiate, Options, Response, Shallow, Tags, negotiate, refmap,
};
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::TransportWithoutIO;
use gix::protocol::transport::client::blocking_io::http;
use gix::protocol::transport::{Protocol, Service};
use gix::protocol::{Handshake, handshake};

use super::bounded_client::BoundedClient;
use super::connection::Connection;
use crate::git::bare;
use crate::net::tls;

/// The time in which the server must send something, also while it prepares a pack.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// The commits to fetch, and what the server may leave out.
pub(super) struct FetchRequest {
    pub commits: Vec<gix::ObjectId>,
    /// The number of generations; `None` means all.
    pub depth: Option<std::num::NonZeroU32>,
    /// An object filter of git, used if the server supports filters.
    pub filter: Option<&'static str>,
}

/// An open session.
pub(super) struct Session {
    transport: http::Transport<BoundedClient>,
    handshake: Handshake,
}

impl Session {
    /// Opens the repository. Each response may have at most `limit` bytes.
    pub fn open(connection: &Connection, limit: u64) -> gix::Result<Self> {
        tls::install_provider().map_err(gix::Error::from_error)?;
        let url = gix::url::parse(connection.remote.location())?;
        let client = BoundedClient::new(limit, connection.messages.clone());
        let mut transport = http::Transport::new_http(client, url, Protocol::V2, false);
        transport.configure(&options())?;
        let handshake = handshake(
            &mut transport,
            Service::UploadPack,
            |action| Ok(connection.credential(action)),
            Vec::new(),
            &mut Discard,
        )?;
        Ok(Self { transport, handshake })
    }

    /// The refs that match git's refspecs.
    pub fn list(&mut self, specs: &[&str]) -> gix::Result<Vec<Ref>> {
        let parse = |spec: &&str| {
            gix::refspec::parse((*spec).into(), gix::refspec::parse::Operation::Fetch)
                .map(|spec| spec.to_owned())
        };
        let fetch_refspecs = specs.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let context = refmap::init::Context { fetch_refspecs, extra_refspecs: Vec::new() };
        let listing = self.handshake.prepare_lsrefs_or_extract_refmap(user_agent(), true, context)?;
        Ok(listing.fetch_blocking(Discard, &mut self.transport, false)?.remote_refs)
    }

    /// Fetches a pack into the bare repository, and indexes it. The ID of every object is computed
    /// from its content.
    pub fn fetch<P>(&mut self, mut request: FetchRequest, git_dir: &Path, progress: P) -> gix::Result<()>
    where
        P: NestedProgress,
        P::SubProgress: 'static,
    {
        let shallow = request.depth.map_or(Shallow::NoChange, Shallow::DepthAtRemote);
        let options = Options {
            shallow_file: git_dir.join("shallow"),
            shallow: &shallow,
            tags: Tags::None,
            reject_shallow_remote: false,
        };
        let context = Context {
            handshake: &mut self.handshake,
            transport: &mut self.transport,
            user_agent: user_agent(),
            trace_packetlines: false,
        };
        let received = gix::protocol::fetch(
            &mut request,
            |pack, progress, interrupt| {
                bare::index_pack(pack, git_dir, None, progress, interrupt)?;
                Ok(true)
            },
            progress,
            &AtomicBool::new(false),
            context,
            options,
        )?;
        match received {
            Some(_) => Ok(()),
            None => Err(gix::error::message!("the server sent no pack").raise()),
        }
    }
}

/// There is nothing to negotiate: the new repository has no commits.
impl Negotiate for FetchRequest {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _: &[bool]) -> bool {
        self.commits.iter().for_each(|commit| arguments.want(commit));
        if let Some(filter) = self.filter.filter(|_| arguments.can_use_filter()) {
            arguments.filter(filter);
        }
        true
    }

    fn one_round(
        &mut self,
        _: &mut negotiate::one_round::State,
        _: &mut Arguments,
        _: Option<&Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        let round = negotiate::Round {
            haves_sent: 0,
            in_vain: 0,
            haves_to_send: 0,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

fn user_agent() -> (&'static str, Option<String>) {
    ("agent", Some(gix::protocol::agent(concat!("carafe-", env!("CARGO_PKG_VERSION")))))
}

fn options() -> http::Options {
    let client = http::reqwest::Options {
        configure_client: Some(Box::new(|builder| {
            let authorities = tls::git_ca_bundle().map_err(gix::Error::from_error)?;
            Ok(builder.timeout(READ_TIMEOUT).tls_certs_merge(authorities))
        })),
        configure_request: None,
    };
    http::Options { backend: Some(Arc::new(Mutex::new(client))), ..Default::default() }
}
