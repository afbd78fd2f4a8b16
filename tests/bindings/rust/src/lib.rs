// SPDX-License-Identifier: MIT
//! For the tests of the binding for Rust: the private Redis that run.sh was given, and points of the list.
use latchkey::{Draft, Error, Kind, Latchkey};
use std::fs;
use std::future::Future;
use std::io::Write;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const NEVER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub const PATIENT: &str = "deadline_ms=10000";

pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// A configuration for this Redis. The bound of C is short, so that tests of it are.
pub fn url(options: &str) -> String {
    format!("unix://{}?staleness_ms=500&{options}", env("LATCHKEY_REDIS_SOCKET"))
}

pub fn open(options: &str) -> Latchkey {
    Latchkey::open(&url(options)).unwrap()
}

pub fn handle() -> Latchkey {
    open(PATIENT)
}

/// One point of tests/bindings/README.md was passed.
pub fn passed(number: u32, what: &str) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(env("LATCHKEY_POINTS")).unwrap();
    writeln!(file, "ok {number} {what}").unwrap();
}

pub fn create(lk: &Latchkey, user_id: u64) -> String {
    lk.create(&Draft::of(user_id)).unwrap()
}

pub fn unavailable<T: std::fmt::Debug>(answer: Result<T, Error>) -> bool {
    answer.unwrap_err().kind() == Kind::Unavailable
}

/// Redis stands still while this lives.
pub struct Stopped(i32);

impl Stopped {
    pub fn now() -> Self {
        let stopped = Stopped(env("LATCHKEY_REDIS_PID").parse().unwrap());
        assert_eq!(unsafe { libc::kill(stopped.0, libc::SIGSTOP) }, 0);
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        unsafe { libc::kill(self.0, libc::SIGCONT) };
    }
}

/// Redis stands still while `body` runs.
pub fn stopped<T>(body: impl FnOnce() -> T) -> T {
    let _stopped = Stopped::now();
    body()
}

/// Waits until it holds, for as long as the slowest machine may take.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "it never came to that: {what}");
        sleep(Duration::from_millis(20));
    }
}

pub fn recovered(lk: &Latchkey) {
    until("Redis answers again", || lk.sessions(1, None).is_ok());
}

pub fn redis(words: &[&str]) -> String {
    let said = Command::new("redis-cli").arg("-s").arg(env("LATCHKEY_REDIS_SOCKET")).args(words).output().unwrap();
    assert!(said.status.success());
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

pub fn entries(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

pub fn threads() -> usize {
    entries("/proc/self/task")
}

pub fn block_on<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
}

pub fn metric(lk: &Latchkey, name: &str) -> u64 {
    let text = lk.metrics().unwrap();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("no metric {name}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}
