// SPDX-License-Identifier: MIT
//! What a hit costs in Rust, blocking and async.
use latchkey::{Draft, Latchkey};
use std::env::var;
use std::time::Instant;

fn row(what: &str, mut rounds: Vec<f64>) {
    rounds.sort_by(f64::total_cmp);
    println!("row\t{what}\t{:.1}\t-\t-\trustc {}", rounds[rounds.len() / 2], var("LATCHKEY_RUSTC").unwrap());
}

fn main() {
    let calls: u32 = var("LATCHKEY_CALLS").unwrap().parse().unwrap();
    let lk = Latchkey::open(&format!("unix://{}?deadline_ms=10000", var("LATCHKEY_REDIS_SOCKET").unwrap())).unwrap();
    let token = lk.create(&Draft { role: "member".into(), ..Draft::of(42) }).unwrap();
    let mut sum = 0;
    let mut measure = |what: &str, mut body: Box<dyn FnMut() -> usize + '_>| {
        let rounds = (0..7).map(|_| {
            let began = Instant::now();
            for _ in 0..calls {
                sum += body();
            }
            began.elapsed().as_nanos() as f64 / f64::from(calls)
        });
        row(what, rounds.collect());
    };
    measure("lk.validate(&token)", Box::new(|| lk.validate(&token).unwrap().unwrap().user_id() as usize));
    measure("lk.validate(&token), and the role", Box::new(|| lk.validate(&token).unwrap().unwrap().role().len()));
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(async {
        let aio = lk.aio().unwrap();
        let mut rounds = vec![];
        for _ in 0..7 {
            let began = Instant::now();
            for _ in 0..calls {
                sum += aio.validate(&token).await.unwrap().unwrap().user_id() as usize;
            }
            rounds.push(began.elapsed().as_nanos() as f64 / f64::from(calls));
        }
        row("lk.validate(&token).await", rounds);
    });
    assert!(sum > 0);
}
