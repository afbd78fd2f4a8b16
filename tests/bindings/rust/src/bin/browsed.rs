// SPDX-License-Identifier: MIT
//! The application that tests/http/browsers.py visits, behind the layer for tower. The server is as small as it can be: a thread for
//! each connection reads requests, and writes what the service answers.
use bindings::env;
use http::{HeaderMap, Request, Response, StatusCode};
use latchkey::aio::Aio;
use latchkey::tower::{Session, SessionLayer};
use latchkey::{Draft, Entry, Latchkey};
use std::convert::Infallible;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::sleep;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tower_layer::Layer;
use tower_service::Service;

/// What is written, and whether the connection is cut off after the first piece.
#[derive(Default)]
struct Body {
    pieces: Vec<String>,
    cut: bool,
}

#[derive(Clone)]
struct Page;
impl Service<Request<()>> for Page {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, Infallible>> + Send>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/page" => page(request).await,
                _ => door(request).await.unwrap_or_else(|_| status(503)),
            })
        })
    }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

async fn page(request: Request<()>) -> Response<Body> {
    let user = request.extensions().get::<Entry>().unwrap().user_id().to_string();
    let does = header(request.headers(), "x-do");
    let says = |word: &str| does.split(',').any(|each| each == word);
    if says("slow") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if says("raise") {
        return status(500); // as a layer that makes answers of panics does, behind the middleware
    }
    let mut answer = Response::builder().header("x-app", "1").header("x-user", &user);
    for (word, code) in [("204", 204), ("304", 304), ("302", 302), ("404", 404), ("503", 503), ("handled", 418)] {
        if says(word) {
            answer = answer.status(code);
        }
    }
    if says("public") {
        answer = answer.header("cache-control", "public, max-age=60");
    }
    if says("cookie") {
        answer = answer.header("set-cookie", "lang=en; Path=/");
    }
    if says("own") {
        let cookie = format!("sid={}; Path=/; HttpOnly; Secure; SameSite=Lax", header(request.headers(), "x-value"));
        answer = answer.header("set-cookie", cookie).header("cache-control", "no-store");
    }
    if says("drop") {
        answer = answer.header("set-cookie", "sid=; Path=/; Max-Age=0");
    }
    let pieces = if says("stream") || says("cut") { vec![user; 3] } else { vec![user] };
    answer.body(Body { pieces, cut: says("cut") }).unwrap()
}

fn status(code: u16) -> Response<Body> {
    Response::builder().status(code).body(Body::default()).unwrap()
}

fn user(request: &Request<()>) -> Option<u64> {
    request.uri().query().and_then(|query| query.strip_prefix("user=")).and_then(|user| user.parse().ok())
}

async fn door(request: Request<()>) -> std::result::Result<Response<Body>, latchkey::Error> {
    let session = request.extensions().get::<Session>().unwrap().clone();
    match request.uri().path() {
        "/login" => drop(session.login(&Draft { role: "member".into(), ..Draft::of(user(&request).unwrap()) }).await?),
        _ => drop(session.logout().await?),
    }
    Ok(Response::builder().header("x-app", "1").body(Body::default()).unwrap())
}

async fn other(lk: &Aio, request: &Request<()>) -> std::result::Result<Response<Body>, latchkey::Error> {
    match request.uri().path() {
        "/end" => match user(request) {
            Some(user) => drop(lk.revoke_user(user, None).await?),
            None => lk.blocking().revoke_everyone()?,
        },
        _ => {}
    }
    Ok(Response::builder().header("x-app", "1").header("cache-control", "no-store").body(Body::default()).unwrap())
}

/// None: the client has gone.
fn read(reader: &mut BufReader<TcpStream>) -> Result<Option<Request<()>>> {
    let (mut line, mut length) = (String::new(), 0);
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let mut request = Request::builder().method(words.next().unwrap()).uri(words.next().unwrap());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let (name, value) = match line.trim_end().split_once(": ") {
            Some(pair) => pair,
            None => break,
        };
        if name == "Content-Length" {
            length = value.parse().unwrap();
        }
        request = request.header(name, value);
    }
    reader.read_exact(&mut vec![0; length])?;
    Ok(Some(request.body(()).unwrap()))
}

/// False: the connection ends here.
fn write(stream: &mut TcpStream, head: bool, response: Response<Body>) -> Result<bool> {
    let (parts, body) = response.into_parts();
    let bodiless = head || parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED;
    let mut text = format!("HTTP/1.1 {}\r\n", parts.status);
    for (name, value) in &parts.headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    text += if bodiless { "\r\n" } else { "transfer-encoding: chunked\r\n\r\n" };
    stream.write_all(text.as_bytes())?;
    if bodiless {
        return Ok(true);
    }
    for piece in &body.pieces {
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
        if body.cut {
            return Ok(false);
        }
        if body.pieces.len() > 1 {
            sleep(Duration::from_millis(10));
        }
    }
    stream.write_all(b"0\r\n\r\n")?;
    Ok(true)
}

fn serve(runtime: &Handle, lk: &Aio, layer: SessionLayer, mut stream: TcpStream) -> Result<()> {
    let (mut service, mut doors) = (layer.layer(Page), layer.optional().layer(Page));
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut reader)? {
        let head = request.method() == "HEAD";
        let response = match request.uri().path() {
            "/page" => runtime.block_on(service.call(request)).unwrap(),
            "/login" | "/logout" => runtime.block_on(doors.call(request)).unwrap(),
            _ => runtime.block_on(other(lk, &request)).unwrap_or_else(|_| status(503)),
        };
        if !write(&mut stream, head, response)? {
            break;
        }
    }
    Ok(())
}

fn open(url: &str) -> Latchkey {
    for _ in 0..60 {
        if let Ok(lk) = Latchkey::open(url) {
            return lk;
        }
        sleep(Duration::from_millis(50));
    }
    Latchkey::open(url).unwrap()
}

fn main() {
    let listener = TcpListener::bind(("127.0.0.1", env("PORT").parse().unwrap())).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let lk = runtime.block_on(async { open(&env("LATCHKEY_URL")).aio().unwrap() });
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    for stream in listener.incoming() {
        let (handle, lk) = (handle.clone(), lk.clone());
        std::thread::spawn(move || serve(&handle, &lk, SessionLayer::new(lk.clone(), "sid"), stream.unwrap()));
    }
}
