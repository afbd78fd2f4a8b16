// SPDX-License-Identifier: MIT
//! The layer for tower. A service is called as a server would call it; no server is needed.
use bindings::*;
use http::{Request, Response, StatusCode};
use latchkey::tower::{Session, SessionLayer, SessionService, Token};
use latchkey::{Draft, Entry, Error, Kind, Latchkey};
use std::convert::Infallible;
use std::future::{ready, Future, Ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Says whose session it is.
#[derive(Clone)]
struct App;
impl Service<Request<()>> for App {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<()>) -> Self::Future {
        let user = request.extensions().get::<Entry>().map_or("nobody".into(), |entry| entry.user_id().to_string());
        assert_eq!(request.extensions().get::<Token>().is_some(), user != "nobody");
        let mut response = Response::new(user);
        response.headers_mut().insert("cache-control", "public, max-age=60".parse().unwrap());
        if request.headers().contains_key("x-login") {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert("set-cookie", "sid=a-login".parse().unwrap());
        }
        ready(Ok(response))
    }
}

type Answer = Pin<Box<dyn Future<Output = (StatusCode, Vec<String>, String)>>>;

fn ask(service: &SessionService<App>, cookie: &str) -> Answer {
    send(service, cookie, Request::builder())
}

fn send<S>(service: &SessionService<S>, cookie: &str, mut request: http::request::Builder) -> Answer
where
    S: Service<Request<()>, Response = Response<String>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut service = service.clone();
    if !cookie.is_empty() {
        request = request.header("cookie", cookie);
    }
    let request = request.body(()).unwrap();
    Box::pin(async move {
        let response = service.call(request).await.unwrap();
        let cookies: Vec<_> =
            response.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        // The application says "public": a cache would give the token to others.
        assert!(cookies.is_empty() || response.headers()["cache-control"] == "no-store");
        (response.status(), cookies, response.into_body())
    })
}

#[test]
fn http() {
    let lk = open("deadline_ms=10000&renew_ms=10000");
    let (old, failing) = (create(&lk, 13), create(&lk, 14));
    assert!(!lk.validate(&old).unwrap().unwrap().renew());
    let short = open("deadline_ms=300");
    let token = lk.create(&Draft::of(24)).unwrap();
    block_on(async {
        let (aio, cold) = (lk.aio().unwrap(), short.aio().unwrap());
        let service = SessionLayer::new(aio.clone(), "sid").layer(App);
        let optional = SessionLayer::new(aio, "sid").optional().layer(App);
        let cold = SessionLayer::new(cold, "sid").layer(App);
        for (cookie, wanted) in [
            (String::new(), 401),
            (format!("sid={NEVER}"), 401),
            ("sid".into(), 401),
            ("sid=".into(), 401),
            (format!("other={token}"), 401),
            (format!("sid={token}"), 200),
            (format!("sid={NEVER}; sid={token}"), 200),
            (format!("sid={token}; sid={NEVER}; a=b"), 200),
            (format!("sid=\"{token}\""), 200),
            (format!("sid={token}; ").repeat(9), 400),
        ] {
            let (status, cookies, user) = ask(&service, &cookie).await;
            assert_eq!((status.as_u16(), cookies.len()), (wanted, 0), "{cookie}");
            assert!(wanted != 200 || user == "24");
        }
        let (status, _, user) = ask(&optional, &format!("sid={NEVER}")).await;
        assert_eq!((status.as_u16(), &*user), (200, "nobody"));
        // The session of a layer around it, which reads another cookie, is not this one's.
        let within = SessionLayer::new(lk.aio().unwrap(), "outer").layer(optional.clone());
        let (status, _, user) = send(&within, &format!("outer={token}"), Request::builder()).await;
        assert_eq!((status.as_u16(), &*user), (200, "nobody"));

        let mine = short.create(&Draft::of(25)).unwrap();
        let pid: i32 = env("LATCHKEY_REDIS_PID").parse().unwrap();
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let (status, cookies, _) = ask(&cold, &format!("sid={NEVER}; sid={token}")).await;
        // One that is in memory does not take the place of one that is not known.
        let (other, _, _) = ask(&cold, &format!("sid={token}; sid={mine}")).await;
        unsafe { libc::kill(pid, libc::SIGCONT) };
        assert_eq!((status.as_u16(), cookies.len(), other.as_u16()), (503, 0, 503));
        recovered(&lk);

        until("the token is old", || lk.validate(&old).unwrap().unwrap().renew());
        let (status, cookies, user) = ask(&service, &format!("sid={old}")).await;
        assert_eq!((status.as_u16(), &*user, cookies.len()), (200, "13", 1));
        assert!(cookies[0].starts_with("sid=") && cookies[0].contains("HttpOnly") && !cookies[0].contains(&old));
        let fresh = &cookies[0][4..47];
        assert!(!lk.validate(fresh).unwrap().unwrap().renew());
        assert!(lk.validate(&old).unwrap().is_some());

        // The application answers 503, with a cookie of its own: the last one counts.
        until("the token is old", || lk.validate(&failing).unwrap().unwrap().renew());
        let (status, cookies, _) = send(&service, &format!("sid={failing}"), Request::builder().header("x-login", "1")).await;
        assert_eq!((status.as_u16(), cookies.len(), &*cookies[1]), (503, 2, "sid=a-login"));
        assert!(lk.validate(&cookies[0][4..47]).unwrap().is_some());
    });
    passed(13, "renewal");
    passed(24, "http");
}

/// Logs in and out.
#[derive(Clone)]
struct Doors;
impl Service<Request<()>> for Doors {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<()>) -> Self::Future {
        let session = request.extensions().get::<Session>().unwrap().clone();
        assert_eq!(format!("{session:?}"), "Session");
        Box::pin(async move {
            let words = request.uri().path().trim_start_matches('/').split('-');
            let (mut said, mut code) = (vec![], 200);
            for word in words {
                let answer: Result<String, Error> = match word {
                    "login" => session.login(&Draft::of(99)).await.map(|entry| entry.user_id().to_string()),
                    "stopped" => {
                        let session = session.clone();
                        let login = async move { session.login(&Draft::of(99)).await };
                        Stops { inner: Box::pin(login), polls: 0 }.await.map(|entry| entry.user_id().to_string())
                    }
                    "logout" => session.logout().await.map(|ended| ended.to_string()),
                    _ => Ok(request.extensions().get::<Entry>().map_or("nobody".into(), |entry| entry.user_id().to_string())),
                };
                said.push(answer.unwrap_or_else(|error| {
                    code = 503;
                    format!("{:?}", error.kind())
                }));
            }
            if request.headers().contains_key("x-fail") {
                code = 503;
            }
            let answer = Response::builder().status(code).header("cache-control", "public, max-age=60");
            Ok(answer.body(said.join(" ")).unwrap())
        })
    }
}

/// Stops Redis once the first thing that the future waits for is there: of a login the new session.
struct Stops<T> {
    inner: Pin<Box<dyn Future<Output = T> + Send>>,
    polls: u32,
}
impl<T> Future for Stops<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.polls += 1;
        if self.polls == 2 {
            std::mem::forget(Stopped::now());
        }
        self.inner.as_mut().poll(context)
    }
}

/// Of several sessions that a browser sends none goes on after a logout, nor after a login.
#[test]
fn login() {
    const ATTRIBUTES: &str = "; Path=/app; Domain=example.org; HttpOnly";
    let lk = Latchkey::open(&format!("unix://{}?staleness_ms=60000&deadline_ms=1000", env("LATCHKEY_REDIS_SOCKET"))).unwrap();
    let there = handle();
    let gone = vec![format!("sid={ATTRIBUTES}; Max-Age=0")];
    let ended = |tokens: &[String]| {
        for token in tokens {
            assert!(lk.validate(token).unwrap().is_none(), "it goes on here");
            until("it ends there", || there.validate(token).unwrap().is_none());
        }
    };
    let sent = |cookies: &[String]| {
        assert_eq!((cookies.len(), &cookies[0][..4], &cookies[0][47..]), (1, "sid=", ATTRIBUTES));
        cookies[0][4..47].to_owned()
    };
    let two = || {
        let tokens = [create(&lk, 1), create(&lk, 2)];
        (format!("sid={}; other=1; sid={}", tokens[0], tokens[1]), tokens)
    };
    block_on(async {
        let service = SessionLayer::new(lk.aio().unwrap(), "sid").optional().attributes(ATTRIBUTES).layer(Doors);
        let visit = |path: &str, cookie: &str| send(&service, cookie, Request::builder().uri(path));

        let (both, tokens) = two();
        assert_eq!(visit("/who", &both).await, (StatusCode::OK, vec![], "1".into())); // the first counts
        assert_eq!(visit("/logout", &both).await, (StatusCode::OK, gone.clone(), "true".into()));
        ended(&tokens);
        assert_eq!(visit("/logout", &both).await, (StatusCode::OK, gone.clone(), "false".into()));

        let (both, tokens) = two();
        let (status, cookies, said) = visit("/login", &both).await;
        assert_eq!((status, &*said), (StatusCode::OK, "99"));
        ended(&tokens);
        assert_eq!(there.validate(sent(&cookies)).unwrap().unwrap().user_id(), 99);
        let (status, cookies, _) = send(&service, &both, Request::builder().uri("/login").header("x-fail", "1")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(lk.validate(sent(&cookies)).unwrap().is_some());
        // The session of a login ends with a logout that follows in the same request.
        assert_eq!(visit("/login-logout", "").await, (StatusCode::OK, gone.clone(), "99 true".into()));
        assert!(lk.sessions(99, None).unwrap().len() == 2);

        // Redis stands still: a login does nothing, and a logout is denied here. Both leave the cookies.
        let (both, tokens) = two();
        for (path, kind) in [("/login", Kind::Unavailable), ("/logout", Kind::Pending)] {
            let stopped = Stopped::now();
            assert_eq!(visit(path, &both).await, (StatusCode::SERVICE_UNAVAILABLE, vec![], format!("{kind:?}")));
            drop(stopped);
            recovered(&lk);
        }
        ended(&tokens);

        // Redis stands still once the new session is there: the login succeeds all the same, and the others are denied here.
        let (both, tokens) = two();
        let (status, cookies, said) = visit("/stopped", &both).await;
        let denied = tokens.iter().all(|token| matches!(lk.validate(token), Ok(None)));
        unsafe { libc::kill(env("LATCHKEY_REDIS_PID").parse().unwrap(), libc::SIGCONT) };
        assert_eq!((status, &*said, denied), (StatusCode::OK, "99", true));
        recovered(&lk);
        assert!(lk.validate(sent(&cookies)).unwrap().is_some());
        ended(&tokens);
    });
    passed(24, "http: login and logout");
}
