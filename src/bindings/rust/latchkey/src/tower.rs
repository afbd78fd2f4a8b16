// SPDX-License-Identifier: MIT
//! A layer for HTTP services. It reads the cookie and puts the [`Entry`] into the request's extensions. Without a session it answers
//! 401. Where no answer can be had it answers 503, and leaves the cookie alone. A token that wants to be renewed is exchanged, and
//! the new one is sent.
use crate::aio::Aio;
use crate::{Entry, Error, Rotated};
use http::header::{HeaderValue, CACHE_CONTROL, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Request, Response, StatusCode};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

const COOKIES_MAX: usize = 8; // of one name, in one request

/// The token of the request's session, among its extensions: for `revoke` and the like.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

/// It does not show the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

struct Config {
    lk: Aio,
    cookie: String,
    optional: bool,
    grace: Duration,
    attributes: String,
}

/// The layer.
#[derive(Clone)]
pub struct SessionLayer(Arc<Config>);

impl SessionLayer {
    /// A layer that needs a session in the cookie of this name.
    pub fn new(lk: Aio, cookie: impl Into<String>) -> Self {
        SessionLayer(Arc::new(Config {
            lk,
            cookie: cookie.into(),
            optional: false,
            grace: Duration::from_secs(300),
            attributes: "; Path=/; HttpOnly; Secure; SameSite=Lax".into(),
        }))
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let old = &self.0;
        let mut config = Config {
            lk: old.lk.clone(),
            cookie: old.cookie.clone(),
            optional: old.optional,
            grace: old.grace,
            attributes: old.attributes.clone(),
        };
        change(&mut config);
        SessionLayer(Arc::new(config))
    }

    /// Requests without a session go through; they have no [`Entry`].
    pub fn optional(self) -> Self {
        self.with(|config| config.optional = true)
    }
    /// How long an old token goes on after a renewal: five minutes, if it is not set.
    pub fn grace(self, grace: Duration) -> Self {
        self.with(|config| config.grace = grace)
    }
    /// What stands behind the value of a cookie: `; Path=/; HttpOnly; Secure; SameSite=Lax`, if it is not set.
    pub fn attributes(self, attributes: impl Into<String>) -> Self {
        self.with(|config| config.attributes = attributes.into())
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;
    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, config: self.0.clone() }
    }
}

/// What the layer makes of a service.
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that is ready is used; its copy stays.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let config = self.config.clone();
        Box::pin(async move {
            let tokens = match cookies(request.headers(), &config.cookie) {
                Some(tokens) => tokens,
                None => return Ok(refuse(StatusCode::BAD_REQUEST)),
            };
            let (entry, mut token) = match find(&config.lk, tokens).await {
                Ok(Some(found)) => found,
                Ok(None) if config.optional => return inner.call(request).await,
                Ok(None) => return Ok(refuse(StatusCode::UNAUTHORIZED)),
                Err(_) => return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE)),
            };
            let mut renewed = None;
            if entry.renew() {
                // Where it fails the old token goes on, and the next request tries again.
                if let Ok(Some(Rotated::To(fresh))) = config.lk.rotate(&token, config.grace).await {
                    renewed = HeaderValue::from_str(&format!("{}={fresh}{}", config.cookie, config.attributes)).ok();
                    token = fresh;
                }
            }
            request.extensions_mut().insert(entry);
            request.extensions_mut().insert(Token(token));
            let mut response = inner.call(request).await?;
            if let Some(cookie) = renewed {
                // Of two cookies of one name the last counts: that of a login or a logout of the application.
                let theirs: Vec<_> = response.headers().get_all(SET_COOKIE).iter().cloned().collect();
                response.headers_mut().insert(SET_COOKIE, cookie);
                // Whatever the application says: a cache would give the token to others.
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                for each in theirs {
                    response.headers_mut().append(SET_COOKIE, each);
                }
            }
            Ok(response)
        })
    }
}

/// Every value of the cookie: a browser sends each that fits, and their order says nothing about which one is alive. `None`: too many.
fn cookies(headers: &HeaderMap, name: &str) -> Option<Vec<String>> {
    let mut tokens = vec![];
    for header in headers.get_all(COOKIE) {
        for pair in String::from_utf8_lossy(header.as_bytes()).split(';') {
            if let Some((_, value)) = pair.split_once('=').filter(|(key, _)| key.trim() == name) {
                tokens.push(value.trim().trim_matches('"').to_owned());
            }
        }
    }
    (tokens.len() <= COOKIES_MAX).then_some(tokens)
}

/// Where one gets no answer the others are not tried: they may be another user's.
async fn find(lk: &Aio, tokens: Vec<String>) -> Result<Option<(Entry, String)>, Error> {
    for token in tokens {
        if let Some(entry) = lk.validate(&token).await? {
            return Ok(Some((entry, token)));
        }
    }
    Ok(None)
}

fn refuse<R: Default>(status: StatusCode) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
