//! The HTTP proxy that steps connect to. It terminates TLS with certificates of the build's CA.

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

use super::blocked::BlockReason;
use super::peer_process::Socket;
use super::replay_cache::ReplayError;
use super::request;
use super::response::{Conditions, ResponseBody};
use super::state::{PAUSE_AFTER_ERROR, ProxyState, async_listener};
use crate::net::{InvalidUrl, PublicUrl};

/// Maximum number of connections of one step; further ones wait.
const MAX_CONNECTIONS: usize = 512;
/// Maximum number of concurrent requests in one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Maximum size of the head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Maximum time to receive the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The first byte of a TLS connection: the content type `handshake`.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection of a client.
#[derive(Clone)]
struct Client {
    state: Arc<ProxyState>,
    /// A process of the step.
    inside: Pid,
    address: SocketAddr,
    /// The local address of the connection.
    proxy: SocketAddr,
}

/// Serves connections to `listener`. When this future is dropped, all its connections end.
pub(super) async fn serve(state: Arc<ProxyState>, listener: TcpListener, inside: Pid) {
    let Ok(listener) = async_listener(listener) else { return };
    let Ok(proxy) = listener.local_addr() else { return };
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&limit).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let client = Client { state: Arc::clone(&state), inside, address, proxy };
                let _ = stream.set_nodelay(true);
                connections.spawn(async move {
                    client.handle(stream).await;
                    drop(permit);
                });
            }
            // Most likely out of file descriptors: others will be closed.
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

impl Client {
    /// Handles the requests of a connection until it ends, including its tunnel.
    async fn handle(self, stream: tokio::net::TcpStream) {
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
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
        http.auto_date_header(false).half_close(true);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        // It fails if the client closes the connection, which needs no report.
        let _ = connection.await;
        drop(tunnel);
        if let Ok((upgrade, host)) = tunnelled.await
            && let Ok(upgraded) = upgrade.await
        {
            self.tunnel(upgraded, host).await;
        }
    }

    fn connect(&self, mut request: Request<Incoming>, tunnel: &Tunnel) -> Response<ResponseBody> {
        let Some(host) = request.uri().authority().map(ToString::to_string) else {
            return self.bad_request("CONNECT requires a host and a port");
        };
        let sender = tunnel.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(sender) = sender else { return self.bad_request("this connection already has a tunnel") };
        // `handle` receives it after the connection has ended.
        let _ = sender.send((hyper::upgrade::on(&mut request), host));
        Response::new(ResponseBody::empty())
    }

    /// Serves the requests in a tunnel to `host`.
    async fn tunnel(self, upgraded: Upgraded, host: String) {
        let mut stream = TokioIo::new(upgraded);
        let Ok(first) = stream.read_u8().await else { return };
        let stream = Peeked { first: Some(first), inner: stream };
        if first != TLS_HANDSHAKE {
            return self.serve_origin(stream, format!("http://{host}")).await;
        }
        let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
        let Ok(config) = self.state.authority.server(name) else { return };
        if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
            self.serve_origin(stream, format!("https://{host}")).await;
        }
    }

    /// Serves HTTP/1.1 or HTTP/2 requests for `origin`.
    async fn serve_origin(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, origin: String) {
        let service = service_fn(|request: Request<Incoming>| {
            let client = self.clone();
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let url = format!("{origin}{path}");
            async move { Ok::<_, io::Error>(client.respond(url, request).await) }
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        let mut http1 = http.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
        http1.auto_date_header(false).half_close(true);
        let mut http2 = http.http2();
        http2.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).auto_date_header(false);
        http2.max_header_list_size(MAX_HEAD_BYTES as u32);
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn absolute(self, request: Request<Incoming>) -> Response<ResponseBody> {
        let uri: &Uri = request.uri();
        if uri.scheme().is_none() {
            return self.bad_request("this is a proxy: it requires absolute URLs or CONNECT");
        }
        let url = uri.to_string();
        self.respond(url, request).await
    }

    async fn respond(self, url: String, request: Request<Incoming>) -> Response<ResponseBody> {
        let method = request.method().clone();
        let mut response = match self.try_respond(&url, request).await {
            Ok(response) => response,
            Err(ReplayError::Blocked(reason)) => self.block(method.as_str(), &url, reason).await,
            Err(ReplayError::Failed(reason)) => {
                let shown = url.parse::<PublicUrl>().map_or(url, |url| url.to_string());
                let text = format!("carafe failed to fetch {shown}: {reason}\n");
                text_response(StatusCode::BAD_GATEWAY, self.state.redactor.redact(&text))
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::DATE, self.state.date.clone());
        response
    }

    async fn try_respond(
        &self,
        url: &str,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, ReplayError> {
        let state = &self.state;
        let malformed = |reason: String| ReplayError::Blocked(BlockReason::Malformed { reason });
        let url: PublicUrl = url.parse().map_err(|error: InvalidUrl| malformed(error.to_string()))?;
        if state.redactor.redact(url.as_str()) != url.as_str() {
            return Err(malformed("its URL contains a secret".to_owned()));
        }
        let url = state.published(&url);
        let conditions = Conditions::of(request.method(), request.headers());
        let memory = state.memory.reserve(request.body().size_hint()).await;
        let request = request::read(url, request).await.map_err(ReplayError::Blocked)?;
        let (recorded, body) = state.cache.respond(request, memory).await?;
        let response =
            conditions.apply(&recorded, body).map_err(|error| ReplayError::Failed(error.to_string()))?;
        state.add_served(response.body().size_hint().exact().unwrap_or_default());
        Ok(response)
    }

    /// Blocks a request and reports it. The response is sent after the process was looked up, so that
    /// it still exists.
    async fn block(&self, method: &str, url: &str, reason: BlockReason) -> Response<ResponseBody> {
        let peer = self.state.peer(self.inside, Socket::Tcp { to: self.proxy }, self.address).await;
        let shown = match url.parse::<PublicUrl>() {
            Ok(url) => url.to_string(),
            Err(_) => "an invalid URL".to_owned(),
        };
        let blocked = self.state.block(peer, method, shown, reason);
        let status = StatusCode::from_u16(blocked.reason.status()).unwrap_or(StatusCode::FORBIDDEN);
        text_response(status, blocked.response_text())
    }

    fn bad_request(&self, reason: &str) -> Response<ResponseBody> {
        let mut response = text_response(StatusCode::BAD_REQUEST, format!("carafe: {reason}\n"));
        response.headers_mut().insert(header::DATE, self.state.date.clone());
        response
    }
}

type Tunnel = std::sync::Mutex<Option<tokio::sync::oneshot::Sender<(hyper::upgrade::OnUpgrade, String)>>>;

fn text_response(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::text(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// A stream whose first byte was read, and is returned again.
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
