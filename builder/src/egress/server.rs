//! The side of the door that steps see: a proxy for http, and for https with certificates of its
//! own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Shared;
use super::blocked::Reason;
use super::peer_process::Socket;
use super::replay_cache::FetchError;
use super::request;
use super::response::{Conditions, Content};
use crate::net::{BadUrl, PublicUrl};

/// Connections of one step at once; further ones wait.
const MAX_CONNECTIONS: usize = 512;
/// Requests at once in one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Bytes of the largest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// A client that does not finish the head of a request for so long is gone.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// Before a socket that failed is tried again.
pub(super) const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// The first byte of a TLS connection: a handshake's record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Where a request came from.
#[derive(Clone)]
struct Client {
    shared: Arc<Shared>,
    inside: Pid,
    address: SocketAddr,
    /// What it connected to.
    proxy: SocketAddr,
}

/// Answers at `listener` until dropped, and with it all its connections.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, inside: Pid) {
    let Ok(listener) = asynchronous(listener) else { return };
    let Ok(proxy) = listener.local_addr() else { return };
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&limit).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let client = Client { shared: Arc::clone(&shared), inside, address, proxy };
                let _ = stream.set_nodelay(true);
                connections.spawn(async move {
                    client.speak(stream).await;
                    drop(permit);
                });
            }
            // Out of file descriptors, most likely: others will be closed.
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

/// For use in this runtime.
pub(super) fn asynchronous(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

impl Client {
    /// The proxy's own protocol, to the end of the connection, tunnels included.
    async fn speak(self, stream: tokio::net::TcpStream) {
        let (tunnel, tunnelled) = tokio::sync::oneshot::channel();
        let tunnel = Arc::new(std::sync::Mutex::new(Some(tunnel)));
        let service = service_fn(|request: Request<Incoming>| {
            let client = self.clone();
            let tunnel = Arc::clone(&tunnel);
            async move {
                Ok::<_, io::Error>(match *request.method() {
                    Method::CONNECT => client.connect(request, &tunnel),
                    _ => client.absolute(request).await,
                })
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD_BYTES);
        http.auto_date_header(false).half_close(true);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        // A client that goes away is no failure of ours.
        let _ = connection.await;
        drop(tunnel);
        if let Ok((upgrade, host)) = tunnelled.await
            && let Ok(upgraded) = upgrade.await
        {
            self.tunnel(upgraded, host).await;
        }
    }

    fn connect(&self, mut request: Request<Incoming>, tunnel: &Tunnel) -> Response<Content> {
        let Some(host) = request.uri().authority().map(ToString::to_string) else {
            return self.bad("CONNECT needs a host and a port");
        };
        let sender = tunnel.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(sender) = sender else { return self.bad("this connection is a tunnel already") };
        // The receiver waits for the connection to end, and then reads this.
        let _ = sender.send((hyper::upgrade::on(&mut request), host));
        Response::new(Content::empty())
    }

    /// What a client says to the host it believes to have reached.
    async fn tunnel(self, upgraded: Upgraded, host: String) {
        let mut stream = TokioIo::new(upgraded);
        let Ok(first) = stream.read_u8().await else { return };
        let stream = Peeked { first: Some(first), inner: stream };
        if first != TLS_HANDSHAKE {
            return self.host(stream, format!("http://{host}")).await;
        }
        let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
        let Ok(config) = self.shared.authority.server(name) else { return };
        if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
            self.host(stream, format!("https://{host}")).await;
        }
    }

    /// HTTP/1.1 or HTTP/2 with the host of `origin`.
    async fn host(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, origin: String) {
        let service = service_fn(|request: Request<Incoming>| {
            let client = self.clone();
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let url = format!("{origin}{path}");
            async move { Ok::<_, io::Error>(client.answer(url, request).await) }
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        let mut http1 = http.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD_BYTES);
        http1.auto_date_header(false).half_close(true);
        let mut http2 = http.http2();
        http2.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).auto_date_header(false);
        http2.max_header_list_size(MAX_HEAD_BYTES as u32);
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn absolute(self, request: Request<Incoming>) -> Response<Content> {
        let uri: &Uri = request.uri();
        if uri.scheme().is_none() {
            return self.bad("this is a proxy: it wants whole addresses, or CONNECT");
        }
        let url = uri.to_string();
        self.answer(url, request).await
    }

    async fn answer(self, url: String, request: Request<Incoming>) -> Response<Content> {
        let method = request.method().clone();
        let mut response = match self.respond(&url, request).await {
            Ok(response) => response,
            Err(FetchError::Refused(reason)) => self.refuse(method.as_str(), &url, reason).await,
            Err(FetchError::Failed(reason)) => {
                let shown = url.parse::<PublicUrl>().map_or(url, |url| url.to_string());
                let told = format!("carafe failed to fetch {shown}: {reason}\n");
                say(StatusCode::BAD_GATEWAY, self.shared.redactor.redact(&told))
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::DATE, self.shared.date.clone());
        response
    }

    async fn respond(&self, url: &str, request: Request<Incoming>) -> Result<Response<Content>, FetchError> {
        let shared = &self.shared;
        let malformed = |reason: String| FetchError::Refused(Reason::Malformed { reason });
        let url: PublicUrl = url.parse().map_err(|error: BadUrl| malformed(error.to_string()))?;
        if shared.redactor.redact(url.as_str()) != url.as_str() {
            return Err(malformed("a secret is part of its address".to_owned()));
        }
        let url = shared.published(&url);
        let conditions = Conditions::of(request.method(), request.headers());
        let room = shared.room.hold(request.body().size_hint()).await;
        let question = request::read(url, request).await.map_err(FetchError::Refused)?;
        let (answer, body) = shared.memory.answer(question, room).await?;
        let response =
            conditions.apply(&answer, body).map_err(|error| FetchError::Failed(error.to_string()))?;
        shared.served(response.body().size_hint().exact().unwrap_or_default());
        Ok(response)
    }

    /// Refuses, and keeps in mind who it was, while that process is still there.
    async fn refuse(&self, method: &str, url: &str, reason: Reason) -> Response<Content> {
        let peer = self.shared.peer(self.inside, Socket::Tcp { to: self.proxy }, self.address).await;
        let shown = match url.parse::<PublicUrl>() {
            Ok(url) => url.to_string(),
            Err(_) => "an address that is none".to_owned(),
        };
        let refusal = self.shared.refuse(peer, method, shown, reason);
        let status = StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::FORBIDDEN);
        say(status, refusal.told())
    }

    fn bad(&self, reason: &str) -> Response<Content> {
        let mut response = say(StatusCode::BAD_REQUEST, format!("carafe: {reason}\n"));
        response.headers_mut().insert(header::DATE, self.shared.date.clone());
        response
    }
}

type Tunnel = std::sync::Mutex<Option<tokio::sync::oneshot::Sender<(hyper::upgrade::OnUpgrade, String)>>>;

fn say(status: StatusCode, text: String) -> Response<Content> {
    let mut response = Response::new(Content::text(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// A stream with its first byte put back.
struct Peeked<T> {
    first: Option<u8>,
    inner: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Peeked<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Peeked<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
