// SPDX-License-Identifier: MIT
//! The layer for tower. A service is called as a server would call it; no server is needed.
use bindings::*;
use http::{Request, Response, StatusCode};
use latchkey::tower::{SessionLayer, SessionService, Token};
use latchkey::{Draft, Entry};
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

fn send(service: &SessionService<App>, cookie: &str, mut request: http::request::Builder) -> Answer {
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
