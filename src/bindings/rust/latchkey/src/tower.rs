// SPDX-License-Identifier: MIT
//! A layer for HTTP services. It reads the cookie and puts the [`Entry`] into the request's extensions. Without a session it answers
//! 401. Where no answer can be had it answers 503, and leaves the cookie alone. A token that wants to be renewed is exchanged, and
//! the new one is sent. [`Session`] logs in and out.
use crate::aio::Aio;
use crate::{Draft, Entry, Error, Rotated};
use http::header::{HeaderValue, CACHE_CONTROL, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Request, Response, StatusCode};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
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

/// The request's session, among its extensions: it logs in and out. The layer's answer to the request has the cookie.
#[derive(Clone)]
pub struct Session(Arc<Visit>);

struct Visit {
    config: Arc<Config>,
    given: Vec<String>, // the tokens that the request came with
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    token: Option<String>,
    cookie: Option<HeaderValue>, // to be sent
}

impl Session {
    /// Makes a session, sends its cookie with whatever answers the request, and ends the sessions of all cookies of the name that the
    /// request came with: otherwise another of them would be in use from then on. If Redis does not confirm that end, the login
    /// succeeds all the same: this process denies those sessions already.
    pub async fn login(&self, draft: &Draft) -> Result<Entry, Error> {
        let lk = &self.0.config.lk;
        let token = lk.create(draft).await?;
        let ended = lk.revoke_all(self.tokens());
        self.0.send(&token, "")?;
        let entry = lk.validate(&token).await;
        self.0.now.lock().unwrap().token = Some(token);
        let _ = ended.await;
        entry?.ok_or_else(|| Error::unavailable("another process has ended the new session"))
    }

    /// Ends the sessions of all cookies of the name that the request came with, and takes the cookie back. False: there was none.
    /// If one of them is not confirmed to have ended (`Kind::Pending`: this process denies it, and Redis is asked again), it leaves the
    /// cookie, so that the user can try again: answer 503.
    pub async fn logout(&self) -> Result<bool, Error> {
        let ended = self.0.config.lk.revoke_all(self.tokens()).await?;
        self.0.now.lock().unwrap().token = None;
        self.0.send("", "; Max-Age=0")?;
        Ok(ended)
    }

    /// Those that it came with, and the one of a renewal or an earlier login.
    fn tokens(&self) -> Vec<String> {
        let mut tokens: Vec<_> = self.0.given.iter().chain(&self.0.now.lock().unwrap().token).cloned().collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }
}

impl Visit {
    fn send(&self, token: &str, more: &str) -> Result<(), Error> {
        let cookie = HeaderValue::from_str(&format!("{}={token}{}{more}", self.config.cookie, self.config.attributes));
        self.now.lock().unwrap().cookie = Some(cookie.map_err(|_| Error::argument("the cookie cannot stand in a header"))?);
        Ok(())
    }
}

/// It does not show the tokens.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
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
            let found = match find(&config.lk, &tokens).await {
                Ok(None) if !config.optional => return Ok(refuse(StatusCode::UNAUTHORIZED)),
                Ok(found) => found,
                Err(_) => return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE)),
            };
            // Those of a layer around this one, which reads another cookie.
            request.extensions_mut().remove::<Entry>();
            request.extensions_mut().remove::<Token>();
            let visit = Arc::new(Visit { config, given: tokens, now: Mutex::default() });
            if let Some((entry, mut token)) = found {
                if entry.renew() {
                    // Where it fails the old token goes on, and the next request tries again.
                    if let Ok(Some(Rotated::To(fresh))) = visit.config.lk.rotate(&token, visit.config.grace).await {
                        let _ = visit.send(&fresh, "");
                        token = fresh;
                    }
                }
                visit.now.lock().unwrap().token = Some(token.clone());
                request.extensions_mut().insert(entry);
                request.extensions_mut().insert(Token(token));
            }
            request.extensions_mut().insert(Session(visit.clone()));
            let mut response = inner.call(request).await?;
            let cookie = visit.now.lock().unwrap().cookie.take();
            if let Some(cookie) = cookie {
                // Of two cookies of one name the last counts: one that the application itself sends.
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
async fn find(lk: &Aio, tokens: &[String]) -> Result<Option<(Entry, String)>, Error> {
    for token in tokens {
        if let Some(entry) = lk.validate(token).await? {
            return Ok(Some((entry, token.clone())));
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
