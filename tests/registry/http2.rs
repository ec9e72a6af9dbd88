//! HTTP/2 over TLS: faults of a connection that many requests share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use carafe::registry::{MountCandidates, Registry, RegistryOptions, TlsFiles};
use carafe_builder::progress::Progress;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::certificates::authority;
use crate::clock::QuickClock;
use crate::faulty::{Request, Response};
use crate::store::Store;
use crate::table::{CHUNK, Outcome, check, faults, image};
use crate::{name, shown};

use Outcome::{Fails, Succeeds};

/// A fault after a number of bytes of the request body.
#[derive(Clone, Copy)]
enum Fault {
    /// GOAWAY, and the connection is closed.
    GoAway(Reason),
    /// GOAWAY after the responses to the current requests.
    GracefulGoAway,
    /// Its stream is reset.
    Reset(Reason),
    /// The connection closes.
    Close,
    /// A response with this status; the rest of the body is not read.
    Response(u16),
}

/// The request number `.0` (from 1) with the method `.1` has the fault after `.2` bytes.
type On = (usize, &'static str, u64, Fault);

/// What all connections share.
struct Server {
    store: Mutex<Store>,
    received: AtomicU64,
    connections: AtomicUsize,
    count: AtomicUsize,
    on: On,
}

impl Server {
    fn fault(&self, method: &str) -> Option<(u64, Fault)> {
        let (nth, meant, after, fault) = self.on;
        let is_meant = method == meant && self.count.fetch_add(1, Ordering::Relaxed) + 1 == nth;
        is_meant.then_some((after, fault))
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, tls: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            self.connections.fetch_add(1, Ordering::Relaxed);
            let (server, tls) = (Arc::clone(&self), tls.clone());
            tokio::spawn(async move {
                let stream = tls.accept(stream).await.ok()?;
                let mut connection = h2::server::handshake(stream).await.ok()?;
                let (end, mut ended) = mpsc::channel(1);
                loop {
                    tokio::select! {
                        request = connection.accept() => {
                            let (request, response) = request?.ok()?;
                            tokio::spawn(Arc::clone(&server).exchange(request, response, end.clone()));
                        }
                        Some(fault) = ended.recv() => match fault {
                            Fault::GoAway(reason) => connection.abrupt_shutdown(reason),
                            Fault::GracefulGoAway => connection.graceful_shutdown(),
                            _ => return Some(()),
                        }
                    }
                }
            });
        }
    }

    async fn exchange(
        self: Arc<Self>,
        request: http::Request<RecvStream>,
        mut sender: SendResponse<Bytes>,
        end: mpsc::Sender<Fault>,
    ) -> Option<()> {
        let (head, mut stream) = request.into_parts();
        let fault = self.fault(head.method.as_str());
        let mut body = Vec::new();
        let limit = fault.map_or(u64::MAX, |(after, _)| after);
        while (body.len() as u64) < limit
            && let Some(piece) = stream.data().await
        {
            let piece = piece.ok()?;
            stream.flow_control().release_capacity(piece.len()).ok()?;
            self.received.fetch_add(piece.len() as u64, Ordering::Relaxed);
            body.extend_from_slice(&piece);
        }
        match fault {
            Some((_, Fault::Reset(reason))) => {
                sender.send_reset(reason);
                return None;
            }
            Some((_, Fault::Response(status))) => return send(&mut sender, Response::status(status)),
            Some((_, fault @ Fault::GracefulGoAway)) => end.send(fault).await.ok()?,
            Some((_, fault)) => return end.send(fault).await.ok(),
            None => {}
        }
        let headers = head
            .headers
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_str().unwrap_or_default().to_owned()));
        let headers: BTreeMap<String, String> = headers.collect();
        let target = head.uri.path_and_query()?.to_string();
        let is_read = head.method == "HEAD";
        let request = Request { method: head.method.to_string(), target, headers, body };
        let mut response = self.store.lock().unwrap().process(&request);
        if is_read {
            response.2.clear();
        }
        send(&mut sender, response)
    }
}

fn send(sender: &mut SendResponse<Bytes>, Response(status, headers, body): Response) -> Option<()> {
    let mut response = http::Response::builder().status(status);
    for (key, value) in headers {
        response = response.header(key, value);
    }
    let mut stream = sender.send_response(response.body(()).ok()?, body.is_empty()).ok()?;
    if !body.is_empty() {
        stream.send_data(body.into(), true).ok()?;
    }
    Some(())
}

/// Pushes the image. Returns the number of bytes that were received twice, and of connections.
fn push_over(on: On) -> (Result<u64, String>, usize) {
    let directory = tempfile::tempdir().unwrap();
    authority(directory.path());
    let chain = CertificateDer::pem_file_iter(directory.path().join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.path().join("server.key")).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain.flatten().collect(), key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = Arc::new(Server {
        store: Mutex::default(),
        received: AtomicU64::new(0),
        connections: AtomicUsize::new(0),
        count: AtomicUsize::new(0),
        on,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    runtime.spawn(Arc::clone(&server).serve(listener, TlsAcceptor::from(Arc::new(config))));
    let files = TlsFiles { ca: vec![directory.path().join("ca.pem")], ..TlsFiles::default() };
    let retries = carafe::registry::RetryOptions::default().with_clock(Arc::<QuickClock>::default());
    let tls = [(address.clone(), files)].into();
    let registry = Registry::new(RegistryOptions { tls, retries, ..RegistryOptions::default() }).unwrap();
    let (resolved, target) = (image().resolved(), name(&format!("{address}/a:1")));
    let pushed =
        registry.push(&resolved, image(), &[target], &MountCandidates::default(), &Progress::silent());
    let sent =
        resolved.manifest.layers[0].size + resolved.manifest.config.size + 2 * resolved.descriptor.size;
    let again = || server.received.load(Ordering::Relaxed).saturating_sub(sent);
    let result = pushed.map(|_| again()).map_err(shown);
    runtime.shutdown_background();
    (result, server.connections.load(Ordering::Relaxed))
}

#[track_caller]
fn push(on: On, outcome: Outcome) {
    check(&outcome, push_over(on).0, &QuickClock::default());
}

faults! { HTTP2, push;
    http2_goaway_at_a_chunk: (2, "PATCH", 0, Fault::GoAway(Reason::NO_ERROR)) => Succeeds(0);
    http2_goaway_in_the_middle_of_a_chunk: (2, "PATCH", 2 << 20, Fault::GoAway(Reason::ENHANCE_YOUR_CALM)) => Succeeds(CHUNK);
    http2_graceful_goaway_at_a_chunk: (2, "PATCH", 0, Fault::GracefulGoAway) => Succeeds(CHUNK);
    http2_goaway_at_the_first_request: (1, "GET", 0, Fault::GoAway(Reason::NO_ERROR)) => Succeeds(0);
    http2_stream_refused: (2, "PATCH", 0, Fault::Reset(Reason::REFUSED_STREAM)) => Succeeds(0);
    http2_stream_reset_in_the_middle: (2, "PATCH", 2 << 20, Fault::Reset(Reason::INTERNAL_ERROR)) => Succeeds(CHUNK);
    http2_connection_closed_in_the_middle: (2, "PATCH", 2 << 20, Fault::Close) => Succeeds(CHUNK);
    http2_manifest_reset: (1, "PUT", 0, Fault::Reset(Reason::CANCEL)) => Succeeds(0);
    http2_502_before_the_chunk_is_read: (2, "PATCH", 1000, Fault::Response(502)) => Succeeds(CHUNK);
    http2_413_before_the_chunk_is_read: (2, "PATCH", 1000, Fault::Response(413)) => Fails(&["rejected a 5 MiB request"]);
}

#[test]
fn all_requests_share_few_connections() {
    let (result, connections) = push_over((0, "", 0, Fault::Close));
    assert_eq!(result, Ok(0));
    // Requests that send bytes of blobs have their own.
    assert!(connections <= 2, "{connections}");
}
